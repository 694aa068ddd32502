// Tells when the pool that started a gRPC worker is gone. PROTOCOL.md 1.4.9.
#ifndef SNAKEPIT_WORKER_GRPC_POOL_WATCH_H_
#define SNAKEPIT_WORKER_GRPC_POOL_WATCH_H_

#include "src/base/fd.h"

namespace snakepit {

// Looks at what a pool gives its worker, none of which a terminal or a log file has:
// - Its stdin is a pipe or a socket, and is at its end.
// - Its stdout is a pipe or a socket that nobody reads any more, and the process that started the
//   worker has ended. One of the two alone is no sign: a shell script may read the announcement and
//   no more, and a user who starts a worker by hand may log out.
// Only one thread may use it.
class PoolWatch {
 public:
  // Sees nothing.
  PoolWatch() = default;
  // Watches the worker's stdin and stdout; has_input is false when stdin is not the pool's.
  PoolWatch(UniqueFd input, UniqueFd output, bool has_input);

  // The descriptor to announce on.
  int output() const { return output_.get(); }
  // The descriptor of the input, which a forked child closes.
  int input() const { return input_.get(); }

  // Waits until `wakeup` can be read from, or the pool is gone.
  void Wait(int wakeup);

  // True if that was seen.
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
