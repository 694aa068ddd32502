#include "src/cli/output.h"

#include <algorithm>
#include <utility>

#include "src/base/quote.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

// Limits of Finish(): time without progress, and total time after a stop.
constexpr milliseconds kPatience{1'000};
constexpr milliseconds kPatienceAfterStop{300};

// Most lines shown of a worker's stderr. The last ones tell the cause.
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

int Output::Result(const Value& value, std::optional<Writer::SteadyTime> deadline) {
  // Escaped for files and pipes too, since these are shown on a terminal later.
  std::string json = raw_ ? value.ToJson() : PrintableJson(value.ToJson());
  return out_.Write(std::move(json) + "\n", deadline);
}

void Output::Line(std::string_view text) {
  const MutexLock lock(mutex_);
  LineLocked(text);
}

void Output::LineLocked(std::string_view text) {
  if (TellOfDroppedLocked() && PostLocked(text)) return;
  ++dropped_lines_;
}

bool Output::TellOfDroppedLocked() {
  if (dropped_lines_ == 0) return true;
  if (!PostLocked("snakepit: " + std::to_string(dropped_lines_) +
                  " lines are missing here: stderr was not read fast enough")) {
    return false;
  }
  dropped_lines_ = 0;
  return true;
}

std::string Output::Shown(std::string_view text) const {
  return raw_ ? std::string(text) : Printable(text);
}

bool Output::PostLocked(std::string_view line) {
  std::string shown = Shown(line);
  if (!err_.Post(shown + "\n")) return false;
  last_lines_.push_back(std::move(shown));
  if (last_lines_.size() > kTailLines) last_lines_.erase(last_lines_.begin());
  return true;
}

void Output::Log(LogLevel level, std::string_view text, bool verbose) {
  // The errors of calls repeat the pool's own warnings and errors.
  if (level == LogLevel::kInfo) return Line(text);
  if (verbose) Line("pool: " + std::string(text));
}

// The lines of a single worker have just been passed on; twice would be noise.
bool Output::StandsAbove(int worker, const std::vector<std::string>& lines) const {
  if (last_lines_.size() < lines.size()) return false;
  const std::string prefix = "worker " + std::to_string(worker) + ": ";
  return std::equal(lines.begin(), lines.end(), last_lines_.end() - lines.size(),
                    [&prefix](const std::string& line, const std::string& written) {
                      return written.starts_with(prefix) &&
                             std::string_view(written).substr(prefix.size()) == line;
                    });
}

void Output::Failure(const Error& error, std::string_view hint) {
  const MutexLock lock(mutex_);
  std::vector<std::string> tail;
  for (std::string_view line : LastLines(error.stderr_tail)) tail.push_back(Shown(line));
  const bool stands_above = StandsAbove(error.worker_id, tail);
  LineLocked("error: " + error.ToString());
  if (!stands_above) {
    LineLocked("  the end of its stderr:");
    for (const std::string& line : tail) LineLocked("  | " + line);
  }
  if (!hint.empty()) LineLocked("  hint: " + std::string(hint));
}

void Output::FailureLine(const Error& error) { Line("error: " + error.ToString()); }

void Output::Hint(std::string_view hint) { Line("  hint: " + std::string(hint)); }

void Output::StopWaiting() {
  out_.StopWaiting();
  err_.StopWaiting();
}

void Output::Finish() {
  if (err_.Flush(kPatience, kPatienceAfterStop)) {
    MutexLock lock(mutex_);
    TellOfDroppedLocked();
    lock.unlock();
    err_.Flush(kPatience, kPatienceAfterStop);
  }
  out_.Flush(kPatience, kPatienceAfterStop);
}

}  // namespace snakepit
