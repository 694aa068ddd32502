#include "src/transport/outcome.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

namespace snakepit {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(Outcome, ACancellationThatNobodyAskedForIsARefusal) {
  std::stop_source stop;
  const CallRequest request{.stop = stop.get_token()};
  const Error cancelled{.code = ErrorCode::kCancelled};
  EXPECT_TRUE(IsRefusedAsEnding(cancelled, request));
  EXPECT_FALSE(IsRefusedAsEnding(MayHaveRun(cancelled), request)) << "a handler's";
  EXPECT_FALSE(IsRefusedAsEnding({.code = ErrorCode::kUnavailable}, request));
  stop.request_stop();
  EXPECT_FALSE(IsRefusedAsEnding(cancelled, request));
}

TEST(Outcome, OnlyACallThatHasBegunMayHaveRun) {
  const CallRequest request{.command = "c"};
  EXPECT_FALSE(NotBegun().may_have_run);
  EXPECT_TRUE(GivenUp(request).may_have_run);
  EXPECT_TRUE(StreamGivenUp().may_have_run);
  EXPECT_TRUE(DeadlinePassed(request).result.error().may_have_run);
}

TEST(Outcome, TheNameOfACommandIsCutInTexts) {
  const std::string command(100'000, 'c');
  EXPECT_LT(GivenUp({.command = command}).message.size(), 1'000u);
  EXPECT_LT(DeadlinePassed({.command = command}).result.error().message.size(), 1'000u);
}

TEST(Outcome, TheResultOfACallIsTheOneChunkOfAStream) {
  std::vector<Chunk> chunks;
  const auto take = [&chunks](const Chunk& chunk) {
    chunks.push_back(chunk);
    return true;
  };
  const auto outcome = AsStream({Value(7), AfterCall::kUsable}, take);
  EXPECT_EQ(outcome.result, 1);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].value, Value(7));
  EXPECT_EQ(chunks[0].index, 0);
  EXPECT_TRUE(chunks[0].final);
}

TEST(Outcome, AStreamThatIsGivenUpAtItsOneChunkHasEndedForTheWorker) {
  const auto outcome = AsStream({Value(7)}, [](const Chunk&) { return false; });
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

TEST(Outcome, AnErrorIsNoChunk) {
  const auto outcome =
      AsStream({Fail(ErrorCode::kWorkerLost, "gone"), AfterCall::kLost}, [](const Chunk&) {
        ADD_FAILURE() << "a chunk";
        return true;
      });
  EXPECT_EQ(outcome.result.error().message, "gone");
  EXPECT_EQ(outcome.after, AfterCall::kLost);
}

TEST(Outcome, TheTimeLeftIsRoundedUpAndNeverZero) {
  const SteadyTime now = steady_clock::now();
  EXPECT_EQ(MillisecondsUntil(now - hours(1)), 1);
  EXPECT_EQ(MillisecondsUntil(now), 1);
  const int64_t left = MillisecondsUntil(steady_clock::now() + hours(1) + microseconds(999));
  EXPECT_GT(left, 3'600'000 - 60'000);
  EXPECT_LE(left, 3'600'001);
}

}  // namespace
}  // namespace snakepit
