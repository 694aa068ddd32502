#include "src/cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace snakepit {
namespace {

// Of the end of a worker's stderr, so many lines are shown: the last say what went wrong.
constexpr size_t kTailLines = 12;

std::vector<std::string_view> LastLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (lines.size() > kTailLines) lines.erase(lines.begin(), lines.end() - kTailLines);
  return lines;
}

}  // namespace

int WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {  // somebody else made it non-blocking
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

int Output::Result(const Value& value) {
  std::string line = value.ToJson();
  line += '\n';
  std::lock_guard lock(out_mutex_);
  if (out_error_ == 0) out_error_ = WriteAll(out_fd_, line);
  return out_error_;
}

void Output::Line(std::string_view text) {
  std::lock_guard lock(err_mutex_);
  LineLocked(text);
}

void Output::LineLocked(std::string_view text) {
  std::string line(text);
  line += '\n';
  WriteAll(err_fd_, line);  // if nobody reads it, nobody is to be told
  line.pop_back();
  last_lines_.push_back(std::move(line));
  if (last_lines_.size() > kTailLines) last_lines_.erase(last_lines_.begin());
}

void Output::Log(LogLevel level, std::string_view text, bool verbose) {
  // The pool's own warnings and errors come as the errors of calls, too.
  if (level == LogLevel::kInfo) return Line(text);
  if (verbose) Line("pool: " + std::string(text));
}

// With a single worker its lines have just been passed on; twice would be noise.
bool Output::StandsAbove(int worker, const std::vector<std::string_view>& lines) const {
  if (last_lines_.size() < lines.size()) return false;
  const std::string prefix = "worker " + std::to_string(worker) + ": ";
  return std::equal(lines.begin(), lines.end(), last_lines_.end() - lines.size(),
                    [&prefix](std::string_view line, const std::string& written) {
                      return written.starts_with(prefix) &&
                             std::string_view(written).substr(prefix.size()) == line;
                    });
}

void Output::Failure(const Error& error, std::string_view hint) {
  std::lock_guard lock(err_mutex_);
  const std::vector<std::string_view> tail = LastLines(error.stderr_tail);
  const bool stands_above = StandsAbove(error.worker_id, tail);
  LineLocked("error: " + error.ToString());
  if (!stands_above) {
    LineLocked("  the end of its stderr:");
    for (std::string_view line : tail) LineLocked("  | " + std::string(line));
  }
  if (!hint.empty()) LineLocked("  hint: " + std::string(hint));
}

void Output::FailureLine(const Error& error) { Line("error: " + error.ToString()); }

void Output::Hint(std::string_view hint) { Line("  hint: " + std::string(hint)); }

}  // namespace snakepit
