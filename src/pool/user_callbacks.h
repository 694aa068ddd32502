// UserCallbacks: the pool's calls into its user's code. An exception out of a callback is the
// callback's own fault and ends nothing else; a process that was forked in one is aborted.
#ifndef SNAKEPIT_POOL_USER_CALLBACKS_H_
#define SNAKEPIT_POOL_USER_CALLBACKS_H_

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "snakepit/call.h"
#include "snakepit/error.h"
#include "snakepit/options.h"
#include "src/base/home_process.h"

namespace snakepit {

// The exception that is being handled: "std::bad_alloc".
std::string DescribeException();

class UserCallbacks {
 public:
  // `options` outlive it.
  explicit UserCallbacks(const PoolOptions& options) : options_(options) {}

  // False in a process that was forked from the pool's.
  bool IsHere() const { return home_.IsHere(); }
  // The outcome of every method in such a process: UNAVAILABLE, and why.
  Error ForkedError() const;
  // To be called after each callback. A forked process that came back out of it must not go on.
  void EndIfForked() const {
    if (!IsHere()) [[unlikely]] {
      EndForked();
    }
  }

  // The text is made safe to show.
  void Log(LogLevel level, std::string_view text) const;
  // A line that a worker wrote.
  void LogLine(int worker_id, std::string_view line) const;

  template <typename T>
  void Tell(const std::function<void(Result<T>)>& done, Result<T> result) const {
    if (!done) return;
    try {
      done(std::move(result));
    } catch (...) {
      Log(LogLevel::kError, "the callback of a call threw " + DescribeException());
    }
    EndIfForked();
  }

  // Gives the stream up, by false, if the callback throws.
  bool TellChunk(const ChunkCallback& on_chunk, const Chunk& chunk) const;

 private:
  [[noreturn]] static void EndForked();
  void Emit(LogLevel level, std::string_view text) const;

  const PoolOptions& options_;
  const HomeProcess home_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_USER_CALLBACKS_H_
