// Shared by the tests of the guardian: a guardian in an event loop, workers that run the test
// program, and a look at their leftovers.
#ifndef SNAKEPIT_PROCESS_TESTING_FIXTURE_H_
#define SNAKEPIT_PROCESS_TESTING_FIXTURE_H_

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/base/proc.h"
#include "src/process/guardian.h"

namespace snakepit {

inline constexpr std::chrono::seconds kPatience{60};

// Absolute, because a test changes the working directory.
inline const std::string& TestProgram() {
  static const std::string path = [] {
    char absolute[PATH_MAX];
    const char* const program = std::getenv("GUARDIAN_TEST_PROGRAM");
    if (program == nullptr || realpath(program, absolute) == nullptr) std::abort();
    return std::string(absolute);
  }();
  return path;
}

inline std::string ReadToEnd(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, got);
  return text;
}

// The next line, without its end.
inline std::string ReadLine(int fd) {
  std::string line;
  char byte;
  while (read(fd, &byte, 1) == 1 && byte != '\n') line += byte;
  return line;
}

inline UniqueFd OpenPidfd(pid_t pid) { return UniqueFd(syscall(SYS_pidfd_open, pid, 0)); }

inline bool AwaitEndOf(const UniqueFd& pidfd) {
  pollfd poll_fd = {pidfd.get(), POLLIN, 0};
  return poll(&poll_fd, 1, std::chrono::milliseconds(kPatience).count()) == 1;
}

// 0 if there is no such process.
inline pid_t ParentOf(pid_t pid) {
  const auto process = ReadProcStat(pid);
  return process ? process->parent : 0;
}

// A variable that all descendants of a worker have, and no other process.
inline std::string NewMark() {
  static int count = 0;
  return "MARK=guardian_test." + std::to_string(getpid()) + "." + std::to_string(++count);
}

inline std::vector<pid_t> ListMarked(const std::string& mark) {
  std::vector<pid_t> marked;
  for (const pid_t pid : ListProcesses()) {
    if (HasEnvironmentVariable(pid, mark)) marked.push_back(pid);
  }
  return marked;
}

// The events of one worker.
struct Outcome {
  pid_t pid = 0;
  std::optional<Error> failure;
  std::optional<ExitStatus> exit;
  ResourceUse use;
  int events = 0;
};

class GuardianTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TestProgram();
    StartGuardian();
  }

  void TearDown() override {
    guardian_.reset();
    EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
    // Neither the guardian nor anything else is left to be reaped.
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }

  void StartGuardian() {
    auto guardian =
        Guardian::Start(io_, {.spawned =
                                  [this](uint64_t id, pid_t pid) {
                                    EXPECT_EQ(outcomes_[id].events++, 0);
                                    outcomes_[id].pid = pid;
                                  },
                              .spawn_failed =
                                  [this](uint64_t id, Error error) {
                                    EXPECT_EQ(outcomes_[id].events++, 0);
                                    outcomes_[id].failure = std::move(error);
                                  },
                              .exited =
                                  [this](uint64_t id, ExitStatus status, ResourceUse use) {
                                    EXPECT_EQ(outcomes_[id].events++, 1);
                                    outcomes_[id].exit = status;
                                    outcomes_[id].use = use;
                                    if (on_exited_) on_exited_();
                                  },
                              .lost = [this] { ++lost_; },
                              .end_command_failed =
                                  [this](pid_t pid, std::string why) {
                                    end_command_pid_ = pid;
                                    end_command_failure_ = std::move(why);
                                  }});
    ASSERT_TRUE(guardian) << guardian.error().ToString();
    guardian_ = std::move(*guardian);
  }

  SpawnSpec Spec(std::vector<std::string> arguments) {
    SpawnSpec spec;
    spec.argv = {TestProgram()};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.environment = {mark_};
    spec.stdin_fd = null_.get();
    spec.stdout_fd = null_.get();
    spec.stderr_fd = STDERR_FILENO;
    return spec;
  }

  // Starts it with a pipe as its stdout, and returns the other end.
  UniqueFd SpawnPiped(uint64_t id, SpawnSpec spec) {
    auto pipe = OpenPipe();
    spec.stdout_fd = pipe->second.get();
    const auto spawned = guardian_->Spawn(id, spec);
    EXPECT_TRUE(spawned) << spawned.error().ToString();
    return std::move(pipe->first);
  }

  // Its output until all holders of its stdout have ended.
  std::string Output(SpawnSpec spec) {
    const uint64_t id = next_id_++;
    const std::string output = ReadToEnd(SpawnPiped(id, std::move(spec)).get());
    EXPECT_EQ(ExitOf(id), ExitStatus{});
    return output;
  }

  template <typename Condition>
  void RunUntil(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    io_.restart();
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      io_.run_one_until(deadline);
    }
  }

  ExitStatus ExitOf(uint64_t id) {
    RunUntil([&] { return outcomes_[id].exit || outcomes_[id].failure; });
    if (outcomes_[id].failure) ADD_FAILURE() << outcomes_[id].failure->ToString();
    return outcomes_[id].exit.value_or(ExitStatus{.code = -1});
  }

  Error FailureOf(const SpawnSpec& spec) {
    const uint64_t id = next_id_++;
    const auto spawned = guardian_->Spawn(id, spec);
    EXPECT_TRUE(spawned) << spawned.error().ToString();
    RunUntil([&] { return outcomes_[id].events > 0; });
    EXPECT_TRUE(outcomes_[id].failure);
    return outcomes_[id].failure.value_or(Error{});
  }

  const std::string mark_ = NewMark();
  const UniqueFd null_{open("/dev/null", O_RDWR | O_CLOEXEC)};
  asio::io_context io_;
  const asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::map<uint64_t, Outcome> outcomes_;
  std::function<void()> on_exited_;
  int lost_ = 0;
  pid_t end_command_pid_ = 0;
  std::string end_command_failure_;
  uint64_t next_id_ = 1'000;
  std::unique_ptr<Guardian> guardian_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_TESTING_FIXTURE_H_
