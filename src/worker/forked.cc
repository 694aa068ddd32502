#include "src/worker/forked.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

#include "snakepit/worker.h"

namespace snakepit {
namespace {

std::atomic<bool> is_child{false};
void (*let_go_of_worker)() = nullptr;
thread_local sigset_t mask_before;

// Holds signals to the child back until it has its own handlers.
void BeforeFork() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &mask_before);
}

void InParent() { pthread_sigmask(SIG_SETMASK, &mask_before, nullptr); }

void InChild() {
  if (!is_child.exchange(true)) let_go_of_worker();  // not again in a child of a child
  pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
}

}  // namespace

void PrepareForForks(void (*let_go)()) {
  let_go_of_worker = let_go;
  pthread_atfork(BeforeFork, InParent, InChild);
}

bool IsForkedChild() { return is_child.load(std::memory_order_relaxed); }

void RequireWorkerProcess(std::string_view what) {
  if (!IsForkedChild()) return;
  throw ForkedProcess(std::string(what) + " in process " + std::to_string(getpid()) +
                      ", which a handler has forked: it is not the worker");
}

void LeaveForkedChild(std::string_view error) {
  if (error.empty()) {
    std::fprintf(stderr,
                 "process %d has returned from the handler that forked it: it sends no reply, and "
                 "is ended. A forked process ends by _exit()\n",
                 getpid());
  } else {
    std::fprintf(stderr, "process %d, which a handler has forked, ends: %.*s\n", getpid(),
                 static_cast<int>(error.size()), error.data());
  }
  std::fflush(stdout);
  _exit(1);
}

}  // namespace snakepit
