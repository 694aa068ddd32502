// That what a start costs depends neither on the memory of this process nor on its limit of
// descriptors: each beside what it would cost if it did, measured in the same run.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <utility>
#include <vector>

#include "src/process/guardian.h"
#include "src/process/guardian_testing.h"

namespace snakepit {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

constexpr int kRounds = 31;
constexpr size_t kMemoryBytes = size_t{1} << 30;
constexpr rlim_t kFewDescriptors = 1'024;
constexpr rlim_t kManyDescriptors = 1'048'576;
// Fewer would not tell whether each is closed.
constexpr rlim_t kEnoughDescriptors = 16'384;

template <typename Action>
double TimeUs(Action action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return Microseconds(std::chrono::steady_clock::now() - begin).count();
}

// What the work itself takes: the rest of the times is waiting for a processor, which on a busy
// machine is most of the median.
double Least(const std::vector<double>& times) {
  return *std::min_element(times.begin(), times.end());
}

double Median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

template <typename Action>
double LeastUs(Action action) {
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) times.push_back(TimeUs(action));
  return Least(times);
}

void ExpectNoPartOf(double cost_us, const char* what, const std::vector<double>& before_us,
                    const std::vector<double>& after_us) {
  std::cout << what << ": median " << Median(before_us) << " us, then " << Median(after_us)
            << " us; least " << Least(before_us) << " us, then " << Least(after_us)
            << " us; growth would be " << cost_us << " us\n";
  EXPECT_LT(Least(after_us), Least(before_us) + cost_us / 2) << what;
}

// All that was measured of one state of this process.
struct StartTimes {
  std::vector<double> guardian_us;  // its start, with that of a first worker
  std::vector<double> worker_us;    // of a further one
};

class SpawnTimeTest : public GuardianTest {
 protected:
  void StartWorker() {
    const uint64_t id = next_id_++;
    ASSERT_TRUE(guardian_->Spawn(id, Spec({"exit", "0"})));
    RunUntil([&] { return outcomes_[id].events > 0; });
    ASSERT_GT(outcomes_[id].pid, 0);
  }

  void MeasureOnce(StartTimes* times) {
    guardian_.reset();
    times->guardian_us.push_back(TimeUs([this] {
      StartGuardian();
      StartWorker();
    }));
    times->worker_us.push_back(TimeUs([this] { StartWorker(); }));
  }

  // Neither has grown by a good part of `cost_us`.
  static void ExpectNoGrowth(double cost_us, const StartTimes& before, const StartTimes& after) {
    ExpectNoPartOf(cost_us, "guardian and worker", before.guardian_us, after.guardian_us);
    ExpectNoPartOf(cost_us, "further worker", before.worker_us, after.worker_us);
  }
};

void ForkAndReap() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
}

TEST_F(SpawnTimeTest, DoesNotGrowWithTheMemoryOfThisProcess) {
  StartTimes before;
  StartTimes after;
  const double fork_before_us = LeastUs(ForkAndReap);
  for (int round = 0; round < kRounds; ++round) MeasureOnce(&before);

  void* const memory =
      mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  madvise(memory, kMemoryBytes, MADV_NOHUGEPAGE);  // huge pages have few entries to copy
  std::memset(memory, 1, kMemoryBytes);
  const double fork_after_us = LeastUs(ForkAndReap);
  for (int round = 0; round < kRounds; ++round) MeasureOnce(&after);
  munmap(memory, kMemoryBytes);
  ExpectNoGrowth(fork_after_us - fork_before_us, before, after);
}

TEST_F(SpawnTimeTest, DoesNotGrowWithTheLimitOfDescriptors) {
  rlimit usual = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  rlimit many = {.rlim_cur = kManyDescriptors, .rlim_max = kManyDescriptors};
  if (setrlimit(RLIMIT_NOFILE, &many) != 0) {  // takes CAP_SYS_RESOURCE
    many = {.rlim_cur = usual.rlim_max, .rlim_max = usual.rlim_max};
    if (usual.rlim_max < kEnoughDescriptors) {
      GTEST_SKIP() << "no more than " << usual.rlim_max << " descriptors are allowed here";
    }
  }
  const rlimit few = {.rlim_cur = kFewDescriptors, .rlim_max = many.rlim_max};
  StartTimes before;
  StartTimes after;
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    MeasureOnce(&before);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &many), 0);
    MeasureOnce(&after);
  }
  const double close_us = LeastUs([&] {
    for (rlim_t fd = kFewDescriptors; fd < many.rlim_cur; ++fd) close(static_cast<int>(fd));
  });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  std::cout << many.rlim_cur << " descriptors\n";
  ExpectNoGrowth(close_us, before, after);
}

}  // namespace
}  // namespace snakepit
