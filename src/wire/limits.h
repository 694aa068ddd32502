// The protocol's limits, the same for both sides.
#ifndef SNAKEPIT_WIRE_LIMITS_H_
#define SNAKEPIT_WIRE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace snakepit {

// The newest version of the protocol. Both sides speak all versions from 1 on.
inline constexpr int kProtocolVersion = 2;

// Most calls in flight that a worker may declare. PROTOCOL.md 3.2.8.
inline constexpr int kMaxCapacity = 65'536;

// Range and default of the largest payload that a side reads. PROTOCOL.md 3.1.7.
inline constexpr int64_t kLeastFrameLimit = 1024;
inline constexpr int64_t kGreatestFrameLimit = INT32_MAX;
inline constexpr size_t kDefaultFrameLimit = size_t{64} << 20;

// Greatest id of a message: every peer can hold it. PROTOCOL.md 2.3.1.
inline constexpr int64_t kMaxId = (INT64_C(1) << 53) - 1;

// Most bytes of one grant of credit. PROTOCOL.md 6.7.
inline constexpr int64_t kMaxCredit = INT32_MAX;

// Longest session id; it has at least one byte. PROTOCOL.md 6.2.3.
inline constexpr size_t kMaxSessionIdBytes = 256;

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_LIMITS_H_
