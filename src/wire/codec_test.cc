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

TEST(CodecTest, BytesAreNotForPlainJson) {
  std::string out;
  EXPECT_FALSE(Encode(Codec::kJson, 1, Bytes{"x"}, &out).has_value());
  EXPECT_TRUE(Encode(Codec::kMessagePack, 1, Bytes{"x"}, &out).has_value());
  EXPECT_TRUE(Encode(Codec::kJson, 2, Bytes{"x"}, &out).has_value());
}

TEST(CodecTest, LegacyKeysAreForVersion1) {
  const std::string_view bytes("\x81\x05\x01", 3);
  EXPECT_EQ(Decode(Codec::kMessagePack, 1, bytes).value(), Value(Value::Map{{"5", 1}}));
  EXPECT_FALSE(Decode(Codec::kMessagePack, 2, bytes).has_value());
}

RC_GTEST_PROP(CodecPropertyTest, BothCodecsOfVersion1CarryWhatJsonHas, ()) {
  ValueGenOptions options;
  options.bytes = false;
  options.non_finite = false;
  const Value value = *GenValue(options);
  for (const Codec codec : {Codec::kJson, Codec::kMessagePack}) {
    std::string payload;
    RC_ASSERT(Encode(codec, 1, value, &payload).has_value());
    const Result<Value> decoded = Decode(codec, 1, payload);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == value);
  }
}

RC_GTEST_PROP(CodecPropertyTest, BothCodecsOfVersion2CarryEveryValueBitForBit, ()) {
  const Value value = *GenAnyValue();
  for (const Codec codec : {Codec::kJson, Codec::kMessagePack}) {
    std::string payload;
    RC_ASSERT(Encode(codec, 2, value, &payload).has_value());
    const Result<Value> decoded = Decode(codec, 2, payload);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(SameBits(*decoded, value));
  }
}

}  // namespace
}  // namespace snakepit
