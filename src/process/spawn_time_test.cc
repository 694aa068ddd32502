// The cost of a start depends neither on the memory of this process nor on its limit of
// descriptors. Each is compared with the cost of that dependence, measured in the same run.
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
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

constexpr int kRounds = 31;
constexpr int kWorkers = 2;  // workers of one guardian
constexpr size_t kMemoryBytes = size_t{1} << 30;
constexpr rlim_t kFewDescriptors = 1'024;
constexpr rlim_t kManyDescriptors = 1'048'576;
// Enough to tell if each is closed.
constexpr rlim_t kEnoughDescriptors = 16'384;

double Median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

// Processor time used by this process and by all that it has reaped.
double ProcessorTimeUs() {
  double total = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage use = {};
    getrusage(who, &use);
    for (const timeval& time : {use.ru_utime, use.ru_stime}) {
      total += 1e6 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec);
    }
  }
  return total;
}

// The times of a number of rounds.
struct Times {
  // Time for a caller. On a busy machine most of it is waiting for a processor.
  std::vector<double> elapsed_us;
  // Processor time of all processes: this must not grow.
  std::vector<double> processor_us;

  template <typename Action>
  void Add(Action action) {
    const auto begin = std::chrono::steady_clock::now();
    const double processor_begin_us = ProcessorTimeUs();
    action();
    processor_us.push_back(ProcessorTimeUs() - processor_begin_us);
    elapsed_us.push_back(Microseconds(std::chrono::steady_clock::now() - begin).count());
  }
};

class SpawnTimeTest : public GuardianTest {
 protected:
  // A guardian's life from start to end, with a few workers.
  void StartAll() {
    StartGuardian();
    for (int worker = 0; worker < kWorkers; ++worker) {
      const uint64_t id = next_id_++;
      ASSERT_TRUE(guardian_->Spawn(id, Spec({"exit", "0"})));
      RunUntil([&] { return outcomes_[id].events > 0; });
      ASSERT_GT(outcomes_[id].pid, 0);
    }
    guardian_.reset();
  }

  void SetUp() override {
    GuardianTest::SetUp();
    guardian_.reset();
  }

  // The difference is well under `cost`, which one process would have to spend.
  static void ExpectNoGrowth(const Times& before, const Times& after, double cost_us) {
    std::cout << "a guardian and " << kWorkers << " workers: elapsed " << Median(before.elapsed_us)
              << " us, then " << Median(after.elapsed_us) << " us; processor time "
              << Median(before.processor_us) << " us, then " << Median(after.processor_us)
              << " us; growth would be " << cost_us << " us\n";
    EXPECT_LT(Median(after.processor_us), Median(before.processor_us) + cost_us / 2);
  }
};

void ForkAndReap() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
}

TEST_F(SpawnTimeTest, DoesNotGrowWithTheMemoryOfThisProcess) {
  Times before;
  Times after;
  Times fork_before;
  Times fork_after;
  for (int round = 0; round < kRounds; ++round) before.Add([this] { StartAll(); });
  for (int round = 0; round < kRounds; ++round) fork_before.Add(ForkAndReap);
  void* const memory =
      mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  madvise(memory, kMemoryBytes, MADV_NOHUGEPAGE);  // huge pages have few entries to copy
  std::memset(memory, 1, kMemoryBytes);
  for (int round = 0; round < kRounds; ++round) after.Add([this] { StartAll(); });
  for (int round = 0; round < kRounds; ++round) fork_after.Add(ForkAndReap);
  munmap(memory, kMemoryBytes);
  ExpectNoGrowth(before, after, Median(fork_after.processor_us) - Median(fork_before.processor_us));
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
  Times before;
  Times after;
  Times closing;
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    before.Add([this] { StartAll(); });
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &many), 0);
    after.Add([this] { StartAll(); });
  }
  for (int round = 0; round < kRounds; ++round) {
    closing.Add([&] {
      for (rlim_t fd = kFewDescriptors; fd < many.rlim_cur; ++fd) close(static_cast<int>(fd));
    });
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  std::cout << many.rlim_cur << " descriptors: ";
  ExpectNoGrowth(before, after, Median(closing.processor_us));
}

}  // namespace
}  // namespace snakepit
