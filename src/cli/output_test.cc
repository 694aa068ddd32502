#include "src/cli/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <string>
#include <thread>

#include "src/base/fd.h"

namespace snakepit {
namespace {

// Makes reads and writes return EAGAIN instead of waiting.
bool SetNonBlocking(int fd) { return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0; }

class OutputTest : public testing::Test {
 protected:
  void SetUp() override {
    out_ = std::move(*OpenPipe());
    err_ = std::move(*OpenPipe());
    ASSERT_TRUE(SetNonBlocking(out_.first.get()) && SetNonBlocking(err_.first.get()));
    output_.emplace(out_.second.get(), err_.second.get());
  }

  static std::string Read(int fd) {
    char buffer[65536];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    return n > 0 ? std::string(buffer, n) : "";
  }
  std::string Out() { return Read(out_.first.get()); }
  std::string Err() {
    output_->Finish();
    return Read(err_.first.get());
  }

  FdPair out_, err_;
  std::optional<Output> output_;
};

TEST_F(OutputTest, AResultIsOneLineOfJsonOnStdout) {
  EXPECT_EQ(output_->Result(Value(Value::Map{{"a", "line\nbreak"}})), 0);
  EXPECT_EQ(Out(), "{\"a\":\"line\\nbreak\"}\n");
  EXPECT_EQ(Err(), "");
}

TEST_F(OutputTest, OutputIsSafeToShow) {
  const Value value = Value::Map{{"k\u202e", "\x1b[2J \u009b \x7f \U000e0041 é"}};
  EXPECT_EQ(output_->Result(value), 0);
  const std::string json = Out();
  EXPECT_EQ(json, "{\"k\\u202e\":\"\\u001b[2J \\u009b \\u007f \\udb40\\udc41 é\"}\n");
  EXPECT_EQ(*Value::FromJson(json), value);
  output_->Failure(
      {.code = ErrorCode::kWorkerLost, .message = "m", .stderr_tail = "a\x1b[b\n\u2028c"},
      "try \x1b[1m");
  output_->Log(LogLevel::kInfo, "worker 1: \x1b]0;t\a", false);
  EXPECT_EQ(Err(),
            "error: WORKER_LOST: m\n  the end of its stderr:\n  | a\\x1b[b\n  | \\u2028c\n"
            "  hint: try \\x1b[1m\nworker 1: \\x1b]0;t\\x07\n");
}

TEST_F(OutputTest, RawOutputIsNotEscaped) {
  output_.emplace(out_.second.get(), err_.second.get(), /*raw=*/true);
  EXPECT_EQ(output_->Result(Value("\u202e")), 0);
  EXPECT_EQ(Out(), "\"\u202e\"\n");
  output_->Log(LogLevel::kInfo, "worker 1: \x1b[31m", false);
  output_->Failure(
      {.code = ErrorCode::kInternal, .message = "m", .worker_id = 1, .stderr_tail = "x\ny\x1b[0m"},
      "");
  EXPECT_EQ(Err(),
            "worker 1: \x1b[31m\nerror: INTERNAL: m\n  the end of its stderr:\n  | x\n"
            "  | y\x1b[0m\n");
}

TEST_F(OutputTest, ARawTailThatStandsAboveIsRecognised) {
  output_->Log(LogLevel::kInfo, "worker 1: \\x1b[31m", false);  // escaped by the pool
  output_->Failure(
      {.code = ErrorCode::kInternal, .message = "m", .worker_id = 1, .stderr_tail = "\x1b[31m"},
      "");
  EXPECT_EQ(Err(), "worker 1: \\x1b[31m\nerror: INTERNAL: m\n");
}

TEST_F(OutputTest, AFailureIsOnStderrWithTailAndHint) {
  output_->Failure({.code = ErrorCode::kWorkerLost,
                    .message = "it ended",
                    .worker_id = 1,
                    .stderr_tail = "one\ntwo"},
                   "try again");
  EXPECT_EQ(Err(),
            "error: WORKER_LOST: it ended\n  the end of its stderr:\n  | one\n  | two\n"
            "  hint: try again\n");
  EXPECT_EQ(Out(), "");
}

TEST_F(OutputTest, ATailThatStandsAboveIsNotRepeated) {
  output_->Log(LogLevel::kInfo, "worker 1: one", false);
  output_->Log(LogLevel::kInfo, "worker 1: two", false);
  output_->Failure({.code = ErrorCode::kWorkerLost,
                    .message = "it ended",
                    .worker_id = 1,
                    .stderr_tail = "one\ntwo"},
                   "");
  EXPECT_EQ(Err(), "worker 1: one\nworker 1: two\nerror: WORKER_LOST: it ended\n");
}

TEST_F(OutputTest, ATailThatWasMixedWithAnothersIsRepeated) {
  output_->Log(LogLevel::kInfo, "worker 1: one", false);
  output_->Log(LogLevel::kInfo, "worker 2: one", false);
  output_->Failure(
      {.code = ErrorCode::kInternal, .message = "m", .worker_id = 1, .stderr_tail = "one"}, "");
  EXPECT_NE(Err().find("  | one\n"), std::string::npos);
}

TEST_F(OutputTest, OnlyTheLastLinesOfALongTailAreShown) {
  std::string tail;
  for (int i = 1; i <= 100; ++i) tail += "line " + std::to_string(i) + "\n";
  output_->Failure(
      {.code = ErrorCode::kInternal, .message = "m", .worker_id = 0, .stderr_tail = tail}, "");
  const std::string text = Err();
  EXPECT_EQ(text.find("line 88\n"), std::string::npos);
  EXPECT_NE(text.find("| line 89\n"), std::string::npos);
  EXPECT_NE(text.find("| line 100\n"), std::string::npos);
}

TEST_F(OutputTest, OnlyVerboseShowsThePoolsOwnLog) {
  output_->Log(LogLevel::kDebug, "worker 0 started", false);
  output_->Log(LogLevel::kWarning, "worker 0 ended", false);
  EXPECT_EQ(Err(), "");
  output_->Log(LogLevel::kDebug, "worker 0 started", true);
  EXPECT_EQ(Err(), "pool: worker 0 started\n");
}

TEST_F(OutputTest, AfterAFailedWriteNothingMoreIsWritten) {
  signal(SIGPIPE, SIG_IGN);
  out_.first.Reset();
  EXPECT_EQ(output_->Result(Value(1)), EPIPE);
  EXPECT_EQ(output_->Result(Value(2)), EPIPE);
}

TEST_F(OutputTest, LinesThatNobodyReadsAreDroppedAndCounted) {
  const std::string line(Writer::kMostPostedBytes / 8, 'x');
  for (int i = 0; i < 100; ++i) output_->Log(LogLevel::kInfo, line, false);  // none of them waits
  std::string text;
  for (int i = 0; i < 1'000'000 && text.find("lines are missing here") == std::string::npos; ++i) {
    output_->Line("next");
    text += Read(err_.first.get());
  }
  EXPECT_NE(text.find("lines are missing here: stderr was not read fast enough\n"),
            std::string::npos);
}

TEST_F(OutputTest, AResultIsNotHeldUpByAFullStderr) {
  output_->Line(std::string(Writer::kMostPostedBytes / 2, 'x'));
  EXPECT_EQ(output_->Result(Value(1)), 0);
  EXPECT_EQ(Out(), "1\n");
}

}  // namespace
}  // namespace snakepit
