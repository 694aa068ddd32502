// A worker's descendants end with it, wherever they have gone, and no other worker's do.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

// Each of these tests reads the output of a worker to its end, which comes once the last holder of
// the pipe has ended. A failure shows as a wait that does not return.

TEST_F(GuardianTest, ProcessesThatLeftTheSessionEndWithAKilledWorker) {
  const UniqueFd out = SpawnPiped(1, Spec({"linger"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  EXPECT_EQ(ListMarked(mark_).size(), 5u);
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
  EXPECT_EQ(ReadToEnd(out.get()), "");
}

TEST_F(GuardianTest, ProcessesThatLeftTheSessionEndWithAnExit) {
  EXPECT_EQ(Output(Spec({"leave-all"})), "ready\n");
}

TEST_F(GuardianTest, ACleanedEnvironmentSavesNothing) {
  const UniqueFd out = SpawnPiped(1, Spec({"linger-clean"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ReadToEnd(out.get()), "");
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
}

TEST_F(GuardianTest, AHungWorkerEndsUnderAWrapperThatMakesASession) {
  SpawnSpec spec = Spec({});
  spec.argv = {"/usr/bin/setsid", "--fork", "--wait", TestProgram(), "hold"};
  const UniqueFd out = SpawnPiped(1, std::move(spec));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ReadToEnd(out.get()), "");
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
}

TEST_F(GuardianTest, AnotherWorkersChildrenLiveOn) {
  const std::string mark_of_other = NewMark();
  SpawnSpec spec = Spec({"linger"});
  spec.environment = {mark_of_other};
  const UniqueFd other = SpawnPiped(2, std::move(spec));
  ASSERT_EQ(ReadLine(other.get()), "ready");
  for (uint64_t id = 10; id < 15; ++id) {
    const UniqueFd out = SpawnPiped(id, Spec({"linger"}));
    ASSERT_EQ(ReadLine(out.get()), "ready");
    guardian_->Signal(id, SIGKILL);
    EXPECT_EQ(ReadToEnd(out.get()), "");
  }
  EXPECT_EQ(ListMarked(mark_of_other).size(), 5u);
  guardian_.reset();
  EXPECT_EQ(ListMarked(mark_of_other), std::vector<pid_t>());
}

// If no number can be given, families cannot be told apart until the guardian ends.
TEST_F(GuardianTest, WithoutFamiliesProcessesOutsideTheGroupEndLast) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {64, 64};
    if (setrlimit(RLIMIT_LOCKS, &limit) != 0) _exit(1);
    guardian_.release();  // the parent's
    io_.notify_fork(asio::io_context::fork_child);
    StartGuardian();
    const UniqueFd out = SpawnPiped(1, Spec({"linger"}));
    if (ReadLine(out.get()) != "ready") _exit(2);
    guardian_->Signal(1, SIGKILL);
    if (ExitOf(1) != ExitStatus{.signal = SIGKILL}) _exit(3);
    if (ListMarked(mark_).empty()) _exit(4);
    guardian_.reset();
    _exit(ListMarked(mark_).empty() ? 0 : 5);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Imitates a chroot(2) with few folders.
TEST_F(GuardianTest, WithoutProcNothingIsLeftEither) {
  constexpr int kMayNot = 77;
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/proc", "tmpfs", 0, nullptr) != 0) {
      _exit(kMayNot);
    }
    guardian_.release();  // the parent's
    io_.notify_fork(asio::io_context::fork_child);
    StartGuardian();
    UniqueFd out = SpawnPiped(1, Spec({"linger"}));
    if (ReadLine(out.get()) != "ready") _exit(1);
    guardian_->Signal(1, SIGKILL);
    if (ExitOf(1) != ExitStatus{.signal = SIGKILL}) _exit(2);
    if (!ReadToEnd(out.get()).empty()) _exit(3);
    out = SpawnPiped(2, Spec({"linger"}));
    if (ReadLine(out.get()) != "ready") _exit(4);
    guardian_.reset();
    _exit(ReadToEnd(out.get()).empty() ? 0 : 5);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kMayNot) GTEST_SKIP() << "needs root";
  EXPECT_EQ(status, 0);
}

TEST_F(GuardianTest, WithAGraceTheRestOutlivesTheLeaderForAWhile) {
  SpawnSpec spec = Spec({"launch"});
  spec.leader_grace = kLongestLeaderGrace;
  const UniqueFd out = SpawnPiped(1, std::move(spec));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
  EXPECT_EQ(ReadToEnd(out.get()), "the first has ended\n");
}

TEST_F(GuardianTest, DestructionKeepsTheGrace) {
  SpawnSpec spec = Spec({"launch"});
  spec.leader_grace = kLongestLeaderGrace;
  const UniqueFd out = SpawnPiped(1, std::move(spec));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  const UniqueFd lingerers = SpawnPiped(2, Spec({"linger"}));
  ASSERT_EQ(ReadLine(lingerers.get()), "ready");
  guardian_.reset();
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
  EXPECT_EQ(ReadToEnd(out.get()), "the first has ended\n");
}

}  // namespace
}  // namespace snakepit
