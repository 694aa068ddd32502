// The decoders of MessagePack replies and values.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/reply_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace snakepit;
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  CheckReply(Codec::kMessagePack, payload);
  CheckOfferReply(payload);
  CheckRoundTrip(Codec::kMessagePack, payload);
  return 0;
}
