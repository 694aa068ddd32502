// Transcript: all that went over the wire in a case, and all that became of the worker's process,
// with times.
#ifndef SNAKEPIT_CONFORMANCE_WIRE_TRANSCRIPT_H_
#define SNAKEPIT_CONFORMANCE_WIRE_TRANSCRIPT_H_

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace snakepit::conformance {

// Thread-safe.
class Transcript {
 public:
  enum class Kind {
    kStarted,      // the worker's process; the text is its pid
    kSent,         // bytes to the worker
    kReceived,     // bytes from the worker
    kInputClosed,  // by the judge
    kOutputEnded,  // by the worker
    kSignal,       // sent by the judge; the text is its name
    kStderr,       // bytes that the worker wrote there
    kExited,       // the worker; the text is its status
    kNote,         // by the judge
  };

  void Add(Kind kind, std::string_view bytes = {});

  // The last `most` events, a line each, bytes as escaped text and cut:
  // "  12.3 ms  sent      39 bytes: \x00\x00\x00#{"id":1…".
  std::vector<std::string> LastLines(size_t most) const;

 private:
  struct Event {
    std::chrono::steady_clock::time_point time;
    Kind kind;
    std::string bytes;  // the first ones
    size_t size = 0;    // of all
  };

  mutable std::mutex mutex_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::vector<Event> events_;
};

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_WIRE_TRANSCRIPT_H_
