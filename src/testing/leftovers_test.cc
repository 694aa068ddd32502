// Nothing is left behind on either transport, whichever process is killed and whatever its workers
// were doing. The program that has the pool needs no other file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/fd.h"
#include "src/base/testing/await.h"
#include "src/base/testing/temp_folder.h"
#include "src/process/testing/fixture.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using std::chrono::steady_clock;

// The promised limit.
constexpr seconds kAllIsGoneAfter{2};

std::string Program() {
  static const std::string path = fs::absolute("src/testing/whole_program");
  return path;
}

// A separate process with a pool.
class PoolProcess {
 public:
  PoolProcess(const std::string& behaviour, const std::string& transport,
              const std::vector<std::string>& variables) {
    auto pipe = OpenPipe();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(pipe->second.get(), STDOUT_FILENO);
      std::vector<char*> environment;
      for (const std::string& variable : variables) {
        environment.push_back(const_cast<char*>(variable.c_str()));
      }
      environment.push_back(nullptr);
      execle(Program().c_str(), "whole_program", "pool", behaviour.c_str(), transport.c_str(),
             nullptr, environment.data());
      _exit(127);
    }
    out_ = std::move(pipe->first);
  }
  ~PoolProcess() { Kill(); }

  // Reads until `count` lines that contain the text have come.
  void Await(std::string_view text, int count) {
    while (count > 0) {
      const std::string line = ReadLine(out_.get());
      ASSERT_NE(line, "") << "no more lines, and none with: " << text;
      count -= line.find(text) != std::string::npos;
    }
  }

  pid_t FindGuardian() const {
    const std::string command = std::string("snakepit-guardian\0", 18) + std::to_string(pid_);
    for (const pid_t pid : ListProcesses()) {
      const std::string found = ReadFile("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
      if (found.starts_with(command + '\0')) return pid;
    }
    return -1;
  }

  void Kill() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  UniqueFd out_;
};

void Destroy(Pool& pool) { const Pool destroyed = std::move(pool); }

struct Scene {
  const char* behaviour;
  const char* transport;
  const char* line;  // the pool logs it once a worker is at the point of the scene
  int processes;     // number for each worker
};

class KilledPoolTest : public ::testing::TestWithParam<Scene> {};

INSTANTIATE_TEST_SUITE_P(Scenes, KilledPoolTest,
                         ::testing::Values(Scene{"serves", "stdio", "busy", 1},
                                           Scene{"serves", "grpc", "busy", 1},
                                           Scene{"starts", "stdio", "in start-up", 1},
                                           Scene{"starts", "grpc", "in start-up", 1},
                                           Scene{"lingers", "stdio", "busy", 4},
                                           Scene{"lingers", "grpc", "busy", 4}),
                         [](const auto& info) {
                           return std::string(info.param.behaviour) + "_" + info.param.transport;
                         });

TEST_P(KilledPoolTest, NothingIsLeftAfterTwoSeconds) {
  const Scene& scene = GetParam();
  const testing::TempFolder runtime("leftovers test");
  const std::string mark = NewMark();
  PoolProcess pool(scene.behaviour, scene.transport,
                   {mark, "XDG_RUNTIME_DIR=" + runtime.path().string()});
  pool.Await(scene.line, 2);
  ASSERT_EQ(ListMarked(mark).size(), 1u + 2 * scene.processes);
  const bool has_folder = std::string_view(scene.transport) == "grpc";
  ASSERT_EQ(!fs::is_empty(runtime.path()), has_folder);
  const pid_t guardian = pool.FindGuardian();
  ASSERT_GT(guardian, 0);

  const auto deadline = steady_clock::now() + kAllIsGoneAfter;
  pool.Kill();
  EXPECT_TRUE(
      testing::Await([&] { return ListMarked(mark).empty(); }, deadline - steady_clock::now()));
  EXPECT_TRUE(
      testing::Await([&] { return !testing::IsAlive(guardian); }, deadline - steady_clock::now()));
  EXPECT_TRUE(fs::is_empty(runtime.path()));
}

class TransportTest : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Transports, TransportTest, ::testing::Values("stdio", "grpc"),
                         [](const auto& info) { return std::string(info.param); });

// Only the kernel is left to act, and then the next pool.
TEST_P(TransportTest, ThePoolSweepsTheRemainsOfAKilledPool) {
  const testing::TempFolder runtime("leftovers test");
  const std::string mark = NewMark();
  const std::vector<std::string> variables = {mark, "XDG_RUNTIME_DIR=" + runtime.path().string()};
  PoolProcess pool("serves", GetParam(), variables);
  pool.Await("busy", 2);
  const pid_t guardian = pool.FindGuardian();
  ASSERT_GT(guardian, 0);
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(runtime.path())) left.push_back(entry.path());
  const auto deadline = steady_clock::now() + kAllIsGoneAfter;
  kill(pool.pid(), SIGSTOP);
  kill(guardian, SIGKILL);
  pool.Kill();
  EXPECT_TRUE(
      testing::Await([&] { return ListMarked(mark).empty(); }, deadline - steady_clock::now()));
  for (const fs::path& path : left) EXPECT_FALSE(fs::is_empty(path));

  PoolProcess next("serves", GetParam(), variables);
  next.Await("busy", 2);
  for (const fs::path& path : left) EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(std::distance(fs::directory_iterator(runtime.path()), fs::directory_iterator()),
            static_cast<ptrdiff_t>(left.size()));
}

std::vector<fs::path> Entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  return entries;
}

Adapter WholeProgramWorker(const std::string& behaviour, const std::string& transport) {
  Adapter adapter;
  adapter.argv = {Program(), "worker", behaviour};
  if (transport == "grpc") {
    adapter.transport = GrpcTransport{};
    adapter.argv.insert(adapter.argv.end(), {"--transport", "grpc", "--socket", "{socket}"});
  }
  return adapter;
}

std::vector<pid_t> ZombieChildren() {
  std::vector<pid_t> zombies;
  for (const pid_t pid : ListProcesses()) {
    if (!testing::IsAlive(pid) && ParentOf(pid) == getpid()) zombies.push_back(pid);
  }
  return zombies;
}

TEST_P(TransportTest, AKilledGuardianIsReplacedAndItsWorkersEnd) {
  const std::string mark = NewMark();
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = 2;
  options.log = log.sink();
  options.adapter = WholeProgramWorker("lingers", GetParam());
  options.adapter.environment["MARK"] = mark.substr(mark.find('=') + 1);
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const std::vector<pid_t> before = ListMarked(mark);
  ASSERT_EQ(before.size(), 8u);
  std::vector<UniqueFd> old;
  for (const pid_t pid : before) old.push_back(OpenPidfd(pid));

  const auto deadline = steady_clock::now() + kAllIsGoneAfter;
  kill(ParentOf(pool->Workers()[0].pid), SIGKILL);
  for (const UniqueFd& process : old) EXPECT_TRUE(AwaitEndOf(process));
  EXPECT_LT(steady_clock::now(), deadline);
  EXPECT_TRUE(log.WaitFor("the process that starts workers ended, and they with it"));
  EXPECT_TRUE(log.WaitFor("is ready", 4)) << log.Text();
  EXPECT_TRUE(pool->Execute("echo", {}));
  EXPECT_EQ(ZombieChildren(), std::vector<pid_t>());
  Destroy(*pool);
  EXPECT_EQ(ListMarked(mark), std::vector<pid_t>());
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// A cleaner of /tmp does this, and the end of a login session in XDG_RUNTIME_DIR.
TEST(RuntimeDirectoryTest, AFolderThatIsRemovedUnderThePoolIsMadeAnew) {
  const testing::TempFolder first("leftovers test");
  const testing::TempFolder second("leftovers test");
  setenv("XDG_RUNTIME_DIR", first.path().c_str(), 1);
  setenv("TMPDIR", second.path().c_str(), 1);
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = 1;
  options.log = log.sink();
  options.adapter = WholeProgramWorker("serves", "grpc");
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  for (int round = 1; round <= 2; ++round) {
    ASSERT_EQ(Entries(first.path()).size(), 1u);
    const fs::path removed = Entries(first.path())[0];
    fs::remove_all(removed);
    kill(pool->Workers()[0].pid, SIGKILL);
    EXPECT_TRUE(log.WaitFor("the folder of the workers' sockets, " + removed.string() +
                            ", was removed by somebody; a new one is " + first.path().string()));
    ASSERT_TRUE(log.WaitFor("is ready", round + 1)) << log.Text();
    EXPECT_TRUE(pool->Execute("echo", {}));
  }
  fs::remove_all(first.path());
  kill(pool->Workers()[0].pid, SIGKILL);
  ASSERT_TRUE(log.WaitFor("is ready", 4)) << log.Text();
  EXPECT_TRUE(pool->Execute("echo", {}));
  EXPECT_EQ(Entries(second.path()).size(), 1u);
  Destroy(*pool);
  EXPECT_TRUE(fs::is_empty(second.path()));
  unsetenv("XDG_RUNTIME_DIR");
  unsetenv("TMPDIR");
}

TEST(RuntimeDirectoryTest, AnUnsafePlaceIsPassedOverAndTheLogSaysWhy) {
  const testing::TempFolder open("leftovers test");
  const testing::TempFolder second("leftovers test");
  fs::permissions(open.path(), fs::perms::all);
  setenv("XDG_RUNTIME_DIR", open.path().c_str(), 1);
  setenv("TMPDIR", second.path().c_str(), 1);
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = 1;
  options.log = log.sink();
  options.adapter = WholeProgramWorker("serves", "grpc");
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  EXPECT_TRUE(log.WaitFor("XDG_RUNTIME_DIR, \"" + open.path().string() + "\": \"" +
                          open.path().string() +
                          "\" can be written to by every user and has no sticky bit (mode 0777); "
                          "the folder of the workers' sockets is " +
                          second.path().string()));
  EXPECT_EQ(Entries(second.path()).size(), 1u);
  EXPECT_TRUE(fs::is_empty(open.path()));
  Destroy(*pool);
  unsetenv("XDG_RUNTIME_DIR");
  unsetenv("TMPDIR");
}

TEST_P(TransportTest, WorkersInheritNoDescriptorOfTheProgram) {
  const UniqueFd low(open("/dev/null", O_RDONLY));
  const UniqueFd high(fcntl(low.get(), F_DUPFD, 300));
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = 4;  // each starts while the others hold their descriptors
  options.log = log.sink();
  options.adapter = WholeProgramWorker("serves", GetParam());
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  EXPECT_TRUE(log.WaitFor("descriptors 0 1 2", 4));
  EXPECT_EQ(log.Text().find("descriptors 0 1 2 "), std::string::npos) << log.Text();
}

TEST_P(TransportTest, WorkersDieManyAtATimeAndNoZombieIsLeft) {
  constexpr int kWorkers = 4;
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = kWorkers;
  options.restart.initial_backoff = std::chrono::milliseconds(1);
  options.log = log.sink();
  options.adapter = WholeProgramWorker("lingers", GetParam());
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t guardian = ParentOf(pool->Workers()[0].pid);
  for (int round = 1; round <= 5; ++round) {
    ASSERT_TRUE(log.WaitFor("is ready", kWorkers * round)) << log.Text();
    for (const WorkerInfo& worker : pool->Workers()) kill(worker.pid, SIGKILL);
  }
  ASSERT_TRUE(log.WaitFor("ended by signal 9", kWorkers * 5)) << log.Text();
  const auto zombies = [&] {
    const std::vector<pid_t> all = ListProcesses();
    return std::count_if(all.begin(), all.end(), [&](pid_t pid) {
      return ParentOf(pid) == guardian && !testing::IsAlive(pid);
    });
  };
  // Orphans of a worker die, and are reaped, a moment after it.
  EXPECT_TRUE(testing::Await([&] { return zombies() == 0; }, seconds(10)));
  EXPECT_EQ(ZombieChildren(), std::vector<pid_t>());
}

TEST_P(TransportTest, ProcessSettingsReachTheWorker) {
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = 1;
  options.log = log.sink();
  options.adapter = WholeProgramWorker("serves", GetParam());
  options.adapter.process.nice = 9;
  options.adapter.process.limits[Resource::kOpenFiles] = {.soft = 123, .hard = 456};
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t worker = pool->Workers()[0].pid;
  EXPECT_EQ(getpriority(PRIO_PROCESS, worker), 9);
  rlimit files = {};
  ASSERT_EQ(prlimit(worker, RLIMIT_NOFILE, nullptr, &files), 0);
  EXPECT_EQ(files.rlim_cur, 123u);
  EXPECT_EQ(files.rlim_max, 456u);
}

// The launcher of a worker ends together with the worker. The name identifies the launched task.
TEST_P(TransportTest, TheEndCommandGetsTheWorkersName) {
  const testing::TempFolder folder("leftovers test");
  testing::LogWatcher log;
  PoolOptions options;
  options.workers = 2;
  options.log = log.sink();
  options.adapter = WholeProgramWorker("serves", GetParam());
  const std::string launcher = "touch '" + folder.path().string() + "'/$0; exec \"$@\"";
  options.adapter.argv.insert(options.adapter.argv.begin(),
                              {"/bin/sh", "-c", launcher, "{instance}"});
  options.adapter.end.command = {"/bin/sh", "-c", "rm $0 && test $1 != worker_1", "{instance}",
                                 "{worker_id}"};
  options.adapter.working_directory = folder.path();
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const std::vector<fs::path> names = Entries(folder.path());
  ASSERT_EQ(names.size(), 2u);
  for (const fs::path& name : names) {
    EXPECT_EQ(name.filename().string().substr(0, 9), "snakepit-");
    EXPECT_EQ(name.filename().string().size(), 33u);
  }
  const std::string pid = std::to_string(pool->Workers()[1].pid);
  kill(pool->Workers()[1].pid, SIGKILL);
  EXPECT_TRUE(log.WaitFor("the end command of the worker that had pid " + pid +
                          " failed: it ended by exit code 1"));
  ASSERT_TRUE(log.WaitFor("is ready", 3)) << log.Text();
  EXPECT_EQ(Entries(folder.path()).size(), 2u);
  EXPECT_NE(Entries(folder.path()), names);
  Destroy(*pool);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST_P(TransportTest, AnImpossibleProcessSettingIsNamed) {
  PoolOptions options;
  options.adapter = WholeProgramWorker("serves", GetParam());
  options.adapter.process.nice = 99;
  auto pool = Pool::Start(options);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().ToString(), "INVALID_ARGUMENT: adapter.process.nice must be -20 to 19");
  options.adapter.process.nice = 0;
  options.adapter.end.leader_grace = kLongestLeaderGrace + std::chrono::milliseconds(1);
  pool = Pool::Start(options);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().ToString(),
            "INVALID_ARGUMENT: adapter.end.leader_grace must be 0 ms to 2 s, not 2,001 ms");
  options.adapter.end = {.command = {""}};
  pool = Pool::Start(options);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().ToString(),
            "INVALID_ARGUMENT: adapter.end.command must be a command line, or without an argument");
  options.adapter.end = {};
  options.adapter.cgroup.pids_max = 0;
  pool = Pool::Start(options);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().ToString(), "INVALID_ARGUMENT: adapter.cgroup.pids_max must be over 0");
}

// Machines without such cgroups must refuse at once, and say so.
TEST_P(TransportTest, CgroupLimitsHoldOrAreSaidNotToBeAvailable) {
  PoolOptions options;
  options.workers = 1;
  options.adapter = WholeProgramWorker("serves", GetParam());
  options.adapter.cgroup.pids_max = 50;
  const auto begin = steady_clock::now();
  auto pool = Pool::Start(options);
  if (!pool) {
    EXPECT_LT(steady_clock::now() - begin, seconds(10));
    EXPECT_EQ(pool.error().code, ErrorCode::kStartFailed);
    EXPECT_TRUE(pool.error().message.starts_with(
        "worker 0 did not start: cgroup v2 limits are not available here: "))
        << pool.error().message;
    return;
  }
  const std::string pid = std::to_string(pool->Workers()[0].pid);
  EXPECT_NE(ReadFile("/proc/" + pid + "/cgroup").value_or("").find("/snakepit-"),
            std::string::npos);
}

// Runs without any variable, and without a file of the build or of the project.
TEST_P(TransportTest, AProgramThatLinksTheLibraryRunsAloneAnywhere) {
  const testing::TempFolder folder("leftovers test");
  const fs::path program = folder.path() / "a program";
  fs::copy_file(Program(), program);
  auto pipe = OpenPipe();
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(pipe->second.get(), STDOUT_FILENO);
    char* no_variables[] = {nullptr};
    if (chdir("/") != 0) _exit(126);
    execle(program.c_str(), "x", "call", "serves", GetParam(), nullptr, no_variables);
    _exit(127);
  }
  pipe->second.Reset();
  const std::string output = ReadToEnd(pipe->first.get());
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << output;
  EXPECT_NE(output.find(R"({"text":"hello"})"), std::string::npos) << output;
}

}  // namespace
}  // namespace snakepit
