// Checks the members of gRPC's maps: a decoded value is the same after encoding and decoding again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz/check.h"
#include "src/value/memory.h"
#include "src/wire/proto_map.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace snakepit;
  ProtoMap map;
  map["member"] = std::string(reinterpret_cast<const char*>(data), size);
  const Result<Value> value = DecodeMap(map);
  SNAKEPIT_CHECK(value && value->Find("member") != nullptr);
  ProtoMap encoded;
  SNAKEPIT_CHECK(EncodeMap(*value, &encoded).has_value());
  SNAKEPIT_CHECK(DecodeMap(encoded) == *value);
  const size_t needed = MemoryBytes(*value);
  for (const size_t limit : {needed / 2, needed}) {
    const Result<Value> limited = DecodeMap(map, {.max_bytes = limit});
    SNAKEPIT_CHECK(limited ? MemoryBytes(*limited) <= limit
                           : limited.error().code == ErrorCode::kMessageTooLarge);
  }
  return 0;
}
