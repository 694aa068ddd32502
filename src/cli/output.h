// What the command writes: results to stdout, all else to stderr.
#ifndef SNAKEPIT_SRC_CLI_OUTPUT_H_
#define SNAKEPIT_SRC_CLI_OUTPUT_H_

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/pool.h"
#include "snakepit/value.h"

namespace snakepit {

// Writes all of it, waiting where that is needed: 0, or the errno of the failure.
int WriteAll(int fd, std::string_view text);

// Safe to use from any thread; lines are never mixed.
class Output {
 public:
  Output(int out_fd, int err_fd) : out_fd_(out_fd), err_fd_(err_fd) {}

  // The value as one line of JSON, written at once: 0, or the errno of the failure. After a failure
  // nothing more is written.
  int Result(const Value& value);

  // A line on stderr, which may hold others.
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

 private:
  void LineLocked(std::string_view text);
  bool StandsAbove(int worker, const std::vector<std::string_view>& lines) const;

  const int out_fd_;
  const int err_fd_;
  std::mutex out_mutex_;
  int out_error_ = 0;
  std::mutex err_mutex_;
  std::vector<std::string> last_lines_;  // the latest lines on stderr, the oldest first
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_OUTPUT_H_
