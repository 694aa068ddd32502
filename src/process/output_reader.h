// Reads the output of a process from a pipe and keeps the end of it. The reads run on the io thread
// and never wait, so a writer is never blocked for long.
#ifndef SNAKEPIT_PROCESS_OUTPUT_READER_H_
#define SNAKEPIT_PROCESS_OUTPUT_READER_H_

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <memory>
#include <string>

#include "src/base/fd.h"
#include "src/process/output_tail.h"

namespace snakepit {

// All methods on the io thread.
class OutputReader : public std::enable_shared_from_this<OutputReader> {
 public:
  // Reads from `fd`, the read end of a pipe, until its end or until Close. `on_line` gets each line
  // (output_tail.h).
  static std::shared_ptr<OutputReader> Start(asio::io_context& io, UniqueFd fd,
                                             OutputTail::LineCallback on_line);

  // Reads all that is in the pipe now, and returns the end of the output.
  std::string Tail();

  // Reads all that is in the pipe now, and closes it.
  void Close();

  OutputReader(asio::io_context& io, OutputTail::LineCallback on_line);

 private:
  void Read();
  void ReadAvailable();
  void Finish();

  asio::posix::stream_descriptor pipe_;
  OutputTail tail_;
  std::array<char, 16 * 1024> buffer_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_OUTPUT_READER_H_
