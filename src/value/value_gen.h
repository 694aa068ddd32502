// Random values for property tests, which shrink to the smallest that fails.
#ifndef SNAKEPIT_VALUE_VALUE_GEN_H_
#define SNAKEPIT_VALUE_VALUE_GEN_H_

#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "snakepit/value.h"
#include "src/value/json.h"

namespace snakepit {

// Shown by rapidcheck and by gtest when a property fails.
inline void PrintTo(const Value& value, std::ostream* os) { *os << value.ToJson(); }
inline void showValue(const Value& value, std::ostream& os) { os << value.ToJson(); }

// Same as ==, except that a NaN equals only the NaN of the same bits.
inline bool SameBits(const Value& a, const Value& b) {
  if (const double* number = a.get_if<double>(); number != nullptr && b.get_if<double>()) {
    return std::bit_cast<uint64_t>(*number) == std::bit_cast<uint64_t>(*b.get_if<double>());
  }
  const auto* array = a.get_if<Value::Array>();
  if (const auto* other = b.get_if<Value::Array>(); array != nullptr && other != nullptr) {
    return std::equal(array->begin(), array->end(), other->begin(), other->end(), SameBits);
  }
  const auto* map = a.get_if<Value::Map>();
  if (const auto* other = b.get_if<Value::Map>(); map != nullptr && other != nullptr) {
    return std::equal(map->begin(), map->end(), other->begin(), other->end(),
                      [](const auto& left, const auto& right) {
                        return left.first == right.first && SameBits(left.second, right.second);
                      });
  }
  return a == b;
}

// Contents of the values, beside those that every encoding holds.
struct ValueGenOptions {
  bool bytes = true;
  bool non_finite = true;
  int max_nesting = 4;
};

namespace value_gen_internal {

inline void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    *out += static_cast<char>(c);
    return;
  }
  const int continuation_bytes = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr unsigned char kLeads[] = {0, 0xc0, 0xe0, 0xf0};
  *out += static_cast<char>(kLeads[continuation_bytes] | c >> (6 * continuation_bytes));
  for (int i = continuation_bytes - 1; i >= 0; --i) {
    *out += static_cast<char>(0x80 | (c >> (6 * i) & 0x3f));
  }
}

inline rc::Gen<char32_t> GenCharacter() {
  return rc::gen::weightedOneOf<char32_t>({
      {6, rc::gen::inRange<char32_t>(0x20, 0x7f)},
      {2, rc::gen::inRange<char32_t>(0, 0x20)},
      {1, rc::gen::elementOf(
              std::u32string(U"\"\\/\x7f\x80é߿ࠀ€\xfffd\uffff\U00010000😀\U0010ffff"))},
      {1, rc::gen::inRange<char32_t>(0x80, 0xd800)},
      {1, rc::gen::inRange<char32_t>(0xe000, 0x110000)},
  });
}

}  // namespace value_gen_internal

// Text in UTF-8; now and then one that reads like another kind of value, or a long one.
inline rc::Gen<std::string> GenText() {
  auto random =
      rc::gen::map(rc::gen::container<std::vector<char32_t>>(value_gen_internal::GenCharacter()),
                   [](const std::vector<char32_t>& characters) {
                     std::string text;
                     for (const char32_t c : characters) value_gen_internal::AppendUtf8(c, &text);
                     return text;
                   });
  auto telling = rc::gen::elementOf(std::vector<std::string>{
      "123", "true", "null", "{}", "[1]", "\"a\"", "1.5", "NaN", " 1", std::string(1, '\0'),
      std::string(31, 'x'), std::string(32, 'x'), std::string(255, 'y'), std::string(256, 'y'),
      std::string(65'536, 'z')});
  return rc::gen::weightedOneOf<std::string>({{6, random}, {1, telling}});
}

inline rc::Gen<int64_t> GenInteger() {
  // The edges of the encodings' integer types, and their neighbours.
  std::vector<int64_t> edges = {INT64_MIN, INT64_MAX};
  for (const int64_t edge :
       {INT64_C(0), INT64_C(-32), INT64_C(127), INT64_C(128), INT64_C(255), INT64_C(32'767),
        INT64_C(65'535), INT64_C(1) << 31, INT64_C(1) << 32, INT64_C(1) << 53}) {
    for (const int64_t near : {edge - 1, edge, edge + 1}) {
      edges.push_back(near);
      edges.push_back(-near);
    }
  }
  return rc::gen::weightedOneOf<int64_t>(
      {{2, rc::gen::arbitrary<int64_t>()}, {1, rc::gen::elementOf(edges)}});
}

inline rc::Gen<double> GenDouble(bool non_finite) {
  using Limits = std::numeric_limits<double>;
  std::vector<double> edges = {0.0,
                               -0.0,
                               1.0,
                               0.1,
                               Limits::max(),
                               Limits::min(),
                               Limits::lowest(),
                               Limits::denorm_min(),
                               1e15,
                               1e16,
                               1e22,
                               9007199254740993.0};
  if (non_finite) {
    edges.insert(edges.end(), {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),
                               Limits::signaling_NaN()});
  }
  // NaNs with any sign and payload, and now and then an infinity.
  auto any_nan = rc::gen::map(rc::gen::arbitrary<uint64_t>(), [](uint64_t bits) {
    return std::bit_cast<double>(bits | UINT64_C(0x7ff) << 52);
  });
  auto any_bits = rc::gen::map(rc::gen::arbitrary<uint64_t>(), [non_finite](uint64_t bits) {
    const auto number = std::bit_cast<double>(bits);
    return non_finite || std::isfinite(number) ? number : 1.5;
  });
  return rc::gen::weightedOneOf<double>({{2, rc::gen::arbitrary<double>()},
                                         {2, any_bits},
                                         {2, rc::gen::elementOf(edges)},
                                         {1, non_finite ? any_nan : any_bits}});
}

inline rc::Gen<Value> GenValue(const ValueGenOptions& options = {});

inline rc::Gen<Value> GenScalar(const ValueGenOptions& options) {
  const auto to_value = [](auto data) { return Value(std::move(data)); };
  std::vector<rc::Gen<Value>> kinds = {
      rc::gen::just(Value()),
      rc::gen::map(rc::gen::arbitrary<bool>(), to_value),
      rc::gen::map(GenInteger(), to_value),
      rc::gen::map(rc::gen::arbitrary<uint64_t>(),
                   [](uint64_t number) { return Value(number | UINT64_C(1) << 63); }),
      rc::gen::map(GenDouble(options.non_finite), to_value),
      rc::gen::map(GenText(), to_value),
  };
  if (options.bytes) {
    // Bytes that are UTF-8 or JSON must stay bytes.
    auto any = rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    kinds.push_back(rc::gen::map(rc::gen::oneOf(any, GenText()),
                                 [](std::string data) { return Value(Bytes{std::move(data)}); }));
  }
  return rc::gen::join(rc::gen::elementOf(std::move(kinds)));
}

// The key of a member: any text, and some that tags have or nearly have.
inline rc::Gen<std::string> GenKey() {
  auto telling = rc::gen::elementOf(std::vector<std::string>{
      "$", "$$", "$bytes", "$double", "$$bytes", "$$$double", "$a", "id", "type", "result"});
  return rc::gen::weightedOneOf<std::string>({{6, GenText()}, {1, telling}});
}

// A map of one member that is easily taken for a tag.
inline rc::Gen<Value> GenNearTag() {
  auto key = rc::gen::elementOf(
      std::vector<std::string>{"$", "$$", "$bytes", "$double", "$$bytes", "$$double", "$a", "a"});
  auto value = rc::gen::oneOf(
      rc::gen::map(
          rc::gen::elementOf(std::vector<std::string>{"", "AA==", "7ff8000000000000", "x"}),
          [](std::string text) { return Value(std::move(text)); }),
      rc::gen::elementOf(std::vector<Value>{1, nullptr, Bytes{"b"}, Value::Map{{"$bytes", ""}}}));
  return rc::gen::map(rc::gen::pair(key, value), [](std::pair<std::string, Value> member) {
    return Value(Value::Map{std::move(member)});
  });
}

inline rc::Gen<Value> GenMap(const ValueGenOptions& options) {
  ValueGenOptions inner = options;
  inner.max_nesting = options.max_nesting - 1;
  return rc::gen::withSize([inner](int size) {
    auto members = rc::gen::container<std::vector<std::pair<std::string, Value>>>(
        rc::gen::pair(GenKey(), GenValue(inner)));
    return rc::gen::map(rc::gen::resize(size / 4, members),
                        [](const std::vector<std::pair<std::string, Value>>& pairs) {
                          return Value(Value::Map(pairs.begin(), pairs.end()));
                        });
  });
}

inline rc::Gen<Value> GenArray(const ValueGenOptions& options) {
  ValueGenOptions inner = options;
  inner.max_nesting = options.max_nesting - 1;
  return rc::gen::withSize([inner](int size) {
    auto elements = rc::gen::container<std::vector<Value>>(GenValue(inner));
    return rc::gen::map(rc::gen::resize(size / 4, elements),
                        [](Value::Array array) { return Value(std::move(array)); });
  });
}

inline rc::Gen<Value> GenValue(const ValueGenOptions& options) {
  if (options.max_nesting == 0) return GenScalar(options);
  return rc::gen::weightedOneOf<Value>({
      {6, GenScalar(options)},
      {1, rc::gen::lazy([options] { return GenArray(options); })},
      {1, rc::gen::lazy([options] { return GenMap(options); })},
  });
}

// Number of arrays and maps that enclose each other.
inline int Nesting(const Value& value) {
  int inside = 0;
  if (const auto* array = value.get_if<Value::Array>()) {
    for (const Value& element : *array) inside = std::max(inside, Nesting(element));
  } else if (const auto* map = value.get_if<Value::Map>()) {
    for (const auto& [key, member] : *map) inside = std::max(inside, Nesting(member));
  } else {
    return 0;
  }
  return 1 + inside;
}

// A small value within arrays and maps of one element: up to kMaxNesting in all.
inline rc::Gen<Value> GenNestedValue(const ValueGenOptions& options = {}) {
  auto leaf = rc::gen::oneOf(
      GenScalar(options),
      rc::gen::elementOf(std::vector<Value>{Value(Value::Array{}), Value(Value::Map{})}),
      GenNearTag());
  auto depth = rc::gen::weightedOneOf<size_t>(
      {{1, rc::gen::inRange<size_t>(0, kMaxNesting)}, {1, rc::gen::just<size_t>(kMaxNesting)}});
  auto keys = rc::gen::mapcat(depth, [](size_t n) {
    return rc::gen::container<std::vector<std::string>>(n, rc::gen::resize(3, GenKey()));
  });
  return rc::gen::map(rc::gen::pair(leaf, keys), [](std::pair<Value, std::vector<std::string>> of) {
    auto& [value, keys] = of;
    const size_t most = static_cast<size_t>(kMaxNesting - Nesting(value));
    for (size_t i = 0; i < std::min(keys.size(), most); ++i) {
      const bool array = keys[i].size() % 2 == 0 && !keys[i].starts_with('$');
      value = array ? Value(Value::Array{std::move(value)})
                    : Value(Value::Map{{keys[i], std::move(value)}});
    }
    return value;
  });
}

// Any value: version 2 carries them all.
inline rc::Gen<Value> GenAnyValue() {
  return rc::gen::weightedOneOf<Value>({{4, GenValue()}, {1, GenNestedValue()}, {1, GenNearTag()}});
}

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_VALUE_GEN_H_
