// Blocks signals around the start of a thread: the program's own threads are to handle them.
#ifndef SNAKEPIT_BASE_BLOCKED_SIGNALS_H_
#define SNAKEPIT_BASE_BLOCKED_SIGNALS_H_

#include <pthread.h>
#include <signal.h>

namespace snakepit {

// Blocks all signals in the calling thread, and so in the threads that it starts in the meantime.
// Must be destroyed on the thread that made it.
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

#endif  // SNAKEPIT_BASE_BLOCKED_SIGNALS_H_
