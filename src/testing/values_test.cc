// A value comes back from a worker unchanged, type for type and bit for bit, over each transport
// and encoding, on both SDKs. PROTOCOL.md 6.12.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "src/testing/workers.h"
#include "src/value/json.h"
#include "src/value/value_gen.h"

namespace snakepit {
namespace {

using testing::FixtureKind;

// One worker of each kind, for all tests.
class Pools : public ::testing::Environment {
 public:
  void SetUp() override {
    for (const FixtureKind kind : testing::kFixtureKinds) {
      auto pool = Pool::Start({.adapter = testing::FixtureOfKind(kind), .workers = 1});
      ASSERT_TRUE(pool) << testing::FixtureKindName(kind) << ": " << pool.error().ToString() << "\n"
                        << pool.error().stderr_tail;
      pools_.emplace(testing::FixtureKindName(kind), std::move(*pool));
    }
  }
  void TearDown() override { pools_.clear(); }

  static std::map<std::string_view, Pool>& All() { return pools_; }

 private:
  static inline std::map<std::string_view, Pool> pools_;
};

[[maybe_unused]] const auto* const kPools = ::testing::AddGlobalTestEnvironment(new Pools);

// The different value that came back, and its worker; empty if there is none.
std::string Changed(const Value& value) {
  const Value args = Value::Map{{"v", value}};
  for (auto& [name, pool] : Pools::All()) {
    const Result<Value> result = pool.Execute("echo", args);
    if (!result) return std::string(name) + ": " + result.error().ToString();
    if (!SameBits(*result, args)) return std::string(name) + ": " + result->ToJson();
  }
  return {};
}

RC_GTEST_PROP(Values, ComeBackAsTheyWere, ()) {
  const Value value = *GenValue();
  const std::string changed = Changed(value);
  if (!changed.empty()) RC_FAIL(changed);
}

Value Nested(int depth) {
  Value value = Value::Array{};
  for (int i = 1; i < depth; ++i) {
    value = i % 2 == 0 ? Value(Value::Array{std::move(value)})
                       : Value(Value::Map{{"m", std::move(value)}});
  }
  return value;
}

TEST(Values, EdgeCasesComeBackUnchanged) {
  const auto bits = [](uint64_t number) { return Value(std::bit_cast<double>(number)); };
  const std::vector<Value> values = {
      Value(),
      false,
      INT64_MIN,
      INT64_MAX,
      UINT64_MAX,
      (INT64_C(1) << 53) + 1,
      1.0,
      -0.0,
      bits(1),
      std::numeric_limits<double>::max(),
      bits(0x7ff0'0000'0000'0000),
      bits(0xfff0'0000'0000'0000),
      bits(0x7ff8'0000'0000'0000),
      bits(0xfff8'0000'0000'beef),
      "",
      std::string("a\0b", 3),
      "123",
      "true",
      "null",
      "{}",
      "\"quoted\"",
      "\U0001f600 e\u0301",
      Bytes{""},
      Bytes{"text"},
      Bytes{"{\"a\":1}"},
      Bytes{std::string("\xff\x00\xfe", 3)},
      Value::Array{},
      Value::Map{},
      Value::Array{Bytes{"in an array"}, Value::Map{{"", Bytes{"under an empty key"}}}},
      Value::Map{{"$bytes", "YQ=="}},
      Value::Map{{"$double", 1.5}},
      Value::Map{{"$$bytes", Value()}},
      Value::Map{{"$", 1}},
      Value::Map{{"$bytes", "x"}, {"and", 2}},
      std::string(1 << 20, 'x'),
      Nested(kMaxNesting - 1),  // the args add one level
  };
  for (const Value& value : values) EXPECT_EQ(Changed(value), "") << value.ToJson();
}

TEST(Values, UnencodableValuesAreRefusedAtTheSender) {
  for (const Value& value : {Value("\xff"), Value(Value::Map{{"\xc0\x80", 1}}), Nested(kMaxNesting),
                             Value("\xed\xa0\x80")}) {
    for (auto& [name, pool] : Pools::All()) {
      const Result<Value> result = pool.Execute("echo", Value::Map{{"v", value}});
      ASSERT_FALSE(result) << name;
      EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument) << name;
      EXPECT_FALSE(result.error().may_have_run) << name;
      EXPECT_NE(result.error().message.find("args.v"), std::string::npos)
          << name << ": " << result.error().message;
    }
  }
}

}  // namespace
}  // namespace snakepit
