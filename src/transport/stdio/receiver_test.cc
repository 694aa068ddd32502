#include "src/transport/stdio/receiver.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>

namespace snakepit {
namespace {

using Next = StdioCall::Next;
using std::chrono::steady_clock;

struct FakeReceiver : StdioReceiver {
  using StdioReceiver::StdioReceiver;
  void Hand(Mail) override {}
};

const Agreement kVersion2{.version = 2, .stream = true};
const ChunkCallback kTakeAll = [](const Chunk&) { return true; };

Mail ChunkOf(int64_t index, size_t bytes) {
  return {.reply = Reply{.id = 1,
                         .kind = Reply::Kind::kChunk,
                         .has_value = true,
                         .chunk_index = index,
                         .final = false},
          .payload_bytes = bytes};
}

CallRequest Request() { return {.deadline = steady_clock::now() + std::chrono::hours(1)}; }

TEST(StdioReceiver, CreditIsDueWhenAQuarterIsTaken) {
  const CallRequest request = Request();
  FakeReceiver stream(kVersion2, request, &kTakeAll);
  const int64_t quarter = StdioReceiver::kStreamCredit / 4;
  Mail mail = ChunkOf(0, quarter - 1);
  ASSERT_TRUE(stream.UseCredit(mail));
  EXPECT_EQ(stream.Take(mail), Next::kAwaitMore);
  EXPECT_EQ(stream.TakeDueCredit(), 0);
  mail = ChunkOf(1, 1);
  EXPECT_EQ(stream.Take(mail), Next::kAwaitMore);
  EXPECT_EQ(stream.TakeDueCredit(), quarter);
  EXPECT_EQ(stream.TakeDueCredit(), 0);
}

TEST(StdioReceiver, AStreamIsOverAtItsDeadline) {
  CallRequest request = Request();
  request.deadline = steady_clock::now();
  FakeReceiver stream(kVersion2, request, &kTakeAll);
  Mail mail = ChunkOf(0, 1);
  EXPECT_EQ(stream.Take(mail), Next::kAbandon);
  EXPECT_EQ(stream.call().TakeOutcome().result.error().code, ErrorCode::kDeadlineExceeded);
  FakeReceiver call(kVersion2, request, nullptr);
  EXPECT_FALSE(call.WhyOver()) << "the reply of a call ends it in any case";
}

TEST(StdioReceiver, AStreamIsOverWhenAStopIsAskedFor) {
  std::stop_source source;
  CallRequest request = Request();
  request.stop = source.get_token();
  FakeReceiver stream(kVersion2, request, &kTakeAll);
  EXPECT_FALSE(stream.WhyOver());
  source.request_stop();
  Mail mail = ChunkOf(0, 1);
  EXPECT_EQ(stream.Take(mail), Next::kAbandon);
  EXPECT_EQ(stream.call().TakeOutcome().result.error().code, ErrorCode::kCancelled);
}

TEST(StdioReceiver, AReasonForNoReplyEndsTheCall) {
  const CallRequest request = Request();
  FakeReceiver call(kVersion2, request, nullptr);
  Mail lost{.reply = Fail(ErrorCode::kWorkerLost, "gone"), .after = AfterCall::kLost};
  EXPECT_EQ(call.Take(lost), Next::kEnd);
  EXPECT_EQ(call.call().TakeOutcome().after, AfterCall::kLost);
  FakeReceiver unreadable(kVersion2, request, nullptr);
  Mail bad{.reply = Fail(ErrorCode::kProtocolError, "bad")};
  EXPECT_EQ(unreadable.Take(bad), Next::kEnd);
  const auto outcome = unreadable.call().TakeOutcome();
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

}  // namespace
}  // namespace snakepit
