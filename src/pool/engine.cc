#include "src/pool/engine.h"

#include <pthread.h>

#include <iterator>

#include "src/base/blocked_signals.h"

namespace snakepit {

namespace {

using std::chrono::steady_clock;

// Holds off pthread_cancel(3): a caller's thread that runs deeds must not end in the middle.
class NoCancellation {
 public:
  NoCancellation() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~NoCancellation() { pthread_setcancelstate(before_, nullptr); }
  NoCancellation(const NoCancellation&) = delete;
  NoCancellation& operator=(const NoCancellation&) = delete;

 private:
  int before_ = 0;
};

}  // namespace

Engine::Engine(const PoolOptions& options, uint64_t seed)
    : options_(options), work_(asio::make_work_guard(io_)), timer_(io_), core_(options, seed) {}

void Engine::Begin(Handlers handlers, std::function<void()> on_fault) {
  handlers_ = std::move(handlers);
  const BlockedSignals blocked;
  thread_ = std::thread([this, on_fault = std::move(on_fault)] { Run(on_fault); });
}

// Exceptions are handled where it is known what they have spoilt. This is for those that nobody
// foresaw: no exception ends the program.
void Engine::Run(const std::function<void()>& on_fault) {
  for (;;) {
    try {
      io_.run();
      return;
    } catch (...) {
      on_fault();
    }
  }
}

void Engine::End() {
  {
    const EngineLock lock(*this);
    thread_ends_ = true;
    Post([this] {
      timer_.cancel();
      work_.reset();
    });
  }
  thread_.join();
}

PoolState Engine::State() const {
  return {core_, options_, starts_.last_error, steady_clock::now()};
}

void Engine::Settle() {
  ApplyEffects();
  handlers_.settled();
  UpdateWake();
}

void Engine::Tick(Time now) {
  core_.Tick(now);
  Settle();
}

void Engine::ApplyEffects() {
  if (std::exchange(has_effects_left_, false)) {
    std::vector<Effect> more;
    core_.TakeEffects(&more);
    std::move(more.begin(), more.end(), std::back_inserter(effects_));
  } else {
    core_.TakeEffects(&effects_);
  }
  size_t applied = 0;
  try {
    for (; applied < effects_.size(); ++applied) handlers_.apply(effects_[applied]);
  } catch (...) {  // there is no memory, say: the others are not to be lost with it
    effects_.erase(effects_.begin(), effects_.begin() + static_cast<ptrdiff_t>(applied) + 1);
    has_effects_left_ = true;
    throw;
  }
}

void Engine::UpdateWake() {
  const auto next = core_.NextWake();
  if (!next || (armed_ && *armed_ <= *next)) return;
  armed_ = next;
  Post([this] { ArmTimer(); });
}

void Engine::ArmTimer() {
  {
    const EngineLock lock(*this);
    if (!armed_) return;
    timer_.expires_at(*armed_);
  }
  timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;  // armed anew, for an earlier time
    const EngineLock lock(*this);
    armed_.reset();
    Tick(steady_clock::now());
    changed.notify_all();
  });
}

void Engine::AfterUnlock(Deed deed) { outbox_.push_back(std::move(deed)); }

// With the lock before and after.
void Engine::Drain(MutexLock& lock) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (is_draining_ || outbox_.empty()) return;
  const NoCancellation no_cancellation;
  is_draining_ = true;
  while (!outbox_.empty()) {
    std::vector<Deed> deeds = std::exchange(outbox_, {});
    lock.unlock();
    for (Deed& deed : deeds) {
      try {
        deed();
      } catch (...) {  // without memory a kill may be lost: the core gives that process up in time
      }
      deed = nullptr;
    }
    lock.lock();
  }
  is_draining_ = false;
  changed.notify_all();
}

EngineLock::~EngineLock() { engine_.Drain(lock_); }

}  // namespace snakepit
