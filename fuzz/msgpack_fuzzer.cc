// Checks the decoders of MessagePack messages (both sides) and values.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/payload_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace snakepit;
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  CheckPayload(Codec::kMessagePack, payload);
  CheckHandshake(payload);
  return 0;
}
