#include "conformance/wire/transcript.h"

#include <algorithm>
#include <cstdio>

#include "src/base/quote.h"

namespace snakepit::conformance {
namespace {

// Enough of a frame to recognise it.
constexpr size_t kKeptBytes = 160;
// Else a worker that floods takes the judge's memory.
constexpr size_t kMostEvents = 10'000;

std::string_view NameOf(Transcript::Kind kind) {
  switch (kind) {
    case Transcript::Kind::kStarted:
      return "started";
    case Transcript::Kind::kSent:
      return "sent";
    case Transcript::Kind::kReceived:
      return "received";
    case Transcript::Kind::kInputClosed:
      return "closed the worker's input";
    case Transcript::Kind::kOutputEnded:
      return "the worker closed its output";
    case Transcript::Kind::kSignal:
      return "signal";
    case Transcript::Kind::kStderr:
      return "stderr";
    case Transcript::Kind::kExited:
      return "ended";
    case Transcript::Kind::kNote:
      return "note";
  }
  return "?";
}

bool HasBytes(Transcript::Kind kind) {
  return kind == Transcript::Kind::kSent || kind == Transcript::Kind::kReceived ||
         kind == Transcript::Kind::kStderr;
}

}  // namespace

void Transcript::Add(Kind kind, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (events_.size() >= kMostEvents) events_.erase(events_.begin(), events_.begin() + 1000);
  events_.push_back({std::chrono::steady_clock::now(), kind,
                     std::string(bytes.substr(0, kKeptBytes)), bytes.size()});
}

std::vector<std::string> Transcript::LastLines(size_t most) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (size_t i = events_.size() - std::min(most, events_.size()); i < events_.size(); ++i) {
    const Event& event = events_[i];
    char time[32];
    std::snprintf(time, sizeof time, "%9.1f ms  ",
                  std::chrono::duration<double, std::milli>(event.time - begin_).count());
    std::string line = time + std::string(NameOf(event.kind));
    if (HasBytes(event.kind)) line += " " + std::to_string(event.size) + " bytes";
    if (event.size > 0) line += ": " + Printable(event.bytes);
    if (event.bytes.size() < event.size) line += "…";
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace snakepit::conformance
