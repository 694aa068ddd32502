// The flow of a stream on stdio, for a caller that waits for it on a thread and for one that does
// not. PROTOCOL.md 6.6 and 6.7.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <string_view>

#include "src/transport/stdio/testing/fixture.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using Kind = PoolMessage::Kind;

class StdioFlowTest : public StdioFixture, public ::testing::WithParamInterface<const char*> {
 protected:
  std::future<CallOutcome<int64_t>> Stream(const CallRequest& request, ChunkCallback on_chunk) {
    if (std::string_view(GetParam()) == "OnThread") return StreamOnThread(request, on_chunk);
    return StreamAsync(request, on_chunk);
  }
};

INSTANTIATE_TEST_SUITE_P(Callers, StdioFlowTest, ::testing::Values("OnThread", "Async"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(StdioFlowTest, AStalledStreamIsBoundedAndHoldsUpNoOtherCall) {
  Connect(2);
  std::promise<void> stalled, go_on;
  std::atomic<int64_t> taken = 0;
  auto stream = Stream(Request("stream"), [&](const Chunk& chunk) {
    if (chunk.index == 0) {
      stalled.set_value();
      go_on.get_future().get();
    }
    ++taken;
    return true;
  });
  const PoolMessage request = peer_->Read();
  ASSERT_TRUE(request.stream);
  ASSERT_TRUE(request.credit);
  int64_t credit = *request.credit;
  EXPECT_GT(credit, 0);
  EXPECT_LE(credit, 1 << 20);
  const Value chunk = Bytes{std::string(100'000, 'x')};
  int64_t sent = 0;
  const auto send = [&] {
    credit -= static_cast<int64_t>(peer_->Chunk(request.id, sent++, false, chunk));
  };
  send();
  stalled.get_future().get();
  while (credit > 0) {
    send();
    // All of it is read, though its caller takes none, as long as somebody reads.
    auto other = CallOnThread(Request("other"));
    peer_->Result(peer_->Read().id, 5);
    EXPECT_TRUE(other.get().result);
  }
  EXPECT_EQ(taken, 0);
  EXPECT_FALSE(peer_->HasMessage(milliseconds(20))) << "no credit while nothing is taken";
  go_on.set_value();
  while (sent < 100) {
    const PoolMessage grant = peer_->Read();
    ASSERT_EQ(grant.kind, Kind::kCredit);
    EXPECT_EQ(grant.id, request.id);
    credit += *grant.credit;
    while (credit > 0 && sent < 100) send();
  }
  peer_->EndOfStream(request.id, sent);
  const auto outcome = stream.get();
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(*outcome.result, 100);
  EXPECT_EQ(taken, 100);
}

TEST_P(StdioFlowTest, AWorkerThatSendsWithoutCreditIsOutOfStep) {
  Connect(2);
  std::promise<void> stalled, go_on;
  auto stream = Stream(Request("stream"), [&](const Chunk& chunk) {
    if (chunk.index == 0) {
      stalled.set_value();
      go_on.get_future().get();
    }
    return true;
  });
  const int64_t id = peer_->Read().id;
  const Value chunk = Bytes{std::string(100'000, 'x')};
  peer_->Chunk(id, 0, false, chunk);
  stalled.get_future().get();
  auto other = CallOnThread(Request("other"));  // reads meanwhile
  peer_->Read();
  for (int i = 1; i < 12; ++i) peer_->Chunk(id, i, false, chunk);
  const CallOutcome<Value> others = other.get();
  EXPECT_EQ(others.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(others.after, AfterCall::kUnusable);
  go_on.set_value();
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kUnusable);
}

TEST_P(StdioFlowTest, AStreamThatItsCallerGivesUpIsReadToItsEnd) {
  Connect(1);
  auto stream = Stream(Request("stream"), [](const Chunk& chunk) { return chunk.index < 1; });
  const PoolMessage sent = peer_->Read();
  for (int i = 0; i < 4; ++i) peer_->Chunk(sent.id, i, false, i);
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Chunk(sent.id, 4, false, 4);
  peer_->Failure(sent.id, ErrorCode::kCancelled, 5);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

}  // namespace
}  // namespace snakepit
