// The protocol's limits, the same for both sides.
#ifndef SNAKEPIT_WIRE_LIMITS_H_
#define SNAKEPIT_WIRE_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace snakepit {

// The newest version of the protocol. Both sides speak all versions from 1 on.
inline constexpr int kProtocolVersion = 2;

// Most calls in flight that a worker may declare. PROTOCOL.md 3.2.8.
inline constexpr int kMaxCapacity = 65'536;

// Range and default of the largest message that a side reads: the payload of a frame, or a message
// of gRPC. PROTOCOL.md 1.2.3 and 3.1.7.
inline constexpr int64_t kLeastMessageLimit = 1024;
inline constexpr int64_t kGreatestMessageLimit = INT32_MAX;
inline constexpr size_t kDefaultMessageLimit = size_t{64} << 20;
// "1024 to 2147483647", for errors.
inline std::string MessageLimitRange() {
  return std::to_string(kLeastMessageLimit) + " to " + std::to_string(kGreatestMessageLimit);
}

// Greatest id of a message: every peer can hold it. PROTOCOL.md 2.3.1.
inline constexpr int64_t kMaxId = (INT64_C(1) << 53) - 1;

// Most bytes of one grant of credit. PROTOCOL.md 6.7.
inline constexpr int64_t kMaxCredit = INT32_MAX;

// Longest session id; it has at least one byte. PROTOCOL.md 6.2.3.
inline constexpr size_t kMaxSessionIdBytes = 256;

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_LIMITS_H_
