// Tells when the pool that started a gRPC worker is gone. PROTOCOL.md 1.4.9.
#ifndef SNAKEPIT_WORKER_GRPC_POOL_WATCH_H_
#define SNAKEPIT_WORKER_GRPC_POOL_WATCH_H_

#include "src/base/fd.h"

namespace snakepit {

// Looks at what a pool gives its worker, none of which a terminal or a log file has:
// - Its stdin, where that is a pipe or a socket, is at its end.
// - Nobody reads its stdout any more, where that is a pipe or a socket, and the process that
// started
//   it has ended. One of them alone is no sign: a shell script may read the announcement and no
//   more, and whoever starts a worker by hand may log out.
// Of one thread.
class PoolWatch {
 public:
  // Sees nothing.
  PoolWatch() = default;
  // The worker's stdin and stdout; `has_input`: whether the first is the pool's at all.
  PoolWatch(UniqueFd input, UniqueFd output, bool has_input);

  // Where to announce.
  int output() const { return output_.get(); }
  // For what is to be closed in a forked child.
  int input() const { return input_.get(); }

  // Waits until `wakeup` can be read from, or the pool is gone.
  void Wait(int wakeup);

  // Whether that was seen.
  bool pool_is_gone() const { return pool_is_gone_; }

 private:
  UniqueFd input_;
  UniqueFd output_;
  UniqueFd parent_;  // a pidfd
  bool watches_input_ = false;
  bool watches_output_ = false;
  bool pool_is_gone_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_POOL_WATCH_H_
