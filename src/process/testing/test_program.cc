// The workers of the guardian's tests: argv[1] selects the behaviour.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "src/process/guardian.h"
#include "src/process/testing/children.h"

namespace snakepit {
namespace {

using testing::BecomeDaemon;
using testing::ForkAndLeaveParent;
using testing::Hold;
using testing::StartChild;

void PrintArguments(char** argv) {
  for (; *argv != nullptr; ++argv) std::cout << *argv << '\0';
}

void PrintWorkingDirectory() {
  char path[4096];
  std::cout << (getcwd(path, sizeof path) != nullptr ? path : "?");
}

void PrintFds() {
  DIR* const fds = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(fds)) {
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != dirfd(fds)) {
      std::cout << entry->d_name << '\n';
    }
  }
  closedir(fds);
}

// Prints the state of the signals and the process group.
void PrintState() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk") || line.starts_with("SigIgn")) std::cout << line << '\n';
  }
  std::cout << "leads its group: " << (getpgrp() == getpid()) << '\n';
  std::cout << "in the guardian's session: " << (getsid(0) == getppid()) << '\n';
}

// Prints the values that ProcessSettings sets, one in each line.
void PrintSettings() {
  const mode_t mask = umask(0);
  std::cout << "umask " << std::oct << mask << std::dec << '\n';
  std::cout << "nice " << getpriority(PRIO_PROCESS, 0) << '\n';
  std::cout << "cpus";
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) std::abort();
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &cpus)) std::cout << ' ' << cpu;
  }
  std::cout << '\n';
  std::ifstream limits("/proc/self/limits");
  for (std::string line; std::getline(limits, line);) std::cout << line << '\n';
}

// The lingerers hold stdout.
void StartGroupLingerers() {
  StartChild([] {});
  StartChild(ForkAndLeaveParent);
}

void StartAllLingerers() {
  StartGroupLingerers();
  StartChild([] { setsid(); });
  StartChild(BecomeDaemon);
}

// Imitates a daemon that was started with `env -i`.
void StartCleanLingerer(const char* self) {
  StartChild([self] {
    setsid();
    ForkAndLeaveParent();
    if (fork() != 0) return;
    char* no_variables[] = {nullptr};
    execle(self, self, "hold", nullptr, no_variables);
    std::abort();
  });
}

// The second process of a launcher. It does its work once the first has ended.
void StartSecondProcess() {
  int end_of_first[2];
  if (pipe(end_of_first) != 0) std::abort();
  if (fork() != 0) return;  // with both ends open
  close(end_of_first[1]);
  char byte;
  if (read(end_of_first[0], &byte, 1) != 0) std::abort();
  if (write(STDOUT_FILENO, "the first has ended\n", 20) != 20) std::abort();
  Hold();
}

void SayReady() {
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) std::abort();
}

// A program that uses a Guardian, and never ends by itself.
void RunHost(const std::string& self, const std::string& worker_mode, bool fork_after_start) {
  asio::io_context io;
  const auto keep_running = asio::make_work_guard(io);
  Guardian::Events events;
  events.spawned = [](uint64_t, pid_t) {};
  events.spawn_failed = [](uint64_t, const Error& error) { std::cerr << error.message << '\n'; };
  events.exited = [](uint64_t, ExitStatus, ResourceUse) {};
  events.lost = [] {};
  auto guardian = Guardian::Start(io, events);
  if (!guardian) std::abort();
  if (fork_after_start && fork() == 0) {
    close(STDOUT_FILENO);
    Hold();
  }
  SpawnSpec spec;
  spec.argv = {self, worker_mode};
  spec.environment = {std::string("MARK=") + std::getenv("MARK")};
  spec.stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  spec.stdout_fd = STDOUT_FILENO;
  spec.stderr_fd = STDERR_FILENO;
  if (const char* command = std::getenv("END_COMMAND")) {
    spec.end_command = {"/bin/sh", "-c", command};
  }
  if (!(*guardian)->Spawn(1, spec)) std::abort();
  io.run();
}

int Main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "arguments") {
    PrintArguments(argv);
  } else if (mode == "environment") {
    PrintArguments(environ);
  } else if (mode == "working-directory") {
    PrintWorkingDirectory();
  } else if (mode == "fds") {
    PrintFds();
  } else if (mode == "state") {
    PrintState();
  } else if (mode == "settings") {
    PrintSettings();
  } else if (mode == "cat") {
    std::cout << std::cin.rdbuf();
    std::cerr << "to stderr";
  } else if (mode == "exit") {
    return std::atoi(argv[2]);
  } else if (mode == "use") {
    std::vector<char> memory(std::strtoul(argv[2], nullptr, 10), 'x');
    asm volatile("" : : "r"(memory.data()) : "memory");
  } else if (mode == "hold") {
    SayReady();
    Hold();
  } else if (mode == "leave-group") {
    StartGroupLingerers();
    SayReady();
  } else if (mode == "leave-all") {
    StartAllLingerers();
    SayReady();
  } else if (mode == "linger-clean") {
    StartCleanLingerer(argv[0]);
    Hold();
  } else if (mode == "launch") {
    StartSecondProcess();
    SayReady();
    Hold();
  } else if (mode == "linger") {
    StartAllLingerers();
    SayReady();
    Hold();
  } else if (mode == "host" || mode == "forked-host") {
    RunHost(argv[0], argv[2], mode == "forked-host");
  } else {
    return 2;
  }
  std::cout.flush();
  return 0;
}

}  // namespace
}  // namespace snakepit

int main(int argc, char** argv) { return snakepit::Main(argc, argv); }
