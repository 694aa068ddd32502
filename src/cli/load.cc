#include "src/cli/load.h"

#include <algorithm>
#include <utility>

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kProgressInterval{100};
// A pool that only fails would do so quickly and for ever.
constexpr size_t kMostFailures = 100;

}  // namespace

Load::Load(Pool& pool, Interrupts& interrupts, int threads, std::vector<pid_t> old_pids)
    : pool_(pool), interrupts_(interrupts), old_pids_(std::move(old_pids)) {
  try {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { CallRepeatedly(); });
  } catch (...) {
    Stop();
    throw;
  }
}

Load::~Load() { Stop(); }

void Load::CallRepeatedly() {
  const Value args(Value::Map{{"operation", "multiply"}, {"a", 6}, {"b", 7}});
  CallInfo info;
  MutexLock lock(mutex_);
  while (!stop_ && !interrupts_.requested() && outcome_.failed.size() < kMostFailures) {
    lock.unlock();
    Result<Value> result = pool_.Execute("compute", args, {.info = &info});
    lock.lock();
    if (!result) {
      outcome_.failed.push_back({.error = std::move(result.error()), .pid = info.worker_pid});
    } else {
      ++outcome_.ok;
      const bool is_new =
          std::find(old_pids_.begin(), old_pids_.end(), info.worker_pid) == old_pids_.end();
      if (is_new && !outcome_.new_answered_at) {
        outcome_.new_answered_at = steady_clock::now();
        outcome_.new_pid = info.worker_pid;
      }
    }
    changed_.notify_all();
  }
}

bool Load::Await(const std::function<bool()>& done, milliseconds limit,
                 const std::function<void(int64_t)>& on_progress) {
  const auto deadline = steady_clock::now() + limit;
  MutexLock lock(mutex_);
  const auto over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return done() || interrupts_.requested() || outcome_.failed.size() >= kMostFailures;
  };
  while (!changed_.wait_for(lock, kProgressInterval, over)) {
    if (steady_clock::now() >= deadline) return false;
    const int64_t calls = outcome_.ok;
    lock.unlock();
    on_progress(calls);
    lock.lock();
  }
  return done();
}

bool Load::AwaitCalls(int64_t calls, milliseconds limit,
                      const std::function<void(int64_t)>& on_progress) {
  int64_t wanted;
  {
    const MutexLock lock(mutex_);
    wanted = outcome_.ok + calls;
  }
  return Await([this, wanted]()
                   ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return outcome_.ok >= wanted; },
               limit, on_progress);
}

bool Load::AwaitNewWorker(milliseconds limit, const std::function<void(int64_t)>& on_progress) {
  return Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(
                   mutex_) { return outcome_.new_answered_at.has_value(); },
               limit, on_progress);
}

Load::Outcome Load::Stop() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  threads_.clear();  // joins them
  const MutexLock lock(mutex_);
  return outcome_;
}

}  // namespace snakepit
