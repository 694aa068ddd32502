// Group fid: values come back unchanged.
#include <bit>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <limits>

#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

constexpr int kMaxNesting = 64;  // PROTOCOL.md 0.6
constexpr size_t kShownBytes = 200;

struct Sample {
  std::string name;
  Value value;
};

double FromBits(uint64_t bits) { return std::bit_cast<double>(bits); }

// Nested arrays, `depth` of them.
Value Nested(int depth) {
  Value value = Value::Array{};
  for (int i = 1; i < depth; ++i) value = Value::Array{std::move(value)};
  return value;
}

std::vector<Sample> Samples() {
  std::vector<Sample> samples = {
      {"null", {}},
      {"false", false},
      {"true", true},
      {"0", 0},
      {"1", 1},
      {"-1", -1},
      {"2^53 + 1", (int64_t{1} << 53) + 1},
      {"INT64_MIN", INT64_MIN},
      {"INT64_MAX", INT64_MAX},
      {"2^63", uint64_t{1} << 63},
      {"UINT64_MAX", UINT64_MAX},
      {"the double 0", 0.0},
      {"the double -0", -0.0},
      {"the double 1", 1.0},
      {"0.1", 0.1},
      {"2^53 as a double", 9007199254740992.0},
      {"2^64 as a double", 18446744073709551616.0},
      {"the greatest double", std::numeric_limits<double>::max()},
      {"the least normal double", std::numeric_limits<double>::min()},
      {"the least subnormal double", std::numeric_limits<double>::denorm_min()},
      {"the greatest subnormal double", FromBits(0x000fffffffffffff)},
      {"infinity", std::numeric_limits<double>::infinity()},
      {"-infinity", -std::numeric_limits<double>::infinity()},
      {"a NaN", FromBits(0x7ff8000000000000)},
      {"a negative NaN", FromBits(0xfff8000000000000)},
      {"a NaN with a payload", FromBits(0x7ff8dead0000beef)},
      {"empty text", ""},
      {"text of ASCII", "a\"b\\c/d\n\t\x7f"},
      {"text with U+0000", std::string("a\0b", 3)},
      {"text beyond ASCII", "Grüße, 世界, e\u0301"},
      {"text beyond U+FFFF", "\U0001F40D\U0010FFFF"},
      {"text with U+2028 and U+FEFF", "\u2028\uFEFF"},
      {"the text 123", "123"},
      {"the text 1.0", "1.0"},
      {"the text true", "true"},
      {"the text null", "null"},
      {"the text {}", "{}"},
      {"the text \"a\"", "\"a\""},
      {"text of 100 KiB", std::string(100 << 10, 'x')},
      {"empty bytes", Bytes{}},
      {"bytes that are ASCII", Bytes{"abc"}},
      {"bytes that are JSON", Bytes{"{\"a\":1}"}},
      {"bytes that are a number", Bytes{"5"}},
      {"bytes that are UTF-8", Bytes{"Grüße"}},
      {"bytes that are no UTF-8", Bytes{std::string("\xff\x00\xfe\x80", 4)}},
      {"empty array", Value::Array{}},
      {"empty map", Value::Map{}},
      {"map with an empty key", Value::Map{{"", 1}}},
      {"map with keys beyond ASCII", Value::Map{{"ключ", 1}, {"\U0001F511", 2}}},
      {"map with the key $bytes", Value::Map{{"$bytes", "AA=="}}},
      {"map with the key $double", Value::Map{{"$double", "7ff8000000000000"}}},
      {"map with the key $", Value::Map{{"$", 1}}},
      {"map with the key $$", Value::Map{{"$$", 1}}},
      {"map with the key $$bytes", Value::Map{{"$$bytes", Bytes{"a"}}}},
      {"map with the keys $bytes and a", Value::Map{{"$bytes", "AA=="}, {"a", 1}}},
      {"bytes in a map with the key $a", Value::Map{{"$a", Value::Array{Bytes{"\xff"}, -0.0}}}},
      // The args are a map around it.
      {"arrays 63 deep", Nested(kMaxNesting - 1)},
  };
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes += static_cast<char>(byte);
  samples.push_back({"all 256 bytes", Bytes{std::move(all_bytes)}});
  // All at once, too: values must not depend on their neighbours.
  Value::Map together;
  for (const Sample& sample : samples) {
    if (sample.name != "arrays 63 deep") together.emplace(sample.name, sample.value);
  }
  samples.push_back({"all of these in a map", std::move(together)});
  return samples;
}

// operator==, except that a NaN equals only a NaN of the same bits.
bool SameBits(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (const double* number = a.get_if<double>()) {
    return std::bit_cast<uint64_t>(*number) == std::bit_cast<uint64_t>(*b.get_if<double>());
  }
  if (const auto* array = a.get_if<Value::Array>()) {
    const auto& other = *b.get_if<Value::Array>();
    return std::equal(array->begin(), array->end(), other.begin(), other.end(), SameBits);
  }
  if (const auto* map = a.get_if<Value::Map>()) {
    const auto& other = *b.get_if<Value::Map>();
    return std::equal(map->begin(), map->end(), other.begin(), other.end(),
                      [](const auto& left, const auto& right) {
                        return left.first == right.first && SameBits(left.second, right.second);
                      });
  }
  return a == b;
}

// JSON with additions for the differences that it hides.
std::string Show(const Value& value) {
  constexpr const char* kKinds[] = {"null", "bool",  "int64", "uint64", "double",
                                    "text", "bytes", "array", "map"};
  std::string shown = std::string(kKinds[static_cast<int>(value.kind())]) + " ";
  if (const double* number = value.get_if<double>()) {
    char bits[32];
    std::snprintf(bits, sizeof bits, "%016" PRIx64, std::bit_cast<uint64_t>(*number));
    return shown + bits;
  }
  shown += value.ToJson();
  if (shown.size() > kShownBytes) shown = shown.substr(0, kShownBytes) + "…";
  return shown;
}

Verdict Values(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.echo"})) return *lacks;
  for (const Sample& sample : Samples()) {
    const Reply reply = testbed.Call("conf.echo", Value::Map{{"value", sample.value}});
    if (reply.result && SameBits(*reply.result, sample.value)) continue;
    return Verdict::Fail(sample.name + " comes back unchanged, " + Show(sample.value),
                         reply.result ? Show(*reply.result) : reply.Describe());
  }
  return Verdict::Pass();
}

Case ValuesCase() {
  return {.id = "fid/values",
          .title = "values come back equal, type for type and bit for bit",
          .clause = "6.12.1",
          .requirement =
              "each kind of value, its edge cases included, is carried without loss both ways",
          .run = Values,
          .mutants = {{kWorker, "bytes-become-text", "text \""},
                      {kWorker, "text-becomes-json", "int64 123"},
                      {kWorker, "integers-become-doubles", "double "},
                      {kWorker, "forgets-nan-payload", "double 7ff8000000000000"}}};
}

Verdict OverLimit(Testbed& testbed) {
  const pid_t pid = testbed.Workers()[0].pid;
  const Reply reply = testbed.Call("ping", Value::Map{{"value", Nested(kMaxNesting)}});
  if (reply.result || reply.result.error().code != ErrorCode::kInvalidArgument ||
      reply.result.error().may_have_run) {
    return Verdict::Fail("INVALID_ARGUMENT for a call that has not run", reply.Describe());
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case OverLimitCase() {
  return {.id = "fid/over-limit",
          .title = "args nested 65 deep are refused unsent",
          .clause = "0.7",
          .requirement = "a value that cannot be carried is INVALID_ARGUMENT in the pool",
          .run = OverLimit,
          .mutants = {{kPool, "cuts-deep-values", "the result"}}};
}

}  // namespace

std::vector<Case> ValueCases() { return {ValuesCase(), OverLimitCase()}; }

}  // namespace snakepit::conformance
