// The progress of a rolling restart, which replaces every process that was there when it began.
#ifndef SNAKEPIT_CORE_ROLLING_RESTART_H_
#define SNAKEPIT_CORE_ROLLING_RESTART_H_

#include "src/core/effects.h"

namespace snakepit {

enum class RestartState { kNone, kRunning, kDone, kFailed };

class RollingRestart {
 public:
  void Begin(ProcessNumber last_process) {
    state_ = RestartState::kRunning;
    last_old_ = last_process;
  }
  // Ends it, if it is under way: no further process is replaced.
  void Fail() {
    if (IsRunning()) state_ = RestartState::kFailed;
  }
  void Finish() { state_ = RestartState::kDone; }

  RestartState state() const { return state_; }
  bool IsRunning() const { return state_ == RestartState::kRunning; }
  // True if the process was there when the restart began.
  bool IsOld(ProcessNumber process) const { return process <= last_old_; }

 private:
  RestartState state_ = RestartState::kNone;
  ProcessNumber last_old_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_ROLLING_RESTART_H_
