// Reads what a process writes to a pipe, on the io_context's thread, so that it is never blocked by
// it, and keeps the end of it.
#ifndef SNAKEPIT_TRANSPORT_OUTPUT_READER_H_
#define SNAKEPIT_TRANSPORT_OUTPUT_READER_H_

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <memory>
#include <string>

#include "src/base/fd.h"
#include "src/process/output_tail.h"

namespace snakepit {

// All methods on the io_context's thread.
class OutputReader : public std::enable_shared_from_this<OutputReader> {
 public:
  // Starts to read `fd`, the reading end of a pipe, until its end, or until Close. `on_line` gets
  // each line (output_tail.h).
  static std::shared_ptr<OutputReader> Start(asio::io_context& io, UniqueFd fd,
                                             OutputTail::LineCallback on_line);

  // The end of what was written, after having read what is in the pipe now.
  std::string Tail();

  // Reads what is in the pipe now and closes it.
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

#endif  // SNAKEPIT_TRANSPORT_OUTPUT_READER_H_
