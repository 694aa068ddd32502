#include "src/value/json_scan.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <system_error>

#include "src/base/quote.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// True if a number that double cannot hold is too large, and not just too near to zero.
bool IsHuge(std::string_view number) {
  if (number.front() == '-') number.remove_prefix(1);
  const size_t e = std::min(number.find_first_of("eE"), number.size());
  const std::string_view digits = number.substr(0, e);
  const size_t point = std::min(digits.find('.'), digits.size());
  const size_t first = digits.find_first_not_of("0.");
  if (first == std::string_view::npos) return false;  // zero
  const bool negative_exponent = e + 1 < number.size() && number[e + 1] == '-';
  const size_t exponent_digits = number.find_first_not_of("eE+-0", e);
  int64_t exponent = 0;
  if (exponent_digits != std::string_view::npos) {
    const auto result =
        std::from_chars(number.data() + exponent_digits, number.data() + number.size(), exponent);
    if (result.ec != std::errc()) exponent = INT64_MAX / 2;
  }
  const auto magnitude = static_cast<int64_t>(point) - static_cast<int64_t>(first);
  return magnitude + (negative_exponent ? -exponent : exponent) > 0;
}

class Scanner {
 public:
  Scanner(std::string_view json, int max_nesting) : json_(json), max_nesting_(max_nesting) {}

  std::optional<JsonFault> Scan() {
    SkipSpace();
    if (ScanValue(0)) {
      SkipSpace();
      if (at_ < json_.size()) Fault("something follows the JSON value");
    }
    return fault_;
  }

 private:
  bool Fault(std::string what) {
    fault_ = JsonFault{at_, std::move(what)};
    return false;
  }

  bool AtEnd() const { return at_ >= json_.size(); }
  char Peek() const { return AtEnd() ? '\0' : json_[at_]; }

  void SkipSpace() { at_ = std::min(json_.find_first_not_of(" \t\n\r", at_), json_.size()); }

  bool Take(char c) {
    if (AtEnd() || json_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool ScanValue(int depth) {
    if (AtEnd()) return Fault("a value is missing");
    switch (Peek()) {
      case '{':
        return ScanMap(depth);
      case '[':
        return ScanArray(depth);
      case '"':
        return ScanString();
      default:
        break;
    }
    // -Infinity begins as a number does.
    if (IsDigit(Peek()) || (Peek() == '-' && json_.substr(at_, 2) != "-I")) return ScanNumber();
    return ScanWord();
  }

  bool ScanWord() {
    const size_t end = std::min(
        json_.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", at_ + 1),
        json_.size());
    const std::string_view word = json_.substr(at_, end - at_);
    if (word == "null" || word == "true" || word == "false") {
      at_ = end;
      return true;
    }
    if (word == "NaN" || word == "Infinity" || word == "-Infinity") {
      return Fault(std::string(word) + " is not a JSON value");
    }
    return Fault(QuoteBytes(word, 16) + " is not a JSON value");
  }

  bool ScanArray(int depth) {
    if (depth >= max_nesting_) return Fault(TooDeep());
    ++at_;
    SkipSpace();
    if (Take(']')) return true;
    while (true) {
      if (!ScanValue(depth + 1)) return false;
      SkipSpace();
      if (Take(']')) return true;
      if (!Take(',')) return Fault("an array lacks a ',' or ']'");
      SkipSpace();
    }
  }

  bool ScanMap(int depth) {
    if (depth >= max_nesting_) return Fault(TooDeep());
    ++at_;
    SkipSpace();
    if (Take('}')) return true;
    while (true) {
      if (Peek() != '"') return Fault("an object lacks a name in double quotes");
      if (!ScanString()) return false;
      SkipSpace();
      if (!Take(':')) return Fault("an object lacks a ':'");
      SkipSpace();
      if (!ScanValue(depth + 1)) return false;
      SkipSpace();
      if (Take('}')) return true;
      if (!Take(',')) return Fault("an object lacks a ',' or '}'");
      SkipSpace();
    }
  }

  std::string TooDeep() const {
    return "the value is nested deeper than " + std::to_string(max_nesting_);
  }

  bool ScanString() {
    const size_t start = at_++;
    while (!AtEnd()) {
      const char c = Peek();
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c == '\\') {
        if (!ScanEscape()) return false;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        return Fault("a string has a control character that is not escaped");
      } else {
        const size_t length = Utf8SequenceLength(json_.substr(at_));
        if (length == 0) return Fault("a string is not UTF-8");
        at_ += length;
      }
    }
    at_ = start;
    return Fault("a string has no end");
  }

  bool ScanEscape() {
    const char letter = at_ + 1 < json_.size() ? json_[at_ + 1] : '\0';
    if (letter == 'u') return ScanUnicodeEscape();
    if (letter == '\0' || std::string_view("\"\\/bfnrt").find(letter) == std::string_view::npos) {
      return Fault("a string has an invalid escape");
    }
    at_ += 2;
    return true;
  }

  bool ScanUnicodeEscape() {
    const std::optional<uint32_t> unit = UnitAt(at_);
    if (!unit) return Fault("a string has an invalid \\u escape");
    const bool high = *unit >= 0xd800 && *unit <= 0xdbff;
    const bool low = *unit >= 0xdc00 && *unit <= 0xdfff;
    if (high) {
      const std::optional<uint32_t> next = UnitAt(at_ + 6);
      if (next && *next >= 0xdc00 && *next <= 0xdfff) {
        at_ += 12;
        return true;
      }
    }
    if (high || low) return Fault("a string has half a surrogate pair");
    at_ += 6;
    return true;
  }

  // The UTF-16 unit of the \uXXXX at `offset`.
  std::optional<uint32_t> UnitAt(size_t offset) const {
    if (json_.size() < 6 || offset > json_.size() - 6) return std::nullopt;
    if (json_.substr(offset, 2) != "\\u") return std::nullopt;
    const char* digits = json_.data() + offset + 2;
    uint32_t unit = 0;
    const auto result = std::from_chars(digits, digits + 4, unit, 16);
    if (result.ptr != digits + 4) return std::nullopt;
    return unit;
  }

  bool ScanNumber() {
    const size_t start = at_;
    Take('-');
    const bool zero = Peek() == '0';
    const size_t integer_digits = TakeDigits();
    if (integer_digits == 0) return Fault("a number lacks digits");
    if (zero && integer_digits > 1) {
      at_ = start;
      return Fault("a number has a leading zero");
    }
    bool integer = true;
    if (Take('.')) {
      integer = false;
      if (TakeDigits() == 0) return Fault("a number lacks digits");
    }
    if (Peek() == 'e' || Peek() == 'E') {
      integer = false;
      ++at_;
      if (!Take('+')) Take('-');
      if (TakeDigits() == 0) return Fault("a number lacks digits");
    }
    return CheckRange(start, integer);
  }

  size_t TakeDigits() {
    const size_t start = at_;
    while (IsDigit(Peek())) ++at_;
    return at_ - start;
  }

  bool CheckRange(size_t start, bool integer) {
    const std::string_view number = json_.substr(start, at_ - start);
    const auto fits = [&](auto result) { return result.ec == std::errc(); };
    if (integer) {
      int64_t as_int64;
      uint64_t as_uint64;
      if (fits(std::from_chars(number.data(), number.data() + number.size(), as_int64)) ||
          fits(std::from_chars(number.data(), number.data() + number.size(), as_uint64))) {
        return true;
      }
      at_ = start;
      return Fault("an integer is outside of -2^63 to 2^64-1");
    }
    double as_double;
    if (fits(std::from_chars(number.data(), number.data() + number.size(), as_double)) ||
        !IsHuge(number)) {
      return true;
    }
    at_ = start;
    return Fault("a number is beyond the range of a double");
  }

  std::string_view json_;
  const int max_nesting_;
  size_t at_ = 0;
  std::optional<JsonFault> fault_;
};

}  // namespace

std::optional<JsonFault> FindJsonFault(std::string_view json, int max_nesting) {
  return Scanner(json, max_nesting).Scan();
}

}  // namespace snakepit
