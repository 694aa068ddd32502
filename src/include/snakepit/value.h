// Value: what a command takes and returns, the same over every transport and encoding.
#ifndef SNAKEPIT_VALUE_H_
#define SNAKEPIT_VALUE_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "snakepit/error.h"

namespace snakepit {

// Raw bytes, told apart from text.
struct Bytes {
  std::string data;

  friend bool operator==(const Bytes&, const Bytes&) = default;
};

// A null, bool, integer, double, text (UTF-8), bytes, array or map with text keys.
//
// Integers are one number line from INT64_MIN to UINT64_MAX: an integer is held as uint64 only
// when it is over INT64_MAX, so that equal numbers are equal values. A double is never equal to an
// integer. Doubles are compared by their bits, but that a NaN equals any NaN. Map keys are ordered
// bytewise and unique. A value type: not synchronised, cheap to move. Text is not checked here;
// encoding a text that is not UTF-8 is an INVALID_ARGUMENT.
class Value {
 public:
  using Array = std::vector<Value>;
  using Map = std::map<std::string, Value, std::less<>>;

  // The order of the alternatives of the variant inside.
  enum class Kind { kNull, kBool, kInt64, kUint64, kDouble, kText, kBytes, kArray, kMap };

  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool value) : data_(value) {}
  template <std::signed_integral T>
  Value(T value) : data_(static_cast<int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Value(T value) {
    if (static_cast<uint64_t>(value) > static_cast<uint64_t>(INT64_MAX)) {
      data_ = static_cast<uint64_t>(value);
    } else {
      data_ = static_cast<int64_t>(value);
    }
  }
  Value(double value) : data_(value) {}
  Value(const char* text) : data_(std::string(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(std::string text) : data_(std::move(text)) {}
  Value(Bytes bytes) : data_(std::move(bytes)) {}
  Value(Array array) : data_(std::move(array)) {}
  Value(Map map) : data_(std::move(map)) {}

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is_null() const { return kind() == Kind::kNull; }
  bool is_map() const { return kind() == Kind::kMap; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_text() const { return kind() == Kind::kText; }
  bool is_integer() const { return kind() == Kind::kInt64 || kind() == Kind::kUint64; }

  // A pointer to what is inside, or nullptr when the value is of another kind. T is bool, int64_t,
  // uint64_t, double, std::string (text), Bytes, Array or Map.
  template <typename T>
  const T* get_if() const {
    return std::get_if<T>(&data_);
  }
  template <typename T>
  T* get_if() {
    return std::get_if<T>(&data_);
  }

  // The member of a map, or nullptr when this is no map or has no such key.
  const Value* Find(std::string_view key) const;

  // The text of the map's member, or `otherwise` when there is no such text.
  std::string_view TextAt(std::string_view key, std::string_view otherwise = {}) const;

  // The variant inside, for std::visit.
  const auto& data() const { return data_; }

  friend bool operator==(const Value& a, const Value& b);

  // The value of a JSON text; INVALID_ARGUMENT says what is wrong with it, and where.
  static Result<Value> FromJson(std::string_view json);

  // One line of JSON for people and logs. Never fails: bytes are shown as {"$bytes": base64}, a
  // double that JSON has no number for as {"$double": "NaN" | "Infinity" | "-Infinity"}, and bytes
  // in a text that are not UTF-8 as U+FFFD.
  std::string ToJson() const;

 private:
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Bytes, Array, Map>
      data_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_H_
