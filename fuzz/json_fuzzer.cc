// Checks the decoders of JSON messages (both sides) and values, and compares the two JSON parsers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/check.h"
#include "fuzz/payload_checks.h"
#include "src/value/json.h"
#include "src/value/json_scan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace snakepit;
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  CheckPayload(Codec::kJson, payload);
  CheckHandshake(payload);
  Value value;
  const DecodeLimits limits;
  DecodeBudget budget(limits);
  SNAKEPIT_CHECK(TryDecodeJson(payload, &value, &budget) == !FindJsonFault(payload, kMaxNesting));
  return 0;
}
