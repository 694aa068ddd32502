// The start of workers, their surroundings, and the events about them.
#include "src/process/guardian.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

std::string WriteFile(const std::string& name, const std::string& content, mode_t mode) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << content;
  chmod(path.c_str(), mode);
  return path;
}

TEST_F(GuardianTest, ReportsPidAndExitCode) {
  const UniqueFd out = SpawnPiped(1, Spec({"exit", "7"}));
  EXPECT_EQ(ExitOf(1), ExitStatus{.code = 7});
  EXPECT_GT(outcomes_[1].pid, 0);
}

TEST_F(GuardianTest, ReportsResourceUse) {
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"use", "67108864"})));
  EXPECT_EQ(ExitOf(1), ExitStatus{});
  EXPECT_GT(outcomes_[1].use.max_rss_bytes, 64 << 20);
  EXPECT_LT(outcomes_[1].use.max_rss_bytes, int64_t{1} << 30);
  EXPECT_GT((outcomes_[1].use.user_time + outcomes_[1].use.system_time).count(), 0);
}

TEST_F(GuardianTest, SignalReachesTheWorker) {
  const UniqueFd out = SpawnPiped(1, Spec({"hold"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGTERM);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGTERM});
}

TEST_F(GuardianTest, SignalRightAfterSpawnReachesTheWorker) {
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"hold"})));
  guardian_->Signal(1, SIGTERM);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGTERM});
}

TEST_F(GuardianTest, SignalToNobodyDoesNothing) {
  guardian_->Signal(77, SIGKILL);
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"exit", "0"})));
  EXPECT_EQ(ExitOf(1), ExitStatus{});
  guardian_->Signal(1, SIGKILL);
  EXPECT_NE(Output(Spec({"fds"})), "");
  EXPECT_EQ(lost_, 0);
}

TEST_F(GuardianTest, ArgumentsAreVerbatim) {
  const std::vector<std::string> arguments = {"arguments",
                                              "",
                                              "two words",
                                              "\"'`$HOME\\",
                                              "* ? [a] {b,c} ~",
                                              "gr\xC3\xBC\xC3\x9F",
                                              "new\nline",
                                              "\xFF",
                                              std::string(100'000, 'x'),
                                              ""};
  std::string expected = TestProgram() + '\0';
  for (const std::string& argument : arguments) expected += argument + '\0';
  EXPECT_EQ(Output(Spec(arguments)), expected);
}

TEST_F(GuardianTest, EnvironmentIsTheGivenOneAndTheMarkOfTheGuardian) {
  SpawnSpec spec = Spec({"environment"});
  spec.environment = {"B=2", "A=", mark_, "C=x=y z\n", "B=again"};
  const std::string output = Output(spec);
  const size_t last = output.find("SNAKEPIT_GUARDIAN=");
  EXPECT_EQ(output.substr(0, last),
            std::string("B=2\0A=\0", 7) + mark_ + std::string("\0C=x=y z\n\0B=again\0", 18));
  EXPECT_EQ(output.find('\0', last), output.size() - 1);
}

TEST_F(GuardianTest, EnvironmentMayBeLarge) {
  SpawnSpec spec = Spec({"environment"});
  size_t bytes = mark_.size() + 1;
  for (int i = 0; i < 100; ++i) {
    spec.environment.push_back("V" + std::to_string(i) + "=" + std::string(10'500, 'v'));
    bytes += spec.environment.back().size() + 1;
  }
  ASSERT_GT(bytes, 1u << 20);
  const std::string output = Output(spec);
  EXPECT_EQ(output.find("SNAKEPIT_GUARDIAN="), bytes);
}

TEST_F(GuardianTest, WorkingDirectoryIsTheGivenOne) {
  SpawnSpec spec = Spec({"working-directory"});
  spec.working_directory = "/usr/bin";
  EXPECT_EQ(Output(spec), "/usr/bin");
}

TEST_F(GuardianTest, WorkingDirectoryIsTakenAtTheTimeOfSpawn) {
  char before[4096];
  ASSERT_NE(getcwd(before, sizeof before), nullptr);
  ASSERT_EQ(chdir("/usr"), 0);
  EXPECT_EQ(Output(Spec({"working-directory"})), "/usr");
  SpawnSpec relative = Spec({"working-directory"});
  relative.working_directory = "bin";
  EXPECT_EQ(Output(relative), "/usr/bin");
  ASSERT_EQ(chdir(before), 0);
}

TEST_F(GuardianTest, StandardStreamsAreTheGivenOnes) {
  auto in = OpenPipe();
  auto err = OpenPipe();
  SpawnSpec spec = Spec({"cat"});
  spec.stdin_fd = in->first.get();
  spec.stderr_fd = err->second.get();
  const UniqueFd out = SpawnPiped(1, spec);
  ASSERT_EQ(write(in->second.get(), "hello", 5), 5);
  in->second.Reset();
  err->second.Reset();
  EXPECT_EQ(ReadToEnd(out.get()), "hello");
  EXPECT_EQ(ReadToEnd(err->first.get()), "to stderr");
  EXPECT_EQ(ExitOf(1), ExitStatus{});
}

TEST_F(GuardianTest, NoOtherDescriptorIsInherited) {
  const UniqueFd low(open("/dev/null", O_RDONLY));
  const UniqueFd high(fcntl(low.get(), F_DUPFD, 200));
  ASSERT_TRUE(high.valid());
  guardian_.reset();
  StartGuardian();  // with both of them open
  const UniqueFd later(fcntl(low.get(), F_DUPFD, 100));
  const UniqueFd other_worker = SpawnPiped(1, Spec({"hold"}));
  ASSERT_EQ(ReadLine(other_worker.get()), "ready");
  EXPECT_EQ(Output(Spec({"fds"})), "0\n1\n2\n");
}

TEST_F(GuardianTest, NoSignalIsBlockedOrIgnoredAndTheGroupIsItsOwn) {
  guardian_.reset();
  sigset_t some;
  sigset_t before;
  sigemptyset(&some);
  for (const int number : {SIGTERM, SIGCHLD, SIGUSR1, SIGRTMIN}) sigaddset(&some, number);
  pthread_sigmask(SIG_BLOCK, &some, &before);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  StartGuardian();
  EXPECT_EQ(Output(Spec({"state"})),
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
            "leads its group: 1\nin the guardian's session: 1\n");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGHUP, SIG_DFL);
}

TEST_F(GuardianTest, ProgramIsFoundOnThePathOfTheWorker) {
  SpawnSpec spec = Spec({});
  spec.argv = {"found-by-path"};
  EXPECT_NE(FailureOf(spec).message.find("ENOENT"), std::string::npos);
  WriteFile("found-by-path", "#!/bin/sh\necho found", 0755);
  spec.environment.push_back("PATH=/nowhere:" + testing::TempDir());
  EXPECT_EQ(Output(spec), "found\n");
}

TEST_F(GuardianTest, MissingProgramIsNamed) {
  SpawnSpec spec = Spec({});
  spec.argv = {"nosuch"};
  const Error error = FailureOf(spec);
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_EQ(error.message,
            "cannot start \"nosuch\": No such file or directory (ENOENT); is it installed, and in "
            "a folder on the worker's PATH?");
  spec.argv = {"/no/such"};
  EXPECT_EQ(FailureOf(spec).message,
            "cannot start \"/no/such\": No such file or directory (ENOENT); is the path right?");
}

TEST_F(GuardianTest, EachKindOfUnusableProgramHasItsOwnError) {
  const std::pair<std::string, std::string> cases[] = {
      {WriteFile("plain", "#!/bin/sh\n", 0644), "(EACCES); make it executable (chmod +x)"},
      {WriteFile("garbage", "neither ELF nor script", 0755), "(ENOEXEC); it is not a program"},
      {WriteFile("empty", "", 0755), "(ENOEXEC); it is not a program"},
      {WriteFile("orphan", "#!/no/such/interpreter\n", 0755), "its interpreter does not"},
      {testing::TempDir(), "(EISDIR); it is a folder"},
  };
  for (const auto& [path, text] : cases) {
    SpawnSpec spec = Spec({});
    spec.argv = {path};
    const Error error = FailureOf(spec);
    EXPECT_EQ(error.code, ErrorCode::kStartFailed);
    EXPECT_NE(error.message.find("cannot start \"" + path + "\""), std::string::npos)
        << error.message;
    EXPECT_NE(error.message.find(text), std::string::npos) << error.message;
  }
}

TEST_F(GuardianTest, MissingInterpreterOfAProgramOnThePathIsNamed) {
  WriteFile("orphan-on-path", "#!/no/such/interpreter\n", 0755);
  SpawnSpec spec = Spec({});
  spec.argv = {"orphan-on-path"};
  spec.environment.push_back("PATH=" + testing::TempDir() + ":/nowhere");
  const Error error = FailureOf(spec);
  EXPECT_NE(error.message.find("its interpreter does not"), std::string::npos) << error.message;
}

TEST_F(GuardianTest, TooLongAnArgumentIsAnError) {
  const Error error = FailureOf(Spec({std::string(200'000, 'x')}));
  EXPECT_NE(error.message.find("(E2BIG)"), std::string::npos) << error.message;
}

TEST_F(GuardianTest, WrongWorkingDirectoryIsNamed) {
  SpawnSpec spec = Spec({"exit", "0"});
  spec.working_directory = "/no/such";
  EXPECT_NE(FailureOf(spec).message.find(
                "in the working directory \"/no/such\": No such file or directory (ENOENT)"),
            std::string::npos);
  spec.working_directory = WriteFile("file", "", 0644);
  EXPECT_NE(FailureOf(spec).message.find("(ENOTDIR)"), std::string::npos);
}

TEST_F(GuardianTest, ImpossibleSpecsAreRefused) {
  const auto code = [this](const SpawnSpec& spec) {
    const auto spawned = guardian_->Spawn(1, spec);
    return spawned ? "accepted" : std::string(ErrorCodeName(spawned.error().code));
  };
  SpawnSpec spec = Spec({});
  spec.argv.clear();
  EXPECT_EQ(code(spec), "INVALID_ARGUMENT");
  spec = Spec({""});
  spec.argv[0] = "";
  EXPECT_EQ(code(spec), "INVALID_ARGUMENT");
  EXPECT_EQ(code(Spec({std::string("a\0b", 3)})), "INVALID_ARGUMENT");
  for (const std::string variable : {"NAME", "=value", ""}) {
    spec = Spec({});
    spec.environment = {variable};
    EXPECT_EQ(code(spec), "INVALID_ARGUMENT");
  }
  spec = Spec({});
  spec.stdin_fd = 999;
  EXPECT_EQ(code(spec), "INVALID_ARGUMENT");
  spec.stdin_fd = -1;
  EXPECT_EQ(code(spec), "INVALID_ARGUMENT");
}

TEST_F(GuardianTest, ManySpawnsFromManyThreads) {
  constexpr int kThreads = 5;
  constexpr int kEach = 10;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      for (int i = 0; i < kEach; ++i) {
        const int id = thread * kEach + i;
        EXPECT_TRUE(guardian_->Spawn(id, Spec({"exit", std::to_string(id)})));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int id = 0; id < kThreads * kEach; ++id) EXPECT_EQ(ExitOf(id), ExitStatus{.code = id});
}

TEST_F(GuardianTest, MoreRequestsThanTheSocketHoldsAreAllServed) {
  SpawnSpec spec = Spec({});
  spec.argv = {"/no/such"};
  // No event is read at first, so that both directions fill. Then one is read for each request.
  constexpr int kUnread = 1'000;
  constexpr int kCount = 2'000;
  for (int id = 0; id < kCount; ++id) {
    ASSERT_TRUE(guardian_->Spawn(id, spec));
    if (id >= kUnread) RunUntil([&] { return outcomes_.size() >= size_t(id - kUnread); });
  }
  RunUntil([&] { return outcomes_.size() == kCount; });
  for (const auto& [id, outcome] : outcomes_) EXPECT_TRUE(outcome.failure) << id;
}

TEST_F(GuardianTest, ShowsItsNameAndItsPool) {
  ASSERT_NE(Output(Spec({"fds"})), "");  // the guardian runs by now
  EXPECT_EQ(ReadFile("/proc/" + std::to_string(guardian_->pid()) + "/cmdline").value_or(""),
            std::string("snakepit-guardian\0", 18) + std::to_string(getpid()) + '\0');
}

TEST_F(GuardianTest, HoldsNoDescriptorOfAWorker) {
  const std::string folder = "/proc/" + std::to_string(guardian_->pid()) + "/fd";
  const auto count = [&folder] {
    DIR* const fds = opendir(folder.c_str());
    int found = 0;
    while (readdir(fds) != nullptr) ++found;
    closedir(fds);
    return found;
  };
  ASSERT_NE(Output(Spec({"fds"})), "");
  const int before = count();
  const UniqueFd out = SpawnPiped(1, Spec({"hold"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  RunUntil([&] { return outcomes_[1].pid > 0; });
  EXPECT_EQ(count(), before);
}

TEST_F(GuardianTest, WorksInAProcessThatIgnoresItsChildren) {
  guardian_.reset();
  signal(SIGCHLD, SIG_IGN);
  StartGuardian();
  EXPECT_EQ(Output(Spec({"fds"})), "0\n1\n2\n");
  guardian_.reset();
  signal(SIGCHLD, SIG_DFL);
}

TEST_F(GuardianTest, StartsWithoutStandardStreams) {
  // The low numbers are free for the descriptors of the guardian's set-up.
  guardian_.reset();
  const pid_t child = fork();
  if (child == 0) {
    for (int fd = 0; fd < 64; ++fd) close(fd);
    asio::io_context io;
    bool exited = false;
    auto guardian = Guardian::Start(
        io, {.spawned = [](uint64_t, pid_t) {},
             .spawn_failed = [](uint64_t, const Error&) { _exit(2); },
             .exited = [&](uint64_t, ExitStatus s, ResourceUse) { exited = s.code == 5; },
             .lost = [] { _exit(3); }});
    if (!guardian) _exit(4);
    SpawnSpec spec = Spec({"exit", "5"});
    spec.stdin_fd = spec.stdout_fd = spec.stderr_fd = open("/dev/null", O_RDWR);
    if (!(*guardian)->Spawn(1, spec)) _exit(5);
    while (!exited) io.run_one();
    guardian->reset();
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace snakepit
