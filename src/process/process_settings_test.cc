// The settings of a worker's process: their arrival, and the error if one is impossible.
#include "src/process/process_settings.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

class ProcessSettingsTest : public GuardianTest {
 protected:
  SpawnSpec SpecWith(ProcessSettings settings) {
    SpawnSpec spec = Spec({"settings"});
    spec.process = std::move(settings);
    return spec;
  }

  // The lines that the worker prints.
  std::vector<std::string> Lines(ProcessSettings settings) {
    std::istringstream text(Output(SpecWith(std::move(settings))));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

std::string LineOf(const std::vector<std::string>& lines, std::string_view begin) {
  for (const std::string& line : lines) {
    if (line.starts_with(begin)) return line;
  }
  return "";
}

// "soft hard" from /proc/PID/limits, whose columns are padded.
std::string LimitOf(const std::vector<std::string>& lines, std::string_view name) {
  std::istringstream values(
      LineOf(lines, name).substr(std::min<size_t>(name.size(), LineOf(lines, name).size())));
  std::string soft;
  std::string hard;
  values >> soft >> hard;
  return soft + " " + hard;
}

std::vector<int> UsableCpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

TEST_F(ProcessSettingsTest, UnsetSettingsAreInherited) {
  const mode_t mask = umask(0031);
  guardian_.reset();
  StartGuardian();
  umask(mask);
  const auto lines = Lines({});
  EXPECT_EQ(LineOf(lines, "umask"), "umask 31");
  EXPECT_EQ(LineOf(lines, "nice"), "nice " + std::to_string(getpriority(PRIO_PROCESS, 0)));
  std::string cpus = "cpus";
  for (const int cpu : UsableCpus()) cpus += " " + std::to_string(cpu);
  EXPECT_EQ(LineOf(lines, "cpus"), cpus);
  rlimit files = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_EQ(LimitOf(lines, "Max open files"),
            std::to_string(files.rlim_cur) + " " + std::to_string(files.rlim_max));
}

TEST_F(ProcessSettingsTest, UmaskNiceAndProcessorsAreTheGivenOnes) {
  const int cpu = UsableCpus().back();
  const auto lines = Lines({.umask = 0, .nice = 7, .cpus = {cpu}});
  EXPECT_EQ(LineOf(lines, "umask"), "umask 0");
  EXPECT_EQ(LineOf(lines, "nice"), "nice 7");
  EXPECT_EQ(LineOf(lines, "cpus"), "cpus " + std::to_string(cpu));
  // The next worker does not have them.
  EXPECT_NE(LineOf(Lines({}), "nice"), "nice 7");
}

TEST_F(ProcessSettingsTest, EveryLimitIsTheGivenOne) {
  const uint64_t gib = uint64_t{1} << 30;
  const auto lines = Lines({.limits = {{Resource::kAddressSpace, {8 * gib, 9 * gib}},
                                       {Resource::kCoreFile, {0, 0}},
                                       {Resource::kCpuTime, {100, 200}},
                                       {Resource::kData, {2 * gib, 3 * gib}},
                                       {Resource::kFileSize, {1000, 2000}},
                                       {Resource::kLockedMemory, {4096, 8192}},
                                       {Resource::kOpenFiles, {100, 200}},
                                       {Resource::kProcesses, {1000, 2000}},
                                       {Resource::kStack, {4 << 20, 8 << 20}}}});
  const std::pair<std::string, std::string> expected[] = {
      {"Max address space", "8589934592 9663676416"},
      {"Max core file size", "0 0"},
      {"Max cpu time", "100 200"},
      {"Max data size", "2147483648 3221225472"},
      {"Max file size", "1000 2000"},
      {"Max locked memory", "4096 8192"},
      {"Max open files", "100 200"},
      {"Max processes", "1000 2000"},
      {"Max stack size", "4194304 8388608"},
  };
  for (const auto& [name, limit] : expected) EXPECT_EQ(LimitOf(lines, name), limit) << name;
}

TEST_F(ProcessSettingsTest, NoLimitHindersTheStartItself) {
  SpawnSpec spec = Spec({"exit", "3"});
  spec.argv = {"/no/such/folder/program"};
  spec.process.limits[Resource::kOpenFiles] = {0, 0};
  spec.process.limits[Resource::kFileSize] = {0, 0};
  spec.process.limits[Resource::kProcesses] = {0, 0};
  EXPECT_NE(FailureOf(spec).message.find("ENOENT"), std::string::npos);  // the only fault
  spec.argv = {"/bin/sh", "-c", "exit 3"};
  spec.process.limits[Resource::kOpenFiles] = {20, 20};
  ASSERT_TRUE(guardian_->Spawn(1, spec));
  EXPECT_EQ(ExitOf(1), ExitStatus{.code = 3});
}

TEST_F(ProcessSettingsTest, ALimitThatIsTooSmallForTheProgramEndsItByASignal) {
  SpawnSpec spec = SpecWith({.limits = {{Resource::kAddressSpace, {4096, 4096}}}});
  ASSERT_TRUE(guardian_->Spawn(1, spec));
  EXPECT_GT(ExitOf(1).signal, 0);
}

TEST_F(ProcessSettingsTest, AProcessorThatIsNotThereIsNamed) {
  const int cpu = UsableCpus().front();
  const Error error = FailureOf(SpecWith({.cpus = {cpu, 8191}}));
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_EQ(error.message, "cannot start \"" + TestProgram() + "\" on the processors " +
                               std::to_string(cpu) +
                               ", 8191: Invalid argument (EINVAL); each must exist and be "
                               "allowed for this process (taskset -p)");
}

TEST_F(ProcessSettingsTest, ALimitThatIsRefusedIsNamed) {
  // Above fs.nr_open, which no process may exceed.
  const Error error = FailureOf(SpecWith(
      {.limits = {{Resource::kCoreFile, {0, 0}}, {Resource::kOpenFiles, {5, uint64_t{1} << 40}}}}));
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_EQ(error.message,
            "cannot start \"" + TestProgram() +
                "\" with the limit nofile of 5, hard 1099511627776: Operation not permitted "
                "(EPERM); a hard limit above this process's own (ulimit -aH) needs the capability "
                "CAP_SYS_RESOURCE");
}

TEST_F(ProcessSettingsTest, ANiceThatIsRefusedIsNamed) {
  // Runs in a process without the privilege.
  guardian_.reset();
  auto pipe = OpenPipe();
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none = {0, 0};
    if (setrlimit(RLIMIT_NICE, &none) != 0) _exit(1);
    prctl(PR_CAPBSET_DROP, CAP_SYS_NICE);  // fails without the privilege to drop it
    asio::io_context io;
    auto guardian = Guardian::Start(
        io, {.spawned = [](uint64_t, pid_t) { _exit(3); },
             .spawn_failed =
                 [&](uint64_t, const Error& error) {
                   const std::string& text = error.message;
                   const ssize_t size = text.size();
                   _exit(write(pipe->second.get(), text.data(), size) == size ? 0 : 4);
                 },
             .exited = [](uint64_t, ExitStatus, ResourceUse) {},
             .lost = [] { _exit(5); }});
    if (!guardian) _exit(6);
    SpawnSpec spec = SpecWith({.nice = -5});
    spec.working_directory = "/";
    if (!(*guardian)->Spawn(1, spec)) _exit(7);
    io.run();
  }
  pipe->second.Reset();
  EXPECT_EQ(
      ReadToEnd(pipe->first.get()),
      "cannot start \"" + TestProgram() +
          "\" with nice -5: Permission denied (EACCES); a value below this process's own needs "
          "the capability CAP_SYS_NICE");
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Validate, ImpossibleSettingsAreRefusedByName) {
  const auto message = [](const ProcessSettings& settings) {
    const auto valid = Validate(settings);
    if (valid) return std::string("valid");
    EXPECT_EQ(valid.error().code, ErrorCode::kInvalidArgument);
    return valid.error().message;
  };
  EXPECT_EQ(message({.umask = 01000}), "adapter.process.umask must be 0 to 0777");
  EXPECT_EQ(message({.nice = 20}), "adapter.process.nice must be -20 to 19");
  EXPECT_EQ(message({.nice = -21}), "adapter.process.nice must be -20 to 19");
  EXPECT_EQ(message({.limits = {{Resource::kStack, {.soft = 2, .hard = 1}}}}),
            "the soft limit of stack in adapter.process.limits is above the hard limit");
  EXPECT_EQ(message({.limits = {{static_cast<Resource>(99), {}}}}),
            "adapter.process.limits must be keyed by values of Resource");
  EXPECT_EQ(message({.cpus = {0, 8192}}),
            "adapter.process.cpus must be numbers from 0 to 8191, not 8192");
  EXPECT_EQ(message({.cpus = {-1}}), "adapter.process.cpus must be numbers from 0 to 8191, not -1");
  EXPECT_EQ(message({.umask = 0777, .nice = -20, .cpus = {8191}}), "valid");
}

}  // namespace
}  // namespace snakepit
