// For the start of a thread: signals are for the program's own threads to handle.
#ifndef SNAKEPIT_SRC_BASE_BLOCKED_SIGNALS_H_
#define SNAKEPIT_SRC_BASE_BLOCKED_SIGNALS_H_

#include <pthread.h>
#include <signal.h>

namespace snakepit {

// Blocks all signals of the calling thread, and so of the threads that it starts meanwhile. Made
// and destroyed on one thread.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_BLOCKED_SIGNALS_H_
