// Replies that take long to decode, or much memory, on a connection that others use, too.
#include <gtest/gtest.h>

#include <asio/post.hpp>
#include <functional>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "src/transport/stdio/testing/fixture.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"
#include "src/wire/pool_side/message.h"

namespace snakepit {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr size_t kMuch = 3 << 20;

// The frame of a result: an array of so many empty arrays. Each is a byte, and 40 in memory.
std::string ResultFrame(int64_t id, size_t arrays, std::string_view last = "\x90") {
  std::string frame;
  const size_t start = BeginFrame(&frame);
  AppendMsgpackMapHeader(3, &frame);
  AppendMsgpackText("id", &frame);
  AppendMsgpackInt(id, &frame);
  AppendMsgpackText("success", &frame);
  AppendMsgpackBool(true, &frame);
  AppendMsgpackText("result", &frame);
  AppendMsgpackArrayHeader(arrays, &frame);
  frame.append(arrays - 1, '\x90');
  frame += last;
  EXPECT_TRUE(EndFrame(&frame, start, kMaxTestFrameBytes));
  return frame;
}

class StdioLargeTest : public StdioFixture {
 protected:
  // Begins an asynchronous call.
  std::future<CallOutcome<Value>> CallAsync(CallRequest request) {
    auto outcome = std::make_shared<std::promise<CallOutcome<Value>>>();
    asio::post(io_, [this, request, outcome] {
      connection_->CallAsync(
          request, [outcome](CallOutcome<Value> result) { outcome->set_value(std::move(result)); });
    });
    return outcome->get_future();
  }

  std::future<CallOutcome<Value>> Begin(bool async, CallRequest request) {
    return async ? CallAsync(std::move(request)) : CallOnThread(std::move(request));
  }

  // A call that is answered with that many empty arrays; the time that it took.
  steady_clock::duration TimeOfLargeCall(bool async, size_t arrays) {
    const SteadyTime begin = steady_clock::now();
    auto call = Begin(async, Request("large"));
    peer_->Send(ResultFrame(peer_->Read().id, arrays));
    const CallOutcome<Value> outcome = call.get();
    EXPECT_TRUE(outcome.result) << outcome.result.error().ToString();
    const auto* array = outcome.result ? outcome.result->get_if<Value::Array>() : nullptr;
    EXPECT_EQ(array == nullptr ? 0 : array->size(), arrays);
    return steady_clock::now() - begin;
  }

  // The outcome of a call whose large answer has been sent when `then` runs.
  CallOutcome<Value> Answered(bool async, CallRequest request, const std::function<void()>& then) {
    request.released = [](AfterCall) {};
    auto call = Begin(async, std::move(request));
    peer_->Send(ResultFrame(peer_->Read().id, kMuch));
    then();
    CallOutcome<Value> outcome = call.get();
    if (outcome.after == AfterCall::kAbandoned) {
      EXPECT_EQ(peer_->Read().kind, PoolMessage::Kind::kCancel);
    }
    return outcome;
  }

  // True if a call ends with that code after its answer has come. The deadline or stop may be too
  // early or too late: then another call is made.
  bool EndsWhileDecoded(ErrorCode code, const std::function<CallOutcome<Value>()>& call) {
    for (int i = 0; i < 30; ++i) {
      const CallOutcome<Value> outcome = call();
      if (outcome.result) continue;
      EXPECT_EQ(outcome.result.error().code, code);
      EXPECT_TRUE(outcome.result.error().may_have_run);
      if (outcome.after == AfterCall::kUsable) return true;
    }
    return false;
  }

  void ExpectServes() {
    auto call = CallOnThread(Request("next"));
    peer_->Result(peer_->Read().id, 1);
    const CallOutcome<Value> outcome = call.get();
    EXPECT_TRUE(outcome.result) << outcome.result.error().ToString();
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  }
};

// Nearly all of the time goes into decoding: a deadline after a part of it comes meanwhile.
TEST_F(StdioLargeTest, ADeadlineEndsTheDecodingOfAReply) {
  Connect(4);
  for (const bool async : {false, true}) {
    SCOPED_TRACE(async);
    EXPECT_TRUE(EndsWhileDecoded(ErrorCode::kDeadlineExceeded, [this, async] {
      return Answered(async, Request("large", In(TimeOfLargeCall(async, kMuch) / 3)), [] {});
    }));
    ExpectServes();
  }
}

TEST_F(StdioLargeTest, AStopEndsTheDecodingOfAReply) {
  Connect(4);
  for (const bool async : {false, true}) {
    SCOPED_TRACE(async);
    EXPECT_TRUE(EndsWhileDecoded(ErrorCode::kCancelled, [this, async] {
      std::stop_source source;
      CallRequest request = Request("large");
      request.stop = source.get_token();
      return Answered(async, request, [&source] { source.request_stop(); });
    }));
    ExpectServes();
  }
}

// The reader does not decode for other calls, nor keeps them from reading while it decodes. (On a
// busy machine the thread of the small call may be late for once.)
TEST_F(StdioLargeTest, NoReplyWaitsForTheDecodingOfALargeOne) {
  Connect(4);
  for (const bool large_async : {false, true}) {
    for (const bool small_async : {false, true}) {
      bool was_first = false;
      for (int i = 0; i < 5 && !was_first; ++i) {
        auto large = Begin(large_async, Request("large"));
        const int64_t large_id = peer_->Read().id;
        auto small = Begin(small_async, Request("small"));
        const int64_t small_id = peer_->Read().id;
        std::string small_frame;
        ASSERT_TRUE(EncodeResultFrame(peer_->agreement.codec, 2, small_id, 1, kMaxTestFrameBytes,
                                      &small_frame));
        peer_->Send(ResultFrame(large_id, kMuch) + small_frame);
        EXPECT_TRUE(small.get().result);
        was_first = large.wait_for(seconds(0)) != std::future_status::ready;
        EXPECT_TRUE(large.get().result);
      }
      EXPECT_TRUE(was_first) << large_async << small_async;
    }
  }
}

TEST_F(StdioLargeTest, AReplyOverTheLimitEndsItsCallAndNoOther) {
  Connect(4, seconds(20), 100'000);
  for (const size_t arrays : {size_t{10'000}, kMuch}) {  // decoded by its reader, or not
    for (const bool async : {false, true}) {
      SCOPED_TRACE(testing::Message() << arrays << " " << async);
      auto other = CallOnThread(Request("other"));
      const int64_t other_id = peer_->Read().id;
      auto large = Begin(async, Request("large"));
      peer_->Send(ResultFrame(peer_->Read().id, arrays));
      const CallOutcome<Value> outcome = large.get();
      ASSERT_FALSE(outcome.result);
      EXPECT_EQ(outcome.result.error().code, ErrorCode::kMessageTooLarge);
      EXPECT_NE(outcome.result.error().message.find("max_decoded_bytes of 100000"),
                std::string::npos)
          << outcome.result.error().message;
      EXPECT_TRUE(outcome.result.error().may_have_run);
      EXPECT_EQ(outcome.after, AfterCall::kUsable);
      peer_->Result(other_id, 1);
      EXPECT_TRUE(other.get().result);
    }
  }
}

TEST_F(StdioLargeTest, AChunkOverTheLimitGivesTheStreamUp) {
  Connect(4, seconds(20), 100'000);
  int chunks = 0;
  auto stream = StreamOnThread(Request("stream"), [&chunks](const Chunk&) { return ++chunks; });
  const int64_t id = peer_->Read().id;
  peer_->Chunk(id, 0, false, 1);
  peer_->Chunk(id, 1, false, Value::Array(10'000));
  const auto outcome = stream.get();
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kMessageTooLarge);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(chunks, 1);
  EXPECT_EQ(peer_->Read().kind, PoolMessage::Kind::kCancel);
  peer_->Failure(id, ErrorCode::kCancelled, 2);
  EXPECT_EQ(Released(), AfterCall::kUsable);
  ExpectServes();
}

TEST_F(StdioLargeTest, LargeChunksArriveInOrder) {
  Connect(4);
  std::vector<size_t> sizes;
  auto stream = StreamOnThread(Request("stream"), [&sizes](const Chunk& chunk) {
    sizes.push_back(chunk.value.get_if<std::string>()->size());
    return true;
  });
  const int64_t id = peer_->Read().id;
  const std::vector<size_t> expected = {1, 900'000, 3 << 20, 2, 5 << 20, 3};
  for (size_t i = 0; i < expected.size(); ++i) {
    peer_->Chunk(id, static_cast<int64_t>(i), i + 1 == expected.size(),
                 std::string(expected[i], 'x'));
    while (i + 1 < expected.size() && expected[i] > 500'000) {
      if (peer_->Read().kind == PoolMessage::Kind::kCredit) break;
    }
  }
  const auto outcome = stream.get();
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(sizes, expected);
}

// A large reply that is malformed inside is known to be that one call's.
TEST_F(StdioLargeTest, ALargeReplyThatIsMalformedInsideEndsItsCallAlone) {
  Connect(4);
  auto other = CallOnThread(Request("other"));
  const int64_t other_id = peer_->Read().id;
  auto large = CallOnThread(Request("large"));
  peer_->Send(ResultFrame(peer_->Read().id, kMuch, "\xa1\xff"));  // no UTF-8
  const auto outcome = large.get();
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  peer_->Result(other_id, 1);
  EXPECT_TRUE(other.get().result);
}

TEST_F(StdioLargeTest, ALargeReplyOfACallThatWasGivenUpIsDropped) {
  Connect(4);
  std::stop_source source;
  CallRequest request = Request("large");
  request.stop = source.get_token();
  auto call = CallOnThread(request);
  const int64_t id = peer_->Read().id;
  source.request_stop();
  EXPECT_EQ(call.get().after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, PoolMessage::Kind::kCancel);
  peer_->Send(ResultFrame(id, kMuch));
  EXPECT_EQ(Released(), AfterCall::kUsable);
  ExpectServes();
}

TEST_F(StdioLargeTest, LargeArgumentsAreNotEncodedBeyondTheDeadlineOrTheLimit) {
  Connect(4);
  const Value args = Value::Map{{"a", Value::Array(4 << 20)}};
  for (const bool async : {false, true}) {
    CallRequest request = Request("large", steady_clock::now());
    request.args = &args;
    const CallOutcome<Value> outcome = Begin(async, request).get();
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
    EXPECT_FALSE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kUnsent);
    ExpectServes();
  }
}

}  // namespace
}  // namespace snakepit
