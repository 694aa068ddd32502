// Bounds for all workers of a pool together: the starts at a time, and the memory.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

constexpr char kWorker[] = R"(
from snakepit_bridge import Worker

worker = Worker("bounds")
kept = []

@worker.command("grow")
def grow(bytes):
    kept.append(b"x" * bytes)

if __name__ == "__main__":
    worker.main()
)";

class BoundsTest : public ::testing::Test {
 protected:
  void Begin(int workers) {
    options_.workers = workers;
    options_.adapter = testing::PythonWorker(kWorker, "StdioMsgpack");
    options_.log = log_.sink();
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  testing::LogWatcher log_;
  PoolOptions options_;
  std::optional<Pool> pool_;
};

TEST_F(BoundsTest, WorkersStartOneAfterTheOtherWhereOneMayAtATime) {
  options_.max_starting = 1;
  Begin(4);
  ASSERT_TRUE(log_.WaitFor(" is ready after", 4));
  const std::string text = log_.Text();
  // "… started", "… is ready after 70 ms", in turn.
  size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    const size_t started = text.find(") started", at);
    const size_t ready = text.find(" is ready after", started);
    ASSERT_NE(ready, std::string::npos) << text;
    EXPECT_GT(text.find(") started", started + 1), ready) << text;
    at = ready;
  }
}

TEST_F(BoundsTest, TheLargestWorkerIsReplacedWhenAllHaveTooMuch) {
  options_.recycle.max_total_rss_bytes = 160 << 20;
  options_.recycle.warm_up_calls = 1;
  options_.health.interval = milliseconds(20);
  Begin(2);
  // A call to each of both, so that both are warm, and then a measurement that says so.
  CallInfo first, second;
  ASSERT_TRUE(pool_->Execute("grow", Value::Map{{"bytes", 1}}, {.info = &first}));
  ASSERT_TRUE(pool_->Execute("grow", Value::Map{{"bytes", 100 << 20}}, {.info = &second}));
  ASSERT_NE(first.worker_id, second.worker_id);
  ASSERT_TRUE(pool_->Execute("grow", Value::Map{{"bytes", 80 << 20}}, {.info = &first}));
  ASSERT_TRUE(log_.WaitFor("(pid " + std::to_string(second.worker_pid) +
                           ") is replaced: all workers together have more memory than "
                           "recycle.max_total_rss_bytes, and it has most"))
      << log_.Text();
  EXPECT_EQ(log_.Text().find("(pid " + std::to_string(first.worker_pid) + ") is replaced"),
            std::string::npos);
}

TEST_F(BoundsTest, BoundsThatCannotBeRightAreRefused) {
  const auto refused = [this](std::string_view text) {
    options_.adapter = testing::PythonWorker(kWorker, "StdioMsgpack");
    const auto pool = Pool::Start(options_);
    return !pool && pool.error().code == ErrorCode::kInvalidArgument &&
           pool.error().message.find(text) != std::string::npos;
  };
  options_.max_starting = -1;
  EXPECT_TRUE(refused("max_starting must be 0 or more"));
  options_.max_starting = 0;
  options_.recycle.max_total_rss_bytes = -1;
  EXPECT_TRUE(refused("recycle.max_total_rss_bytes must be 0 or more"));
  options_.recycle.max_total_rss_bytes = 1;
  options_.health.interval = milliseconds(0);
  EXPECT_TRUE(refused("health.interval must be over 0 ms where recycle.max_total_rss_bytes is"));
}

}  // namespace
}  // namespace snakepit
