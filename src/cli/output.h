// What the command writes: results to stdout, all else to stderr. That nobody reads either holds up
// no more than the results themselves.
#ifndef SNAKEPIT_SRC_CLI_OUTPUT_H_
#define SNAKEPIT_SRC_CLI_OUTPUT_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/pool.h"
#include "snakepit/value.h"
#include "src/cli/writer.h"

namespace snakepit {

// Safe to use from any thread; lines are never mixed. What goes to stderr is not waited for: where
// too much of it is unread (Writer::kMostPostedBytes), lines are dropped, and a later one says how
// many.
class Output {
 public:
  // Unless `raw`, all that it writes is safe to show: src/base/quote.h.
  Output(int out_fd, int err_fd, bool raw = false) : raw_(raw), out_(out_fd), err_(err_fd) {}

  // The value as one line of JSON on stdout, written when this returns: 0, or the errno of the
  // failure, after which nothing more is written. ETIMEDOUT: it was not read before the deadline.
  // ECANCELED: StopWaiting().
  int Result(const Value& value, std::optional<Writer::SteadyTime> deadline = {});

  // The text on stdout, likewise, as it is: it is not for what workers say.
  int Text(std::string_view text) { return out_.Write(std::string(text)); }

  // A line on stderr.
  void Line(std::string_view text);

  // For PoolOptions::log: a line that a worker wrote is passed on; what the pool itself has to tell
  // only when `verbose`.
  void Log(LogLevel level, std::string_view text, bool verbose);

  // "error: CODE: message" and, on lines of their own, the end of the worker's stderr (where it
  // does not stand directly above already) and the hint, if any.
  void Failure(const Error& error, std::string_view hint);

  // "error: CODE: message" alone.
  void FailureLine(const Error& error);

  // "  hint: …".
  void Hint(std::string_view hint);

  // Nobody waits any more for what goes to stdout to be read.
  void StopWaiting();

  // Gives what is not written yet the time that somebody who reads needs; less after StopWaiting().
  void Finish();

 private:
  void LineLocked(std::string_view text);
  // False: there is no room for that either.
  bool TellOfDroppedLocked();
  bool PostLocked(std::string_view line);
  bool StandsAbove(int worker, const std::vector<std::string>& lines) const;
  std::string Shown(std::string_view text) const;

  const bool raw_;
  Writer out_;
  Writer err_;
  std::mutex mutex_;
  int64_t dropped_lines_ = 0;            // on stderr, not told of yet
  std::vector<std::string> last_lines_;  // the latest lines on stderr, the oldest first
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_OUTPUT_H_
