// The end of everything: workers, guardian, and the process that uses it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

TEST_F(GuardianTest, RestOfTheGroupDiesWithTheWorker) {
  // Its output ends once the last process that holds it has ended.
  EXPECT_EQ(Output(Spec({"leave-group"})), "ready\n");
}

TEST_F(GuardianTest, DestructionEndsEverythingInAnyGroupOrSession) {
  const UniqueFd out = SpawnPiped(1, Spec({"linger"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  EXPECT_EQ(ListMarked(mark_).size(), 5u);
  guardian_.reset();
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
  EXPECT_EQ(ReadToEnd(out.get()), "");
}

TEST_F(GuardianTest, DestructionRightAfterSpawnLeavesNothing) {
  for (uint64_t id = 0; id < 5; ++id) ASSERT_TRUE(guardian_->Spawn(id, Spec({"linger"})));
  guardian_.reset();
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
}

TEST_F(GuardianTest, DestructionWhileTheLoopRunsElsewhere) {
  std::thread runner([this] { io_.run(); });
  for (uint64_t id = 0; id < 20; ++id) ASSERT_TRUE(guardian_->Spawn(id, Spec({"exit", "0"})));
  guardian_.reset();
  const auto outcomes = outcomes_.size();
  io_.stop();
  runner.join();
  EXPECT_EQ(outcomes_.size(), outcomes);
}

TEST_F(GuardianTest, DestructionInsideAnEvent) {
  on_exited_ = [this] { guardian_.reset(); };
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"exit", "0"})));
  const UniqueFd out = SpawnPiped(2, Spec({"linger"}));
  RunUntil([&] { return guardian_ == nullptr; });
  EXPECT_EQ(outcomes_[1].exit, ExitStatus{});
  EXPECT_FALSE(outcomes_[2].exit);
}

TEST_F(GuardianTest, StoppedGuardianStillEndsEverything) {
  const UniqueFd out = SpawnPiped(1, Spec({"linger"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  kill(guardian_->pid(), SIGSTOP);
  guardian_.reset();
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
}

TEST_F(GuardianTest, SignalsThatCanBeIgnoredDoNotEndTheGuardian) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGALRM}) {
    kill(guardian_->pid(), number);
  }
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"exit", "3"})));
  EXPECT_EQ(ExitOf(1), ExitStatus{.code = 3});
  EXPECT_EQ(lost_, 0);
}

TEST_F(GuardianTest, KilledGuardianTakesItsWorkersAndTheirGroupsAlong) {
  const UniqueFd out = SpawnPiped(1, Spec({"hold"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  SpawnSpec script = Spec({});
  script.argv = {"/bin/sh", "-c", TestProgram() + " hold & " + TestProgram() + " hold"};
  const UniqueFd script_out = SpawnPiped(2, script);
  ASSERT_EQ(ReadLine(script_out.get()), "ready");
  ASSERT_EQ(ReadLine(script_out.get()), "ready");

  kill(guardian_->pid(), SIGKILL);
  RunUntil([&] { return lost_ > 0; });
  EXPECT_EQ(lost_, 1);
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
  const auto refused = guardian_->Spawn(3, Spec({"exit", "0"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "the guardian process has ended");
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(lost_, 1);
}

TEST_F(GuardianTest, ProcessesThatLeftTheSessionEndWithAKilledGuardian) {
  const UniqueFd out = SpawnPiped(1, Spec({"linger"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  EXPECT_EQ(ListMarked(mark_).size(), 5u);
  kill(guardian_->pid(), SIGKILL);
  RunUntil([&] { return lost_ > 0; });
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
  EXPECT_EQ(ReadToEnd(out.get()), "");
}

// A job scheduler starts processes on behalf of a worker in the same way.
TEST_F(GuardianTest, AHolderOfACopiedEnvironmentOutlivesAKilledGuardian) {
  const std::string environment = Output(Spec({"environment"}));
  const std::string copy = environment.substr(environment.find("SNAKEPIT_GUARDIAN=")).c_str();
  auto pipe = OpenPipe();
  const pid_t scheduler = fork();
  if (scheduler == 0) {
    dup2(pipe->second.get(), STDOUT_FILENO);
    setsid();
    const std::string script = "env " + copy + " " + TestProgram() + " hold & wait";
    execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    _exit(127);
  }
  pipe->second.Reset();
  ASSERT_EQ(ReadLine(pipe->first.get()), "ready");
  ASSERT_EQ(ListMarked(copy).size(), 1u);
  const UniqueFd job = OpenPidfd(ListMarked(copy)[0]);

  kill(guardian_->pid(), SIGKILL);
  RunUntil([&] { return lost_ > 0; });
  EXPECT_EQ(ListMarked(copy).size(), 1u);
  // Both are in the scheduler's group.
  kill(-scheduler, SIGKILL);
  EXPECT_EQ(waitpid(scheduler, nullptr, 0), scheduler);
  EXPECT_TRUE(AwaitEndOf(job));
}

// A process that uses a Guardian is killed.
class HostTest : public testing::Test {
 protected:
  void StartHost(const std::string& mode, const std::string& worker_mode) {
    auto pipe = OpenPipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe->second.get(), STDOUT_FILENO);
    std::string program = TestProgram();
    std::string argument = mode;
    std::string worker_argument = worker_mode;
    std::string variable = mark_;
    char* argv[] = {program.data(), argument.data(), worker_argument.data(), nullptr};
    std::string end_command = "END_COMMAND=" + end_command_;
    char* variables[] = {variable.data(), end_command_.empty() ? nullptr : end_command.data(),
                         nullptr};
    ASSERT_EQ(posix_spawn(&host_, program.c_str(), &actions, nullptr, argv, variables), 0);
    posix_spawn_file_actions_destroy(&actions);
    out_ = std::move(pipe->first);
    pipe->second.Reset();
    ASSERT_EQ(ReadLine(out_.get()), "ready");
    guardian_pid_ = FindGuardian();
    guardian_ = OpenPidfd(guardian_pid_);
    ASSERT_TRUE(guardian_.valid());
  }

  pid_t FindGuardian() const {
    const std::string command = std::string("snakepit-guardian\0", 18) + std::to_string(host_);
    for (const pid_t pid : ListProcesses()) {
      if (ReadFile("/proc/" + std::to_string(pid) + "/cmdline").value_or("") == command + '\0')
        return pid;
    }
    return -1;
  }

  void KillHost() {
    kill(host_, SIGKILL);
    waitpid(host_, nullptr, 0);
    ASSERT_TRUE(AwaitEndOf(guardian_));
    EXPECT_EQ(ReadToEnd(out_.get()), "");
  }

  const std::string mark_ = NewMark();
  std::string end_command_;
  pid_t host_ = -1;
  UniqueFd out_;
  pid_t guardian_pid_ = -1;
  UniqueFd guardian_;
};

TEST_F(HostTest, NothingOutlivesAKilledProcess) {
  StartHost("host", "linger");
  KillHost();
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
}

TEST_F(HostTest, TheEndCommandRunsWhenTheProcessIsKilled) {
  const std::string fifo = testing::TempDir() + "/ended." + mark_;
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  end_command_ = "echo ended > " + fifo;
  StartHost("host", "linger");
  KillHost();
  EXPECT_EQ(ReadLine(reader.get()), "ended");
  unlink(fifo.c_str());
}

TEST_F(HostTest, ForkedCopyOfTheSocketKeepsNothingAlive) {
  StartHost("forked-host", "linger");
  KillHost();
  const std::vector<pid_t> left = ListMarked(mark_);
  ASSERT_EQ(left.size(), 1u);  // the fork itself, which is no worker
  const UniqueFd fork = OpenPidfd(left[0]);
  kill(left[0], SIGKILL);
  EXPECT_TRUE(AwaitEndOf(fork));
}

TEST_F(HostTest, WorkerDiesWithItsGuardianWhoseProcessCannotAct) {
  StartHost("host", "hold");
  std::vector<pid_t> marked = ListMarked(mark_);
  std::erase(marked, host_);
  ASSERT_EQ(marked.size(), 1u);
  const UniqueFd worker = OpenPidfd(marked[0]);
  kill(host_, SIGSTOP);
  kill(guardian_pid_, SIGKILL);
  EXPECT_TRUE(AwaitEndOf(worker));
  KillHost();
}

}  // namespace
}  // namespace snakepit
