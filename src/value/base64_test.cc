#include "src/value/base64.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace snakepit {
namespace {

std::string Encoded(std::string_view bytes) {
  std::string out = "before ";
  AppendBase64(bytes, &out);
  return out.substr(7);
}

TEST(Base64Test, TheVectorsOfTheRfc) {
  const std::pair<const char*, const char*> vectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(Encoded(bytes), text);
    EXPECT_EQ(DecodeBase64(text), bytes);
  }
  EXPECT_EQ(Encoded("\xfb\xff\xfe"), "+//+");
}

// Every text of up to 4 characters of these is either refused or what is written for its bytes.
TEST(Base64Test, NothingElseIsAccepted) {
  const std::string characters("AB/9=-_ \n\0\xff", 11);
  int accepted = 0;
  for (const char a : characters) {
    for (const char b : characters) {
      for (const char c : characters) {
        for (const char d : characters) {
          const std::string text = {a, b, c, d};
          for (size_t length = 0; length <= 4; ++length) {
            const auto bytes = DecodeBase64(text.substr(0, length));
            if (!bytes) continue;
            ++accepted;
            ASSERT_EQ(Encoded(*bytes), text.substr(0, length));
          }
        }
      }
    }
  }
  EXPECT_GT(accepted, 0);
}

RC_GTEST_PROP(Base64PropertyTest, BytesComeBack, (std::string bytes)) {
  RC_ASSERT(DecodeBase64(Encoded(bytes)) == bytes);
}

RC_GTEST_PROP(Base64PropertyTest, ADamagedTextIsRefusedOrAnother, (std::string bytes)) {
  RC_PRE(!bytes.empty());
  const std::string text = Encoded(bytes);
  std::string damaged = text;
  damaged[*rc::gen::inRange<size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
  const auto decoded = DecodeBase64(damaged);
  if (decoded) RC_ASSERT(Encoded(*decoded) == damaged);
}

}  // namespace
}  // namespace snakepit
