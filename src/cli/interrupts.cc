#include "src/cli/interrupts.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

namespace snakepit {
namespace {

constexpr int kLongestStopMs = 10'000;

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// Skips the work of a normal exit, since threads are in the middle of calls.
[[noreturn]] void ExitNow(int exit_code) { _exit(exit_code); }

}  // namespace

void Interrupts::BlockSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a write says EPIPE instead
  std::signal(SIGXFSZ, SIG_IGN);  // and EFBIG
}

Interrupts::Interrupts(int out_fd, Output& output) : output_(output) {
  const sigset_t set = StopSignals();
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC));
  wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!signals_.valid() || !wake_.valid()) {
    throw std::system_error(errno, std::generic_category(), "cannot wait for signals");
  }
  listener_ = std::thread([this, out_fd] { Listen(out_fd); });
}

Interrupts::~Interrupts() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
  listener_.join();
}

void Interrupts::Request(int exit_code) {
  const MutexLock lock(mutex_);
  if (exit_code_ == 0) exit_code_ = exit_code;
  output_.StopWaiting();  // the threads that it wakes see the request
  if (exits_at_once_) {
    output_.Finish();
    ExitNow(exit_code);
  }
  changed_.notify_all();
}

void Interrupts::SetExitsAtOnce(bool exits_at_once) {
  const MutexLock lock(mutex_);
  exits_at_once_ = exits_at_once;
}

void Interrupts::Listen(int out_fd) {
  // The output is watched for an error only.
  pollfd fds[] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                  {.fd = wake_.get(), .events = POLLIN, .revents = 0},
                  {.fd = out_fd, .events = 0, .revents = 0}};
  for (;;) {
    const int ready = poll(fds, std::size(fds), requested() ? kLongestStopMs : -1);
    if (ready == 0) ExitNow(exit_code());
    if (ready < 0) continue;  // EINTR
    if (fds[1].revents != 0) return;
    if (fds[2].revents != 0) {
      if ((fds[2].revents & POLLERR) != 0) Request(kOutputGoneExitCode);
      fds[2].fd = -1;
    }
    if (fds[0].revents != 0) {
      signalfd_siginfo info;
      if (read(signals_.get(), &info, sizeof info) == sizeof info) {
        OnSignal(static_cast<int>(info.ssi_signo));
      }
    }
  }
}

void Interrupts::OnSignal(int signal) {
  if (requested()) ExitNow(128 + signal);
  const std::string name = sigabbrev_np(signal);
  output_.Line("snakepit: SIG" + name + ": stopping");
  Request(128 + signal);
}

PoolStopper::PoolStopper(Interrupts& interrupts, Pool& pool)
    : interrupts_(interrupts), thread_([this, &pool] {
        MutexLock lock(interrupts_.mutex_);
        interrupts_.changed_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(interrupts_.mutex_) {
          return done_ || interrupts_.requested();
        });
        if (!interrupts_.requested()) return;
        lock.unlock();
        pool.Shutdown();
      }) {}

PoolStopper::~PoolStopper() {
  {
    const MutexLock lock(interrupts_.mutex_);
    done_ = true;
    interrupts_.changed_.notify_all();
  }
  thread_.join();
}

}  // namespace snakepit
