// The sessions of a pool, and the process that holds the state of each. Their age and their number
// are limited. Pure: no clock.
#ifndef SNAKEPIT_CORE_SESSIONS_H_
#define SNAKEPIT_CORE_SESSIONS_H_

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/core/effects.h"
#include "src/core/timers.h"
#include "src/core/worker_index.h"

namespace snakepit {

class SessionTable {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Session {
    std::string id;
    uint64_t number = 0;  // never used again: tells apart sessions of the same id
    Time last_used;
    int open_calls = 0;  // accepted and not ended; a session that has any is not forgotten
    WorkerIndex worker = kNoWorker;    // kNoWorker: not bound yet
    ProcessNumber process_number = 0;  // the worker's process that holds the session's state
    bool established = false;          // true once a call of the session has ended there
  };

  SessionTable(std::chrono::milliseconds ttl, size_t max_sessions)
      : ttl_(ttl), max_sessions_(max_sessions) {}

  // Most sessions that one call of Use or Expire looks at, so that none takes long.
  static constexpr int kMostAtOnce = 256;

  // Returns the session, new if it was unknown or too old, and marks it as used. Appends the
  // forgotten sessions to `*forgotten`: its own predecessor when that was too old, and the least
  // recently used when there are too many. If all sessions that it looks at have open calls, there
  // are more than max_sessions, but never more than max_sessions and accepted calls together. The
  // reference holds until the session is forgotten.
  Session& Use(std::string_view id, Time now, std::vector<Session>* forgotten);

  // Forgets sessions that are too old, and appends them to `*forgotten`.
  void Expire(Time now, std::vector<Session>* forgotten);

  // Latest time for the next call of Expire; nothing: there is no session.
  std::optional<Time> NextExpiry() const;

  // A call of the session has ended, which counts as a use. Returns the session, or nullptr when it
  // is not there any more.
  Session* CallEnded(std::string_view id, uint64_t number, Time now);

  // Takes the session out, if it is known.
  std::optional<Session> Forget(std::string_view id);

  // Returns the session if it is known and not too old, else nullptr. Does not count as a use.
  Session* Find(std::string_view id, Time now);
  // The same by its number, whatever its age.
  Session* Find(std::string_view id, uint64_t number);

  size_t size() const { return by_id_.size(); }

 private:
  bool IsTooOld(const Session& session, Time now) const {
    return session.open_calls == 0 && now - session.last_used > ttl_;
  }
  Session TakeOut(std::list<Session>::iterator session);
  void ForgetSurplus(std::vector<Session>* forgotten);

  const std::chrono::milliseconds ttl_;
  const size_t max_sessions_;
  uint64_t last_number_ = 0;
  std::list<Session> by_use_;  // the latest used first
  // The keys are views of the ids in by_use_, whose nodes never move.
  std::unordered_map<std::string_view, std::list<Session>::iterator> by_id_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_SESSIONS_H_
