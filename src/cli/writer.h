// Writer: text for a descriptor that may have no reader.
#ifndef SNAKEPIT_CLI_WRITER_H_
#define SNAKEPIT_CLI_WRITER_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace snakepit {

// Writes on a thread of its own, which alone waits for the reader of a full pipe or a stopped
// terminal. (The descriptor is not made non-blocking, since other processes may share it.) Texts
// come out whole and in order. Thread-safe.
class Writer {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // Most bytes that Post() keeps. A text beyond that is dropped.
  static constexpr size_t kMostPostedBytes = size_t{1} << 20;

  // `fd` must stay open until this process ends.
  explicit Writer(int fd);
  // Does not wait: text that is not written yet is lost, or written a moment later.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Waits until the text is written: 0, or the errno of the first failure, after which nothing more
  // is written. The wait ends at `deadline` (ETIMEDOUT) or with StopWaiting() (ECANCELED); the text
  // is still written as soon as somebody reads.
  int Write(std::string text, std::optional<SteadyTime> deadline = {});

  // Does not wait. False if the text was dropped.
  bool Post(std::string text);

  // Makes each waiting Write() return, and later ones write nothing.
  void StopWaiting();

  // Waits until everything is written. False if nothing was written for `patience`, or if
  // `patience_after_stop` has passed since StopWaiting() and the call of this.
  bool Flush(std::chrono::milliseconds patience, std::chrono::milliseconds patience_after_stop);

 private:
  struct State;

  static void Run(State& state);

  const std::shared_ptr<State> state_;  // the thread may outlive this
  std::thread thread_;
};

// Writes all of the text on this thread, and waits as needed: 0, or the errno of the failure.
int WriteAll(int fd, std::string_view text);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_WRITER_H_
