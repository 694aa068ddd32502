// Which worker a session's calls go to, with a limit on age and on number. Pure.
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

namespace snakepit {

class SessionTable {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Session {
    std::string id;
    Time last_used;
    int worker = -1;              // -1: not bound yet
    uint64_t process_number = 0;  // of the worker's process that holds the session's state
    bool established = false;     // whether a call of the session has ended on that process
  };

  SessionTable(std::chrono::milliseconds ttl, size_t max_sessions)
      : ttl_(ttl), max_sessions_(max_sessions) {}

  // Sessions too old that one Use forgets at most, so that none takes long. As one call makes at
  // most one session, none that is too old stays for ever.
  static constexpr int kMostForgottenAtOnce = 16;

  // The session, new if it was unknown or too old; marks it as used and forgets what is too old or
  // too much: only this does. Appends to `*forgotten` what was. The reference holds until the next
  // call of Use or Forget.
  Session& Use(std::string_view id, Time now, std::vector<Session>* forgotten);

  // Takes the session out, if it is known.
  std::optional<Session> Forget(std::string_view id);

  // The session if it is known, else nullptr; does not count as a use.
  Session* Find(std::string_view id);

  size_t size() const { return by_id_.size(); }

 private:
  bool IsTooOld(const Session& session, Time now) const { return now - session.last_used > ttl_; }
  Session TakeOut(std::list<Session>::iterator session);

  const std::chrono::milliseconds ttl_;
  const size_t max_sessions_;
  std::list<Session> by_use_;  // the latest used first
  // The keys are views of the ids in by_use_, whose nodes never move.
  std::unordered_map<std::string_view, std::list<Session>::iterator> by_id_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_SESSIONS_H_
