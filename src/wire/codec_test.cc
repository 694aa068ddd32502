#include "src/wire/codec.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "src/value/value_gen.h"

namespace snakepit {
namespace {

TEST(CodecTest, NamesLeadBack) {
  EXPECT_EQ(CodecName(Codec::kJson), "json");
  EXPECT_EQ(CodecName(Codec::kMessagePack), "msgpack");
  EXPECT_EQ(CodecFromName("json"), Codec::kJson);
  EXPECT_EQ(CodecFromName("msgpack"), Codec::kMessagePack);
  EXPECT_EQ(CodecFromName("MSGPACK"), std::nullopt);
}

TEST(CodecTest, BytesAreForMessagePackOnly) {
  std::string out;
  EXPECT_FALSE(Encode(Codec::kJson, Bytes{"x"}, &out).has_value());
  EXPECT_TRUE(Encode(Codec::kMessagePack, Bytes{"x"}, &out).has_value());
}

RC_GTEST_PROP(CodecPropertyTest, BothCodecsCarryTheSameValues, ()) {
  ValueGenOptions options;
  options.bytes = false;
  options.non_finite = false;
  const Value value = *GenValue(options);
  for (const Codec codec : {Codec::kJson, Codec::kMessagePack}) {
    std::string payload;
    RC_ASSERT(Encode(codec, value, &payload).has_value());
    const Result<Value> decoded = Decode(codec, payload);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == value);
  }
}

}  // namespace
}  // namespace snakepit
