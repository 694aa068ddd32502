// Workers that try not to be killed, each in the way that argv[1] names. Each writes "ready" when
// it is set up.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>

#include "src/process/testing/children.h"

namespace {

using snakepit::testing::Hold;

void Require(bool holds) {
  if (!holds) abort();
}

// A signal to the worker's group does not reach the child.
pid_t StartLeader(const std::function<void()>& begin) {
  return snakepit::testing::StartChild([&begin] {
    Require(setsid() >= 0);
    begin();
  });
}

// Keeps signals to the group of the worker's pid away.
void LeaveGroup() {
  const pid_t child = fork();
  Require(child >= 0);
  if (child == 0) {
    signal(SIGTERM, SIG_IGN);
    Hold();
  }
  Require(setpgid(child, child) == 0 && setpgid(0, child) == 0);
}

void LeaveSession() {
  LeaveGroup();
  Require(setsid() == getpid());
}

// The number is no family's any more. The kernel itself ignores this limit.
void ChangeLocks() {
  const rlimit limit = {12'345, RLIM_INFINITY};
  Require(setrlimit(RLIMIT_LOCKS, &limit) == 0);
}

void Trace(pid_t pid, long options) { Require(ptrace(PTRACE_SEIZE, pid, nullptr, options) == 0); }

void BeTracedByChild(
    long options, const std::function<void()>& before = [] {}) {
  const pid_t self = getpid();
  StartLeader([&] {
    before();
    Trace(self, options);
  });
}

void BeTracedByGrandchild() {
  const pid_t self = getpid();
  StartLeader([self] { StartLeader([self] { Trace(self, 0); }); });
}

// A chain of tracers: the first child traces the worker, and the second traces the first.
void BeTracedByALine() {
  const pid_t self = getpid();
  const pid_t first = StartLeader([self] { Trace(self, 0); });
  StartLeader([first] { Trace(first, 0); });
}

void HaveAThreadTraced() {
  static int started[2];
  Require(pipe(started) == 0);
  pthread_t thread;
  Require(pthread_create(
              &thread, nullptr,
              [](void*) -> void* {
                const pid_t id = static_cast<pid_t>(syscall(SYS_gettid));
                Require(write(started[1], &id, sizeof id) == sizeof id);
                Hold();
              },
              nullptr) == 0);
  pid_t id = 0;
  Require(read(started[0], &id, sizeof id) == sizeof id);
  StartLeader([id] { Trace(id, 0); });
}

const std::map<std::string, std::function<void()>> kTricks = {
    {"other-group", LeaveGroup},
    {"other-session", LeaveSession},
    {"locks", [] { ChangeLocks(); }},
    {"subreaper",
     [] {
       Require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
       StartLeader([] {
         Require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
         StartLeader([] {});
       });
     }},
    {"stopped", [] {}},  // below
    {"traced", [] { BeTracedByChild(0); }},
    {"traced-at-exit", [] { BeTracedByChild(PTRACE_O_TRACEEXIT); }},
    {"traced-by-stranger", [] { BeTracedByChild(0, ChangeLocks); }},
    {"traced-by-grandchild", BeTracedByGrandchild},
    {"traced-by-line", BeTracedByALine},
    {"thread-traced", HaveAThreadTraced},
    {"traced-in-other-group",
     [] {
       BeTracedByChild(PTRACE_O_TRACEEXIT, ChangeLocks);
       LeaveSession();
     }},
};

}  // namespace

int main(int argc, char** argv) {
  Require(argc >= 2);
  const std::string mode = argv[1];
  prctl(PR_SET_PTRACER, -1UL, 0, 0, 0);  // Yama requires consent to a tracer
  if (mode == "join") {
    Require(setpgid(0, atoi(argv[2])) == 0);
  } else if (mode != "hold") {
    kTricks.at(mode)();
  }
  Require(write(STDOUT_FILENO, "ready\n", 6) == 6);
  if (mode == "stopped") raise(SIGSTOP);
  Hold();
}
