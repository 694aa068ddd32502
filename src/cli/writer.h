// Writer: text for a descriptor that perhaps nobody reads.
#ifndef SNAKEPIT_SRC_CLI_WRITER_H_
#define SNAKEPIT_SRC_CLI_WRITER_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace snakepit {

// Writes on a thread of its own, which alone waits for a reader: a pipe may be full, a terminal be
// stopped. (To make the descriptor non-blocking would make it so for everybody who shares it.) The
// texts come out whole and in their order. Each method may be called from any thread.
class Writer {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  // What Post() keeps at most: a text that would be more is dropped.
  static constexpr size_t kMostPostedBytes = size_t{1} << 20;

  // `fd` must stay open until this process ends.
  explicit Writer(int fd);
  // Waits for nothing: what has not been written is lost, or is a moment later.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Waits until the text is written: 0, or the errno of the first failure, after which nothing more
  // is written. It waits no longer than until `deadline` (ETIMEDOUT) or StopWaiting() (ECANCELED);
  // a text that it has waited for is still written as soon as somebody reads.
  int Write(std::string text, std::optional<SteadyTime> deadline = {});

  // Waits for nothing. False: it was dropped.
  bool Post(std::string text);

  // Each Write() that waits returns, and later ones write nothing.
  void StopWaiting();

  // Waits until nothing is left to be written. False: some is, and nothing of it was written for
  // `patience`, or so long has passed since this was called after StopWaiting(), or since that.
  bool Flush(std::chrono::milliseconds patience, std::chrono::milliseconds patience_after_stop);

 private:
  struct State;

  static void Run(State& state);

  const std::shared_ptr<State> state_;  // the thread may outlive this
  std::thread thread_;
};

// Writes all of it on this thread, waiting where that is needed: 0, or the errno of the failure.
int WriteAll(int fd, std::string_view text);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_WRITER_H_
