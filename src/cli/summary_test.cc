#include "src/cli/summary.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

Error Of(ErrorCode code) { return {.code = code, .message = "why"}; }

TEST(Summary, CountsFailuresByCode) {
  Summary summary;
  summary.AddSuccess(milliseconds(2));
  summary.AddFailure(Of(ErrorCode::kWorkerLost));
  summary.AddFailure(Of(ErrorCode::kWorkerLost));
  summary.AddFailure(Of(ErrorCode::kDeadlineExceeded));
  const std::string text = summary.ToText(milliseconds(500));
  EXPECT_TRUE(
      text.starts_with("summary: 1 ok, 3 failed (1 DEADLINE_EXCEEDED, 2 WORKER_LOST); p50 "))
      << text;
  EXPECT_TRUE(text.ends_with("; 8.0 calls/s")) << text;
}

TEST(Summary, WithoutSuccessesThereAreNoPercentiles) {
  Summary summary;
  summary.AddFailure(Of(ErrorCode::kHandlerFailed));
  EXPECT_EQ(summary.ToText(milliseconds(100)),
            "summary: 0 ok, 1 failed (1 HANDLER_FAILED); 10 calls/s");
}

TEST(Summary, CallsCutShortAreCountedApart) {
  Summary summary;
  summary.cut_short = 2;
  EXPECT_EQ(summary.ToText(milliseconds(100)), "summary: 0 ok, 0 failed, 2 cut short");
}

TEST(Summary, MergedSummariesAddUp) {
  Summary a, b;
  a.AddSuccess(milliseconds(1));
  a.AddFailure(Of(ErrorCode::kInternal));
  b.AddSuccess(milliseconds(1));
  b.AddFailure(Of(ErrorCode::kInternal));
  b.AddFailure(Of(ErrorCode::kQueueFull));
  b.cut_short = 1;
  a.Merge(b);
  EXPECT_EQ(a.latencies.count(), 2);
  EXPECT_EQ(a.failed, 3);
  EXPECT_EQ(a.failed_by_code[ErrorCode::kInternal], 2);
  EXPECT_EQ(a.failed_by_code[ErrorCode::kQueueFull], 1);
  EXPECT_EQ(a.cut_short, 1);
}

}  // namespace
}  // namespace snakepit
