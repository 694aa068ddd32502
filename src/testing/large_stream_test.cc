// A stream of 1 GiB passes through without piling up anywhere. PROTOCOL.md 6.7.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>

#include "snakepit/pool.h"
#include "src/process/proc_figures.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using testing::FixtureKind;

constexpr int64_t kTotalBytes = INT64_C(1) << 30;
constexpr int64_t kChunkBytes = 256 << 10;
constexpr int64_t kAllowedGrowth = 16 << 20;

int64_t RssOf(pid_t pid) {
  const auto figures = ReadProcFigures(pid);
  return figures ? figures->rss_bytes : 0;
}

class LargeStreamTest : public ::testing::TestWithParam<FixtureKind> {};

TEST_P(LargeStreamTest, GrowsNeitherSide) {
  auto pool = Pool::Start({.adapter = testing::FixtureOfKind(GetParam()), .workers = 1});
  ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
  const pid_t worker = pool->Workers()[0].pid;
  int64_t total = 0;
  int64_t worker_start = 0, worker_peak = 0, pool_start = 0, pool_peak = 0;
  bool right = true;
  const auto stream = [&](int64_t bytes) {
    return pool->ExecuteStream(
        "stream_bytes", Value::Map{{"total_bytes", bytes}, {"chunk_bytes", kChunkBytes}},
        [&](const Chunk& chunk) {
          const Bytes* data = chunk.value.get_if<Bytes>();
          right = right && data != nullptr &&
                  static_cast<unsigned char>(data->data.back()) == (data->data.size() - 1) % 256;
          total += data == nullptr ? 0 : static_cast<int64_t>(data->data.size());
          if (chunk.index % 16 == 0) {
            worker_peak = std::max(worker_peak, RssOf(worker));
            pool_peak = std::max(pool_peak, RssOf(getpid()));
          }
          return true;
        },
        {.timeout = std::chrono::minutes(5)});
  };
  // The first stream makes both sides load code and keep buffers, which is no growth.
  ASSERT_TRUE(stream(4 * kChunkBytes));
  worker_start = worker_peak = RssOf(worker);
  pool_start = pool_peak = RssOf(getpid());
  total = 0;
  const auto begin = std::chrono::steady_clock::now();
  const Result<int64_t> chunks = stream(kTotalBytes);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(chunks) << chunks.error().ToString();
  EXPECT_EQ(*chunks, kTotalBytes / kChunkBytes);
  EXPECT_EQ(total, kTotalBytes);
  EXPECT_TRUE(right);
  EXPECT_LT(worker_peak - worker_start, kAllowedGrowth);
  EXPECT_LT(pool_peak - pool_start, kAllowedGrowth);
  std::cout << testing::FixtureKindName(GetParam()) << ": 1 GiB in " << time.count()
            << " s; growth of the worker " << (worker_peak - worker_start) / 1024
            << " KiB, of the pool " << (pool_peak - pool_start) / 1024 << " KiB\n";
}

INSTANTIATE_TEST_SUITE_P(Fixtures, LargeStreamTest, ::testing::ValuesIn(testing::kFixtureKinds),
                         [](const auto& info) {
                           return std::string(testing::FixtureKindName(info.param));
                         });

}  // namespace
}  // namespace snakepit
