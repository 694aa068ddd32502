#include "src/process/output_reader.h"

#include <asio/buffer.hpp>
#include <string_view>

namespace snakepit {
namespace {

// A flood of output is read in parts, so that other work of the thread has its turn.
constexpr int kReadsAtOnce = 64;

}  // namespace

OutputReader::OutputReader(asio::io_context& io, OutputTail::LineCallback on_line)
    : pipe_(io), tail_(OutputTail::Limits{}, std::move(on_line)) {}

std::shared_ptr<OutputReader> OutputReader::Start(asio::io_context& io, UniqueFd fd,
                                                  OutputTail::LineCallback on_line) {
  auto reader = std::make_shared<OutputReader>(io, std::move(on_line));
  reader->pipe_.assign(fd.get());  // if it throws, `fd` still owns it
  (void)fd.Release();
  reader->pipe_.non_blocking(true);
  reader->Read();
  return reader;
}

void OutputReader::Read() {
  pipe_.async_wait(asio::posix::descriptor_base::wait_read,
                   [self = shared_from_this()](const asio::error_code& error) {
                     if (error) return;
                     self->ReadAvailable();
                     if (self->pipe_.is_open()) self->Read();
                   });
}

void OutputReader::ReadAvailable() {
  for (int i = 0; i < kReadsAtOnce && pipe_.is_open(); ++i) {
    asio::error_code error;
    const size_t n = pipe_.read_some(asio::buffer(buffer_), error);
    if (n > 0) tail_.Append(std::string_view(buffer_.data(), n));
    if (error == asio::error::would_block || error == asio::error::try_again) return;
    if (error) return Finish();
  }
}

void OutputReader::Finish() {
  asio::error_code ignored;
  pipe_.close(ignored);
  tail_.Finish();
}

std::string OutputReader::Tail() {
  ReadAvailable();
  return tail_.Text();
}

void OutputReader::Close() {
  ReadAvailable();
  if (pipe_.is_open()) Finish();
}

}  // namespace snakepit
