// The guardian of an unusual program: unusual in its limits, its user, its folder, or its treatment
// of its children. Each test forks a process of its own.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "src/base/fd.h"
#include "src/base/testing/temp_folder.h"
#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

constexpr uid_t kNobody = 65534;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class GuardianHostTest : public GuardianTest {
 protected:
  void SetUp() override {}  // each test has a guardian of its own, if any

  // The error of a guardian that cannot be started.
  std::string StartFailure() {
    auto guardian = Guardian::Start(io_, {.spawned = [](uint64_t, pid_t) {},
                                          .spawn_failed = [](uint64_t, const Error&) {},
                                          .exited = [](uint64_t, ExitStatus, ResourceUse) {},
                                          .lost = [] {}});
    return guardian ? "" : guardian.error().message;
  }

  std::string SpawnFailure(const SpawnSpec& spec) {
    const auto spawned = guardian_->Spawn(next_id_++, spec);
    return spawned ? "" : spawned.error().message;
  }

  // Runs in a process of its own, whose expectations count here.
  void InAChild(const std::function<void()>& body) {
    const pid_t child = fork();
    if (child == 0) {
      body();
      guardian_.reset();
      _exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
};

TEST_F(GuardianHostTest, AFileSizeLimitThatIsTooSmallIsNamed) {
  InAChild([this] {
    const rlimit limit = {16 * 1024, 16 * 1024};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const std::string failure = StartFailure();
    EXPECT_TRUE(Contains(failure,
                         "(EFBIG); this process may write files of 16384 bytes "
                         "(RLIMIT_FSIZE, ulimit -f), and "))
        << failure;
  });
}

TEST_F(GuardianHostTest, TheErrorOfALargeSpecNamesTheFileSizeLimit) {
  InAChild([this] {
    StartGuardian();
    const rlimit limit = {16 * 1024, 16 * 1024};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const std::string failure = SpawnFailure(Spec({std::string(16 * 1024, 'x')}));
    EXPECT_TRUE(Contains(failure, "this process may write files of 16384 bytes")) << failure;
    EXPECT_NE(Output(Spec({"fds"})), "");
  });
}

TEST_F(GuardianHostTest, ASufficientFileSizeLimitIsNoError) {
  InAChild([this] {
    const rlimit limit = {64 * 1024, 64 * 1024};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    StartGuardian();
    EXPECT_NE(Output(Spec({"fds"})), "");
  });
}

TEST_F(GuardianHostTest, AWorkerStartsFromAFolderThatMayNotBeEntered) {
  const testing::TempFolder temp("guardian_host_test");
  const char* folder = temp.path().c_str();
  InAChild([&] {
    // Any user can then execute the program.
    const UniqueFd program(open(TestProgram().c_str(), O_PATH));
    ASSERT_EQ(chdir(folder), 0);
    ASSERT_EQ(chmod(folder, 0), 0);
    if (geteuid() == 0 &&
        (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0)) {
      return;  // there is only one user, who may enter every folder
    }
    StartGuardian();
    SpawnSpec spec = Spec({});
    spec.argv = {"/bin/sh", "-c", "pwd"};
    EXPECT_EQ(Output(spec), "/\n");
    spec.argv[0] = "sh";
    EXPECT_EQ(Output(spec), "/\n");
    spec.working_directory = "/usr";
    EXPECT_EQ(Output(spec), "/usr\n");
    spec.working_directory = "relative";
    const std::string reason =
        "cannot enter the working directory of this process: Permission "
        "denied (EACCES)";
    EXPECT_EQ(SpawnFailure(spec), reason);
    spec.working_directory = "";
    spec.argv[0] = "./program";
    EXPECT_EQ(SpawnFailure(spec), reason);
  });
  chmod(folder, 0700);
}

TEST_F(GuardianHostTest, NoWorkerStartsAfterAChangeOfTheUser) {
  InAChild([this] {
    StartGuardian();
    EXPECT_NE(Output(Spec({"fds"})), "");
    if (setegid(kNobody) != 0) return;  // takes root
    const std::string refused = SpawnFailure(Spec({"fds"}));
    EXPECT_TRUE(Contains(refused,
                         "the user or groups of this process have changed (group ids (real, "
                         "effective, saved) 0 65534 0, before 0 0 0), and workers would still get "
                         "the old ones"))
        << refused;
    ASSERT_EQ(setegid(0), 0);
    EXPECT_NE(Output(Spec({"fds"})), "");
    const gid_t groups[] = {1, 2};
    ASSERT_EQ(setgroups(2, groups), 0);
    EXPECT_TRUE(Contains(SpawnFailure(Spec({"fds"})), "(supplementary groups 1 2, before "));
    ASSERT_EQ(setuid(kNobody), 0);
    EXPECT_TRUE(Contains(SpawnFailure(Spec({"fds"})),
                         "(user ids (real, effective, saved) 65534 "
                         "65534 65534, before 0 0 0)"));
  });
}

// Imitates the kernel's reuse of a pid: starts a process whose pid, group and session are `pid`.
// Returns -1 if this process may not do that.
pid_t StartUnderNumber(pid_t pid) {
  clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<uint64_t>(&pid);
  arguments.set_tid_size = 1;
  const pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child != 0) return child;
  setsid();
  for (;;) pause();
}

TEST_F(GuardianHostTest, AProcessWithAKilledGuardiansPidLivesOn) {
  InAChild([this] {
    signal(SIGCHLD, SIG_IGN);
    StartGuardian();
    const pid_t number = guardian_->pid();
    const UniqueFd guardian = OpenPidfd(number);
    kill(number, SIGKILL);
    ASSERT_TRUE(AwaitEndOf(guardian));
    const pid_t other = StartUnderNumber(number);
    if (other < 0) return;  // takes root
    ASSERT_EQ(other, number);
    const UniqueFd other_fd = OpenPidfd(other);
    // Only a process with a session of its own could be mistaken for the guardian's.
    while (getsid(other) != other) {
    }
    RunUntil([this] { return lost_ > 0; });
    pollfd ended = {other_fd.get(), POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 0), 0);
    kill(other, SIGKILL);
  });
}

TEST_F(GuardianHostTest, AProcessWithAnEndedGuardiansPidLivesOn) {
  InAChild([this] {
    // Reaps as soon as it can, like a program that waits for every child.
    signal(SIGCHLD, [](int) {
      while (waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    });
    StartGuardian();
    const pid_t number = guardian_->pid();
    const UniqueFd guardian = OpenPidfd(number);
    kill(number, SIGKILL);
    ASSERT_TRUE(AwaitEndOf(guardian));
    while (kill(number, 0) == 0) {
    }
    const pid_t other = StartUnderNumber(number);
    if (other < 0) return;
    while (getsid(other) != other) {
    }
    const UniqueFd other_fd = OpenPidfd(other);
    guardian_.reset();
    pollfd ended = {other_fd.get(), POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 0), 0);
    kill(other, SIGKILL);
  });
}

class StraysTest : public GuardianHostTest {
 protected:
  void ExpectNoneIsLeft(const char* mode) {
    StartGuardian();
    const UniqueFd out = SpawnPiped(1, Spec({mode}));
    ASSERT_EQ(ReadLine(out.get()), "ready");
    kill(guardian_->pid(), SIGKILL);
    RunUntil([this] { return lost_ > 0; });
    EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
    EXPECT_EQ(ReadToEnd(out.get()), "");
  }
};

// The family identifies them, because the session is not known to be the guardian's.
TEST_F(StraysTest, StraysEndInAProcessThatIgnoresItsChildren) {
  InAChild([this] {
    signal(SIGCHLD, SIG_IGN);
    ExpectNoneIsLeft("linger");
  });
}

TEST_F(StraysTest, StraysWithACleanedEnvironmentEnd) {
  InAChild([this] { ExpectNoneIsLeft("linger-clean"); });
}

// The environment identifies them, because there are no families either.
TEST_F(StraysTest, StraysEndWhereTheLimitOfLocksIsTaken) {
  InAChild([this] {
    signal(SIGCHLD, SIG_IGN);
    const rlimit limit = {64, 64};
    ASSERT_EQ(setrlimit(RLIMIT_LOCKS, &limit), 0);
    ExpectNoneIsLeft("linger");
  });
}

}  // namespace
}  // namespace snakepit
