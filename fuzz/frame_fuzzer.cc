// Compares the frame reader with a naive splitter of the whole stream.
//
// The first byte of the input sets the limit of a frame, the second the number of bytes that arrive
// at a time. The rest is the stream.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/check.h"
#include "src/wire/frame.h"

namespace snakepit {
namespace {

struct Outcome {
  std::vector<std::string> payloads;
  bool error = false;
  size_t left_over = 0;  // bytes of an unfinished frame

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome SplitNaively(std::string_view stream, size_t limit) {
  Outcome outcome;
  while (stream.size() >= 4) {
    size_t length = 0;
    for (int i = 0; i < 4; ++i) length = length * 256 + static_cast<unsigned char>(stream[i]);
    outcome.error = length == 0 || length > limit;
    if (outcome.error || stream.size() - 4 < length) break;
    outcome.payloads.emplace_back(stream.substr(4, length));
    stream.remove_prefix(4 + length);
  }
  outcome.left_over = outcome.error ? 0 : stream.size();
  return outcome;
}

// Appends the frames that the reader has. False if it is in error.
bool Drain(FrameReader& reader, Outcome* outcome) {
  while (true) {
    const auto next = reader.Next();
    if (!next) {
      SNAKEPIT_CHECK(next.error().code == ErrorCode::kProtocolError);
      SNAKEPIT_CHECK(next.error().message.find('\n') == std::string::npos);
      SNAKEPIT_CHECK(!reader.Next().has_value());
      outcome->error = true;
      return false;
    }
    if (!*next) return true;
    outcome->payloads.emplace_back(**next);
  }
}

Outcome SplitByReader(std::string_view stream, size_t limit, size_t piece) {
  FrameReader reader(limit);
  Outcome outcome;
  size_t received = 0;
  while (received < stream.size()) {
    const std::span<char> room = reader.Writable();
    SNAKEPIT_CHECK(!room.empty());
    SNAKEPIT_CHECK(reader.capacity() <= std::max<size_t>(16 * 1024, 4 * received));
    const size_t n = std::min({room.size(), piece, stream.size() - received});
    std::memcpy(room.data(), stream.data() + received, n);
    reader.Commit(n);
    received += n;
    if (!Drain(reader, &outcome)) return outcome;
  }
  if (!reader.empty()) {
    for (const auto& payload : outcome.payloads) received -= 4 + payload.size();
    outcome.left_over = received;
  }
  SNAKEPIT_CHECK(reader.DescribePartial().empty() == reader.empty());
  return outcome;
}

}  // namespace
}  // namespace snakepit

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t limit = size_t{64} << (data[0] % 26);
  const size_t piece = 1 + data[1] * size_t{data[1]};
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  SNAKEPIT_CHECK(snakepit::SplitByReader(stream, limit, piece) ==
                 snakepit::SplitNaively(stream, limit));
  return 0;
}
