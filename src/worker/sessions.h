// The states that a worker keeps for its sessions. PROTOCOL.md 6.5 and 6.9.
#ifndef SNAKEPIT_WORKER_SESSIONS_H_
#define SNAKEPIT_WORKER_SESSIONS_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "snakepit/value.h"
#include "src/base/mutex.h"

namespace snakepit {

inline constexpr size_t kMaxSessions = 10'000;
inline constexpr std::chrono::hours kSessionTtl{1};

struct SessionState {
  Mutex mutex;
  Value value ABSL_GUARDED_BY(mutex);
};

// States by session: the kMaxSessions used last, each until it has not been used for kSessionTtl. A
// forgotten state lives on for the calls that have it. Usable from any thread.
class Sessions {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  explicit Sessions(Clock clock = std::chrono::steady_clock::now) : clock_(std::move(clock)) {}

  // The state of a session; a new one when there is none.
  std::shared_ptr<SessionState> Use(std::string_view id);

  // Forgets the session, if it is known.
  void End(std::string_view id);

  size_t size();

 private:
  struct Entry {
    std::string id;
    std::shared_ptr<SessionState> state;
    std::chrono::steady_clock::time_point used;
  };

  void Expire(std::chrono::steady_clock::time_point now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EraseOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock clock_;
  Mutex mutex_;
  // The session used last is at the end.
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // Keys are the ids within entries_.
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_SESSIONS_H_
