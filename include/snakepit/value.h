// Value: the arguments and results of commands, the same over every transport and encoding.
#ifndef SNAKEPIT_VALUE_H_
#define SNAKEPIT_VALUE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "snakepit/error.h"

namespace snakepit {

// Raw bytes, told apart from text.
struct Bytes {
  std::string data;

  friend bool operator==(const Bytes&, const Bytes&) = default;
};

class Value;

template <typename T>
concept Arithmetic = std::is_arithmetic_v<T>;

// A type that the content of a Value is read as: bool, int64_t, uint64_t, double, std::string
// (text), Bytes, Value::Array or Value::Map.
template <typename T>
concept ValueContent = std::same_as<T, bool> || std::same_as<T, int64_t> ||
    std::same_as<T, uint64_t> || std::same_as<T, double> || std::same_as<T, std::string> ||
    std::same_as<T, Bytes> || std::same_as<T, std::vector<Value>> ||
    std::same_as<T, std::map<std::string, Value, std::less<>>>;

// A null, bool, integer, double, text (UTF-8), bytes, array or map with text keys.
//
//   Value task = Value::Map{{"file", "a.csv"}, {"columns", Value::Array{1, 2, 3}}};
//   for (const auto& [key, member] : task.members()) Log(key, member.ToJson());
//   std::string_view file = task.TextAt("file");         // "" if there is no such text
//   int64_t limit = task.IntegerAt("limit", 100);        // 100 if there is no such integer
//   Result<int64_t> rows = task.Get<int64_t>("rows");    // INVALID_ARGUMENT: "rows" is missing
//
// Integers are one number line from INT64_MIN to UINT64_MAX. An integer is held as uint64 only
// when it is over INT64_MAX, so that equal numbers are equal values. A double is never equal to an
// integer. Doubles are compared by their bits, except that a NaN equals any NaN. Map keys are
// ordered bytewise and unique. Text is not checked here; encoding a text that is not UTF-8 is an
// INVALID_ARGUMENT.
//
// It is a value type: not synchronised, cheap to move, and null once moved from. It takes 16 bytes;
// text, bytes, arrays and maps are on the heap beside it. So an array of a million nulls takes
// 16 MB.
class Value {
 public:
  using Array = std::vector<Value>;
  using Map = std::map<std::string, Value, std::less<>>;

  // The kinds from kText on are on the heap.
  enum class Kind : uint8_t { kNull, kBool, kInt64, kUint64, kDouble, kText, kBytes, kArray, kMap };

  Value(std::nullptr_t = nullptr) noexcept {}
  // A bool, integer or double. A template, because a pointer would convert to a plain bool, and an
  // enum to a plain double.
  template <Arithmetic T>
  Value(T value) noexcept {
    if constexpr (std::same_as<T, bool>) {
      kind_ = Kind::kBool;
      data_.boolean = value;
    } else if constexpr (std::floating_point<T>) {
      kind_ = Kind::kDouble;
      data_.number = static_cast<double>(value);
    } else if (std::is_signed_v<T> || static_cast<uint64_t>(value) <= uint64_t{INT64_MAX}) {
      kind_ = Kind::kInt64;
      data_.int64 = static_cast<int64_t>(value);
    } else {
      kind_ = Kind::kUint64;
      data_.uint64 = static_cast<uint64_t>(value);
    }
  }
  Value(const char* text) : Value(std::string_view(text)) {}
  Value(std::string_view text);
  Value(std::string text);
  Value(Bytes bytes);
  Value(Array array);
  Value(Map map);

  Value(const Value& other);
  Value(Value&& other) noexcept
      : data_(other.data_), kind_(std::exchange(other.kind_, Kind::kNull)) {}
  // `other` may be inside this value, which is why it is taken before this one is freed.
  Value& operator=(Value other) noexcept {
    std::swap(data_, other.data_);
    std::swap(kind_, other.kind_);
    return *this;
  }
  ~Value() {
    if (kind_ >= Kind::kText) Free();
  }

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_map() const { return kind_ == Kind::kMap; }

  // A pointer to the content, or nullptr when the value is of another kind.
  template <ValueContent T>
  const T* get_if() const {
    if constexpr (std::same_as<T, bool>) {
      return kind_ == Kind::kBool ? &data_.boolean : nullptr;
    } else if constexpr (std::same_as<T, int64_t>) {
      return kind_ == Kind::kInt64 ? &data_.int64 : nullptr;
    } else if constexpr (std::same_as<T, uint64_t>) {
      return kind_ == Kind::kUint64 ? &data_.uint64 : nullptr;
    } else if constexpr (std::same_as<T, double>) {
      return kind_ == Kind::kDouble ? &data_.number : nullptr;
    } else if constexpr (std::same_as<T, std::string>) {
      return kind_ == Kind::kText ? data_.text : nullptr;
    } else if constexpr (std::same_as<T, Bytes>) {
      return kind_ == Kind::kBytes ? data_.bytes : nullptr;
    } else if constexpr (std::same_as<T, Array>) {
      return kind_ == Kind::kArray ? data_.array : nullptr;
    } else {
      static_assert(std::same_as<T, Map>);
      return kind_ == Kind::kMap ? data_.map : nullptr;
    }
  }
  template <ValueContent T>
  T* get_if() {
    return const_cast<T*>(std::as_const(*this).get_if<T>());
  }

  // A copy of the content, or an INVALID_ARGUMENT that says what it is instead: `the value must be
  // an integer, not "three"`. int64_t and uint64_t take every integer that they hold, and double
  // takes every number.
  template <ValueContent T>
  Result<T> Get() const;

  // The same for the member of a map: `"count" must be an integer, not "three"`, or `"count" is
  // missing`. A null is there, and of another kind than T.
  template <ValueContent T>
  Result<T> Get(std::string_view key) const;

  // The member of a map, or nullptr when this is no map or has no such key.
  const Value* Find(std::string_view key) const;

  // The member of a map, or `otherwise` when there is no member of that name and kind. An integer
  // is one that int64_t holds; a number is an integer or a double. A text is valid as long as the
  // member and `otherwise` are.
  int64_t IntegerAt(std::string_view key, int64_t otherwise = 0) const;
  double NumberAt(std::string_view key, double otherwise = 0) const;
  bool BoolAt(std::string_view key, bool otherwise = false) const;
  std::string_view TextAt(std::string_view key, std::string_view otherwise = {}) const;

  // The elements of an array, to iterate over; none when this is no array.
  std::span<const Value> elements() const& {
    const Array* array = get_if<Array>();
    return array == nullptr ? std::span<const Value>() : std::span<const Value>(*array);
  }
  // The members of a map, to iterate over in the order of their keys; none when this is no map.
  const Map& members() const&;
  // A temporary value would end before a loop over them begins. Keep the value in a variable, also
  // where it is inside a Result: `for (… : pool->Execute(…)->elements())` reads freed memory.
  std::span<const Value> elements() const&& = delete;
  const Map& members() const&& = delete;

  // Calls `visitor` with the content, a const reference, and returns the visitor's result. A null
  // is a std::nullptr_t.
  template <typename Visitor>
  decltype(auto) Visit(Visitor&& visitor) const {
    switch (kind_) {
      case Kind::kBool:
        return visitor(data_.boolean);
      case Kind::kInt64:
        return visitor(data_.int64);
      case Kind::kUint64:
        return visitor(data_.uint64);
      case Kind::kDouble:
        return visitor(data_.number);
      case Kind::kText:
        return visitor(std::as_const(*data_.text));
      case Kind::kBytes:
        return visitor(std::as_const(*data_.bytes));
      case Kind::kArray:
        return visitor(std::as_const(*data_.array));
      case Kind::kMap:
        return visitor(std::as_const(*data_.map));
      case Kind::kNull:
        break;
    }
    return visitor(nullptr);
  }

  friend bool operator==(const Value& a, const Value& b);

  // The value of a JSON text; INVALID_ARGUMENT says what is wrong with it, and where.
  static Result<Value> FromJson(std::string_view json);

  // One line of JSON for people and logs. Never fails: bytes are shown as {"$bytes": base64}, a
  // double that JSON has no number for as {"$double": "NaN" | "Infinity" | "-Infinity"}, and bytes
  // in a text that are not UTF-8 as U+FFFD.
  std::string ToJson() const;

 private:
  union Data {
    bool boolean;
    int64_t int64;
    uint64_t uint64;
    double number;
    std::string* text;
    Bytes* bytes;
    Array* array;
    Map* map;
  };

  void Free();

  Data data_{.int64 = 0};
  Kind kind_ = Kind::kNull;
};

static_assert(sizeof(Value) == 16);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_H_
