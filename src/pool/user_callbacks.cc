#include "src/pool/user_callbacks.h"

#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "src/base/quote.h"
#include "src/pool/explain.h"

namespace snakepit {

std::string DescribeException() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "what is no std::exception";
  }
}

Error UserCallbacks::ForkedError() const {
  return {.code = ErrorCode::kUnavailable,
          .message = PoolPrefix(options_) +
                     "this process did not start the pool: it was forked from the one that did "
                     "(pid " +
                     std::to_string(home_.pid()) +
                     "), whose workers are not its own; it can start a pool of its own"};
}

void UserCallbacks::EndForked() {
  constexpr std::string_view kText =
      "snakepit: a callback of a pool forked this process, which returned from the callback "
      "instead of ending: it is aborted, as the pool is its parent's\n";
  (void)!write(STDERR_FILENO, kText.data(), kText.size());
  std::abort();
}

void UserCallbacks::Log(LogLevel level, std::string_view text) const {
  Emit(level, Printable(text));
}

void UserCallbacks::LogLine(int worker_id, std::string_view line) const {
  Emit(LogLevel::kInfo, "worker " + std::to_string(worker_id) + ": " +
                            (options_.raw_worker_lines ? std::string(line) : Printable(line)));
}

bool UserCallbacks::TellChunk(const ChunkCallback& on_chunk, const Chunk& chunk) const {
  bool goes_on = false;
  try {
    goes_on = on_chunk(chunk);
  } catch (...) {
    Log(LogLevel::kError, "the chunk callback of a stream threw " + DescribeException());
  }
  EndIfForked();
  return goes_on;
}

void UserCallbacks::Emit(LogLevel level, std::string_view text) const {
  if (!options_.log) return;
  try {
    options_.log(level, PoolPrefix(options_) + std::string(text));
  } catch (...) {  // there is nowhere to tell it
  }
  EndIfForked();
}

}  // namespace snakepit
