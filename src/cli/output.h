// The output of the command: results on stdout, all else on stderr. An unread stdout holds up only
// the results; an unread stderr holds up nothing.
#ifndef SNAKEPIT_CLI_OUTPUT_H_
#define SNAKEPIT_CLI_OUTPUT_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/pool.h"
#include "snakepit/value.h"
#include "src/base/mutex.h"
#include "src/cli/writer.h"

namespace snakepit {

// Thread-safe; lines are never mixed. No call waits for stderr: while too much of it is unread
// (Writer::kMostPostedBytes), lines are dropped, and a later line says how many.
class Output {
 public:
  // All output is safe to show on a terminal (src/base/quote.h), unless `raw`.
  Output(int out_fd, int err_fd, bool raw = false) : raw_(raw), out_(out_fd), err_(err_fd) {}

  // Writes the value to stdout as one line of JSON, and returns when it is written: 0, or the errno
  // of the failure, after which nothing more is written. ETIMEDOUT: it was not read before the
  // deadline. ECANCELED: StopWaiting().
  int Result(const Value& value, std::optional<Writer::SteadyTime> deadline = {});

  // The same with a text, which is not escaped: it must not be a worker's.
  int Text(std::string_view text) { return out_.Write(std::string(text)); }

  // Writes a line to stderr.
  void Line(std::string_view text);

  // Sink for PoolOptions::log: passes on the lines of workers, and those of the pool itself only if
  // `verbose`.
  void Log(LogLevel level, std::string_view text, bool verbose);

  // "error: CODE: message" and, on lines of their own, the end of the worker's stderr (unless it
  // stands directly above) and the hint, if any.
  void Failure(const Error& error, std::string_view hint);

  // "error: CODE: message" alone.
  void FailureLine(const Error& error);

  // "  hint: …".
  void Hint(std::string_view hint);

  // Ends each wait for stdout to be read; later ones return at once.
  void StopWaiting();

  // Waits for the rest to be written, as long as a reader makes progress; shorter after
  // StopWaiting().
  void Finish();

 private:
  void LineLocked(std::string_view text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False if there is no room for that line either.
  bool TellOfDroppedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool PostLocked(std::string_view line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool StandsAbove(int worker, const std::vector<std::string>& lines) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string Shown(std::string_view text) const;

  const bool raw_;
  Writer out_;
  Writer err_;
  Mutex mutex_;
  // Lines of stderr that nobody has been told of.
  int64_t dropped_lines_ ABSL_GUARDED_BY(mutex_) = 0;
  // The latest lines on stderr, the oldest first.
  std::vector<std::string> last_lines_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_OUTPUT_H_
