// The memory that replies take: the limit with a name, and a pool that has no more memory.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

constexpr char kWorker[] = R"(
from snakepit_bridge import Worker

worker = Worker("memory")

@worker.command("nulls")
def nulls(n):
    return {"nulls": [None] * n}

@worker.command("text")
def text(n):
    return {"text": "x" * n}

@worker.command("count")
def count():
    for i in range(3):
        yield {"i": i, "nulls": [None] * (10_000 if i == 1 else 1)}

worker.main()
)";

class MemoryTest : public ::testing::TestWithParam<const char*> {
 protected:
  void Begin(size_t max_decoded_bytes = 0) {
    options_.workers = 1;
    options_.adapter = testing::PythonWorker(kWorker, GetParam());
    options_.adapter.max_decoded_bytes = max_decoded_bytes;
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  Result<Value> Call(bool async, std::string_view command, int64_t n) {
    const Value args = Value::Map{{"n", n}};
    if (!async) return pool_->Execute(command, args);
    std::promise<Result<Value>> ended;
    pool_->Submit(command, args,
                  [&ended](Result<Value> result) { ended.set_value(std::move(result)); });
    return ended.get_future().get();
  }

  void ExpectServes() {
    const auto result = pool_->Execute("nulls", Value::Map{{"n", 2}});
    ASSERT_TRUE(result) << result.error().ToString();
    EXPECT_EQ(*result, Value(Value::Map{{"nulls", Value::Array(2)}}));
  }

  PoolOptions options_;
  std::optional<Pool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Transports, MemoryTest,
                         ::testing::Values("StdioJson", "StdioMsgpack", "Grpc"),
                         [](const auto& info) { return std::string(info.param); });

TEST(MemoryLimitTest, UnderThatNoPoolStarts) {
  PoolOptions options;
  options.adapter.argv = {"true"};
  options.adapter.max_decoded_bytes = 65'535;
  const auto pool = Pool::Start(options);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().ToString(),
            "INVALID_ARGUMENT: adapter.max_decoded_bytes must be 0 or at least 64 KiB");
}

TEST_P(MemoryTest, AReplyOverTheLimitEndsItsCallAndTheWorkerGoesOn) {
  Begin(64 << 10);
  for (const bool async : {false, true}) {
    EXPECT_TRUE(Call(async, "nulls", 4'000));
    for (const int64_t n : {5'000, 3'000'000}) {
      const auto result = Call(async, "nulls", n);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::kMessageTooLarge) << result.error().ToString();
      EXPECT_NE(result.error().message.find("max_decoded_bytes of 65536"), std::string::npos);
      EXPECT_TRUE(result.error().may_have_run);
      ExpectServes();
    }
  }
  EXPECT_EQ(pool_->Stats().restarts, 0);
}

TEST_P(MemoryTest, AChunkOverTheLimitEndsItsStreamAndTheWorkerGoesOn) {
  Begin(64 << 10);
  int chunks = 0;
  const auto result = pool_->ExecuteStream("count", {}, [&chunks](const Chunk&) {
    ++chunks;
    return true;
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kMessageTooLarge) << result.error().ToString();
  EXPECT_EQ(chunks, 1);
  ExpectServes();
  EXPECT_EQ(pool_->Stats().restarts, 0);
}

#if !defined(__SANITIZE_ADDRESS__)

// The process has no more address space than it has now, and so much.
class LimitedMemory {
 public:
  explicit LimitedMemory(size_t more_bytes) {
    getrlimit(RLIMIT_AS, &before_);
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit = before_;
    limit.rlim_cur = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + more_bytes;
    setrlimit(RLIMIT_AS, &limit);
  }
  ~LimitedMemory() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

class StdioMemoryTest : public MemoryTest {};

INSTANTIATE_TEST_SUITE_P(Transports, StdioMemoryTest, ::testing::Values("StdioMsgpack"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(StdioMemoryTest, AReplyForWhichThereIsNoMemoryEndsItsCallAndNotTheProgram) {
  Begin();
  for (const bool async : {false, true}) {
    Result<Value> result;
    {
      const LimitedMemory limited(size_t{96} << 20);
      result = Call(async, "nulls", 20'000'000);  // the frame fits, the values do not
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInternal);
    EXPECT_NE(result.error().message.find("out of memory"), std::string::npos)
        << result.error().message;
    EXPECT_TRUE(result.error().may_have_run);
    ExpectServes();
  }
  EXPECT_EQ(pool_->Stats().restarts, 0);
}

TEST_P(StdioMemoryTest, AFrameForWhichThereIsNoMemoryEndsTheCallWithItsWorker) {
  Begin();
  for (const bool async : {false, true}) {
    Result<Value> result;
    {
      const LimitedMemory limited(size_t{10} << 20);
      result = Call(async, "text", 60'000'000);
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInternal);
    EXPECT_NE(result.error().message.find("out of memory"), std::string::npos)
        << result.error().message;
    ExpectServes();
  }
  EXPECT_EQ(pool_->Stats().restarts, 2);
}

#endif

}  // namespace
}  // namespace snakepit
