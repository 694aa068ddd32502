#include "src/process/proc_figures.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <latch>
#include <thread>
#include <vector>

#include "src/base/fd.h"

namespace snakepit {
namespace {

TEST(ProcFigures, CountsDescriptorsAndThreads) {
  const auto before = ReadProcFigures(getpid());
  ASSERT_TRUE(before) << before.error().ToString();
  const UniqueFd fd(open("/dev/null", O_RDONLY));
  std::latch done(1);
  std::thread thread([&done] { done.wait(); });
  const auto after = ReadProcFigures(getpid());
  done.count_down();
  thread.join();
  ASSERT_TRUE(after);
  EXPECT_EQ(after->open_fds, before->open_fds + 1);
  EXPECT_EQ(after->threads, before->threads + 1);
}

TEST(ProcFigures, MeasuresMemory) {
  const auto before = ReadProcFigures(getpid());
  constexpr size_t kBytes = 64 << 20;
  const std::vector<char> memory(kBytes, 'x');
  const auto after = ReadProcFigures(getpid());
  ASSERT_TRUE(before && after);
  EXPECT_NEAR(after->rss_bytes - before->rss_bytes, kBytes, kBytes / 8);
  const auto alone = ReadRssBytes(getpid());
  ASSERT_TRUE(alone);
  EXPECT_NEAR(*alone - before->rss_bytes, kBytes, kBytes / 8);
}

TEST(ProcFigures, MeasuresTime) {
  std::chrono::milliseconds used{0};
  while (used.count() < 50) {
    const auto figures = ReadProcFigures(getpid());
    ASSERT_TRUE(figures);
    used = figures->user_time + figures->system_time;
    ASSERT_LT(used.count(), 60'000);
  }
}

TEST(ProcFigures, ProcessThatEndedIsAnError) {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(ReadProcFigures(pid));  // a zombie
  EXPECT_FALSE(ReadRssBytes(pid));
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  const auto figures = ReadProcFigures(pid);
  ASSERT_FALSE(figures);
  EXPECT_EQ(figures.error().message, "there is no process " + std::to_string(pid));
}

}  // namespace
}  // namespace snakepit
