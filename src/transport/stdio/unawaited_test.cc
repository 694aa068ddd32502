// Replies that nobody waits for, and texts that many calls would get: neither takes memory.
#include <gtest/gtest.h>

#include <asio/post.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/quote.h"
#include "src/testing/peak_memory.h"
#include "src/transport/stdio/testing/fixture.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kMiB = 1 << 20;
// Empty arrays of a byte each, which take more than 70 MiB once decoded. The frame is small enough
// for its reader to decode it itself.
constexpr size_t kArrays = 2 * kMiB - 1000;
// Much less than that, and more than the frame and its buffers.
constexpr int64_t kLittle = 24 * kMiB;

class StdioUnawaitedTest : public StdioFixture {
 protected:
  // A message of the worker, with that many empty arrays as its value.
  std::string Frame(int64_t id, bool chunk, size_t arrays = kArrays) {
    std::string frame;
    const size_t start = BeginFrame(&frame);
    AppendMsgpackMapHeader(chunk ? 5 : 3, &frame);
    AppendMsgpackText(chunk ? "chunk" : "result", &frame);
    AppendMsgpackArrayHeader(arrays, &frame);
    frame.append(arrays, '\x90');
    AppendMsgpackText("id", &frame);
    AppendMsgpackInt(id, &frame);
    AppendMsgpackText(chunk ? "final" : "success", &frame);
    AppendMsgpackBool(!chunk, &frame);
    if (chunk) {
      AppendMsgpackText("type", &frame);
      AppendMsgpackText("chunk", &frame);
      AppendMsgpackText("index", &frame);
      AppendMsgpackInt(0, &frame);
    }
    EXPECT_TRUE(EndFrame(&frame, start, kMaxTestFrameBytes));
    return frame;
  }

  // The id of a call that was given up, of which the worker has been told.
  int64_t GiveUp(bool async) {
    std::stop_source source;
    CallRequest request = Request("given up");
    request.stop = source.get_token();
    auto call = async ? CallAsync(request) : CallOnThread(request);
    const int64_t id = peer_->Read().id;
    source.request_stop();
    EXPECT_EQ(call.get().after, AfterCall::kAbandoned);
    EXPECT_EQ(peer_->Read().kind, PoolMessage::Kind::kCancel);
    return id;
  }

  std::future<CallOutcome<Value>> CallAsync(CallRequest request) {
    auto outcome = std::make_shared<std::promise<CallOutcome<Value>>>();
    asio::post(io_, [this, request, outcome] {
      connection_->CallAsync(
          request, [outcome](CallOutcome<Value> result) { outcome->set_value(std::move(result)); });
    });
    return outcome->get_future();
  }

  // A call goes through, before whose reply the worker sends the frames. (While there is no call
  // nobody reads.)
  void ExpectServes(bool async, const std::string& frames = "") {
    auto call = async ? CallAsync(Request("next")) : CallOnThread(Request("next"));
    const int64_t id = peer_->Read().id;
    peer_->Send(frames);
    peer_->Result(id, "served");
    const CallOutcome<Value> outcome = call.get();
    ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
    EXPECT_EQ(*outcome.result, Value("served"));
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  }

  void ExpectTakesLittle(bool async, const std::string& frames) {
    const PeakMemory memory;
    ExpectServes(async, frames);
    EXPECT_LT(memory.Growth(), kLittle);
  }
};

// The measure is one.
TEST_F(StdioUnawaitedTest, AReplyThatIsAwaitedIsDecodedAndTakesMuch) {
  Connect(4);
  auto call = CallOnThread(Request("call"));
  const std::string frame = Frame(peer_->Read().id, false);
  const PeakMemory memory;
  peer_->Send(frame);
  EXPECT_TRUE(call.get().result);
  EXPECT_GT(memory.Growth(), 2 * kLittle);
}

TEST_F(StdioUnawaitedTest, ALateReplyIsNotDecoded) {
  Connect(4);
  for (const bool async : {false, true}) {
    for (const size_t arrays : {kArrays, 2 * kArrays}) {  // decoded by its reader, or not
      SCOPED_TRACE(testing::Message() << async << " " << arrays);
      released_ = {};
      ExpectTakesLittle(async, Frame(GiveUp(async), false, arrays));
      EXPECT_EQ(Released(), AfterCall::kUsable);
      ExpectServes(async);
    }
  }
}

TEST_F(StdioUnawaitedTest, TheChunksOfAStreamThatWasGivenUpAreNotDecoded) {
  Connect(4);
  for (const bool async : {false, true}) {
    released_ = {};
    std::stop_source source;
    CallRequest request = Request("stream");
    request.stop = source.get_token();
    auto stream = StreamOnThread(request, [](const Chunk&) { return true; });
    const int64_t id = peer_->Read().id;
    source.request_stop();
    EXPECT_EQ(stream.get().after, AfterCall::kAbandoned);
    EXPECT_EQ(peer_->Read().kind, PoolMessage::Kind::kCancel);
    const std::string chunk = Frame(id, true);
    ExpectTakesLittle(async, chunk + chunk + chunk);
    peer_->EndOfStream(id, 3);
    EXPECT_EQ(Released(), AfterCall::kUsable);
  }
}

// Also after the pool has ceased to wait for the worker's end of the call.
TEST_F(StdioUnawaitedTest, AReplyAfterTheGraceIsNotDecoded) {
  Connect(4, milliseconds(1));
  const int64_t id = GiveUp(false);
  EXPECT_EQ(Released(), AfterCall::kOverran);
  ExpectTakesLittle(false, Frame(id, false));
  ExpectServes(false);
}

// A worker that answers twice is not believed to do so by mistake.
TEST_F(StdioUnawaitedTest, OfRepliesToACallThatHasEndedOneAtMostIsDecoded) {
  Connect(4);
  auto call = CallOnThread(Request("call"));
  const int64_t id = peer_->Read().id;
  peer_->Result(id, 1);
  EXPECT_TRUE(call.get().result);
  ExpectServes(false, Frame(id, false));
  for (const bool async : {false, true}) {
    const std::string frame = Frame(id, false);
    ExpectTakesLittle(async, frame + frame);
  }
}

// However much comes that nobody waits for.
TEST_F(StdioUnawaitedTest, ADeadlineIsKeptWhileLateRepliesCome) {
  Connect(4);
  const std::string chunk = Frame(GiveUp(false), true);
  for (const bool async : {false, true}) {
    CallRequest request = Request("other", In(milliseconds(50)));
    request.released = [](AfterCall) {};
    auto other = async ? CallAsync(request) : CallOnThread(request);
    EXPECT_EQ(peer_->Read().command, "other");
    while (other.wait_for(seconds(0)) != std::future_status::ready) peer_->Send(chunk);
    const CallOutcome<Value> outcome = other.get();
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
    EXPECT_EQ(peer_->Read().kind, PoolMessage::Kind::kCancel);
  }
}

// One error ends them all, and each has its own copy.
TEST_F(StdioUnawaitedTest, ATextThatEndsManyCallsIsShortInEach) {
  constexpr int kCalls = 40;
  Connect(kCalls);
  std::vector<std::future<CallOutcome<Value>>> calls;
  for (int i = 0; i < kCalls; ++i) {
    calls.push_back(i % 2 == 0 ? CallOnThread(Request("call")) : CallAsync(Request("call")));
    peer_->Read();
  }
  std::string frame;
  const size_t start = BeginFrame(&frame);
  AppendMsgpackMapHeader(2, &frame);
  AppendMsgpackText("success", &frame);
  AppendMsgpackBool(false, &frame);
  AppendMsgpackText("error", &frame);
  AppendMsgpackText("too long" + std::string(20 * kMiB, '\n'), &frame);
  ASSERT_TRUE(EndFrame(&frame, start, kMaxTestFrameBytes));
  const PeakMemory memory;
  peer_->Send(frame);
  for (auto& call : calls) {
    const CallOutcome<Value> outcome = call.get();
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
    const std::string& message = outcome.result.error().message;
    EXPECT_LE(message.size(), kMostSharedTextBytes);
    EXPECT_TRUE(message.starts_with("the worker sent a reply without an id: too long\\n\\n"))
        << message;
    EXPECT_TRUE(message.ends_with(" bytes more]")) << message;
  }
  EXPECT_LT(memory.Growth(), 100 * kMiB);  // the frame in its buffer, which grows by doubling
}

}  // namespace
}  // namespace snakepit
