// What a worker keeps for the sessions that it serves. PROTOCOL.md 6.5 and 6.9.
#ifndef SNAKEPIT_SRC_WORKER_SESSIONS_H_
#define SNAKEPIT_SRC_WORKER_SESSIONS_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "snakepit/value.h"

namespace snakepit {

inline constexpr size_t kMaxSessions = 10'000;
inline constexpr std::chrono::hours kSessionTtl{1};
// PROTOCOL.md 6.2.3.
inline constexpr size_t kMaxSessionIdBytes = 256;

struct SessionState {
  std::mutex mutex;
  Value value;  // guarded by mutex
};

// States by session: the kMaxSessions used last, each until unused for kSessionTtl. A state that is
// forgotten lives on for the calls that have it. Usable from any thread.
class Sessions {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  explicit Sessions(Clock clock = std::chrono::steady_clock::now) : clock_(std::move(clock)) {}

  // The state of a session, a new one when there is none.
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

  void Expire(std::chrono::steady_clock::time_point now);
  void EraseOldest();

  const Clock clock_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the one used last at the end
  // Keys are the ids within entries_.
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_id_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_SESSIONS_H_
