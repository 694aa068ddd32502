// The writing half of json.h.
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "src/base/quote.h"
#include "src/value/base64.h"
#include "src/value/json.h"
#include "src/value/path.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

// The escape of each byte: 0 for none, 'u' for \u00xx, else the letter after the backslash.
constexpr std::array<char, 256> MakeEscapes() {
  std::array<char, 256> escapes{};
  for (int i = 0; i < 0x20; ++i) escapes[i] = 'u';
  escapes['\b'] = 'b';
  escapes['\f'] = 'f';
  escapes['\n'] = 'n';
  escapes['\r'] = 'r';
  escapes['\t'] = 't';
  escapes['"'] = '"';
  escapes['\\'] = '\\';
  return escapes;
}
constexpr std::array<char, 256> kEscapes = MakeEscapes();

constexpr char kHexDigits[] = "0123456789abcdef";

// True if one of 8 bytes has an escape; most texts have none. A borrow between bytes can at worst
// make it true where there is none.
bool AnyEscapeIn8(const char* text) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  uint64_t word;
  std::memcpy(&word, text, sizeof word);
  const uint64_t quote = word ^ kOnes * '"';
  const uint64_t backslash = word ^ kOnes * '\\';
  return (((word - kOnes * 0x20) & ~word) | ((quote - kOnes) & ~quote) |
          ((backslash - kOnes) & ~backslash)) &
         kHighs;
}

template <typename T>
void AppendNumber(T number, std::string* out) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, number);
  out->append(buffer, result.ptr);
}

void AppendDouble(double number, std::string* out) {
  const size_t start = out->size();
  AppendNumber(number, out);
  // "1" would come back as an integer.
  if (out->find_first_of(".e", start) == std::string::npos) *out += ".0";
}

std::string_view NonFiniteName(double number) {
  return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
}

// The bits, in hexadecimal.
void AppendDoubleTag(double number, std::string* out) {
  char digits[16];
  uint64_t bits = std::bit_cast<uint64_t>(number);
  for (int i = 15; i >= 0; --i, bits >>= 4) digits[i] = kHexDigits[bits & 15];
  *out += "{\"$double\":\"";
  out->append(digits, sizeof digits);
  *out += "\"}";
}

void AppendBytesTag(const Bytes& bytes, std::string* out) {
  *out += "{\"$bytes\":\"";
  AppendBase64(bytes.data, out);
  *out += "\"}";
}

// Writes what JSON can hold, and finds the place of what it cannot.
class StrictWriter {
 public:
  StrictWriter(std::string* out, int max_nesting, JsonDialect dialect, const EncodeLimits& limits)
      : budget(limits, *out),
        out_(out),
        max_nesting_(max_nesting),
        lossless_(dialect == JsonDialect::kLossless) {}

  // false: `problem` says what, and `path` where, unless `budget` has an error.
  bool Write(const Value& value, int depth) {
    if (!budget.Holds()) return false;
    return value.Visit([&](const auto& data) { return WriteData(data, depth); });
  }

  const char* problem = "";
  FailurePath path;
  EncodeBudget budget;

 private:
  bool Problem(const char* what) {
    problem = what;
    return false;
  }

  bool WriteData(std::nullptr_t, int) {
    *out_ += "null";
    return true;
  }
  bool WriteData(bool value, int) {
    *out_ += value ? "true" : "false";
    return true;
  }
  bool WriteData(int64_t value, int) {
    AppendNumber(value, out_);
    return true;
  }
  bool WriteData(uint64_t value, int) {
    AppendNumber(value, out_);
    return true;
  }
  bool WriteData(double value, int) {
    if (std::isfinite(value)) {
      AppendDouble(value, out_);
      return true;
    }
    if (!lossless_) {
      return Problem(std::isnan(value) ? "is NaN, which JSON has no number for"
                                       : "is infinite, which JSON has no number for");
    }
    AppendDoubleTag(value, out_);
    return true;
  }
  bool WriteData(const std::string& text, int) {
    if (!IsUtf8(text)) return Problem("is a text that is not UTF-8");
    AppendJsonText(text, out_);
    return true;
  }
  bool WriteData(const Bytes& bytes, int) {
    if (!lossless_) return Problem("is bytes, which JSON cannot hold");
    AppendBytesTag(bytes, out_);
    return true;
  }

  bool WriteData(const Value::Array& array, int depth) {
    if (depth >= max_nesting_) return Problem("is nested too deeply");
    char separator = '[';
    for (size_t i = 0; i < array.size(); ++i) {
      *out_ += std::exchange(separator, ',');
      if (!Write(array[i], depth + 1)) {
        path.AddIndex(i);
        return false;
      }
    }
    *out_ += array.empty() ? "[]" : "]";
    return true;
  }

  bool WriteData(const Value::Map& map, int depth) {
    if (depth >= max_nesting_) return Problem("is nested too deeply");
    char separator = '{';
    for (const auto& [key, value] : map) {
      *out_ += std::exchange(separator, ',');
      if (!WriteKey(key, map.size() == 1) || !Write(value, depth + 1)) {
        path.AddKey(key);
        return false;
      }
    }
    *out_ += map.empty() ? "{}" : "}";
    return true;
  }

  bool WriteKey(const std::string& key, bool only) {
    if (!IsUtf8(key)) return Problem("has a key that is not UTF-8");
    if (lossless_ && only && key.starts_with('$')) {
      AppendJsonText("$" + key, out_);  // else it could read like a tag
    } else {
      AppendJsonText(key, out_);
    }
    *out_ += ':';
    return true;
  }

  std::string* out_;
  const int max_nesting_;
  const bool lossless_;
};

// Writes everything, one way or another, for people; but not on when there are `enough` bytes.
class DisplayWriter {
 public:
  explicit DisplayWriter(std::string* out, size_t enough = SIZE_MAX) : out_(out), enough_(enough) {}

  void Write(const Value& value) {
    if (out_->size() >= enough_) return;
    value.Visit([&](const auto& data) { WriteData(data); });
  }

 private:
  void WriteData(std::nullptr_t) { *out_ += "null"; }
  void WriteData(bool value) { *out_ += value ? "true" : "false"; }
  void WriteData(int64_t value) { AppendNumber(value, out_); }
  void WriteData(uint64_t value) { AppendNumber(value, out_); }
  void WriteData(double value) {
    if (std::isfinite(value)) return AppendDouble(value, out_);
    *out_ += "{\"$double\":\"";
    *out_ += NonFiniteName(value);
    *out_ += "\"}";
  }
  void WriteData(const std::string& text) { WriteText(text); }
  void WriteData(const Bytes& bytes) {
    AppendBytesTag(bytes.data.size() <= enough_ ? bytes : Bytes{bytes.data.substr(0, enough_)},
                   out_);
  }
  void WriteData(const Value::Array& array) {
    char separator = '[';
    for (const Value& value : array) {
      if (out_->size() >= enough_) return;
      *out_ += std::exchange(separator, ',');
      Write(value);
    }
    *out_ += array.empty() ? "[]" : "]";
  }
  void WriteData(const Value::Map& map) {
    char separator = '{';
    for (const auto& [key, value] : map) {
      if (out_->size() >= enough_) return;
      *out_ += std::exchange(separator, ',');
      WriteText(key);
      *out_ += ':';
      Write(value);
    }
    *out_ += map.empty() ? "{}" : "}";
  }

  void WriteText(std::string_view text) {
    text = text.substr(0, enough_);
    if (IsUtf8(text)) return AppendJsonText(text, out_);
    AppendJsonText(RepairUtf8(text), out_);
  }

  std::string* out_;
  const size_t enough_;
};

}  // namespace

Result<void> EncodeJson(const Value& value, std::string* out, std::string_view root,
                        int max_nesting, JsonDialect dialect, const EncodeLimits& limits) {
  const size_t start = out->size();
  StrictWriter writer(out, max_nesting, dialect, limits);
  if (writer.Write(value, 0)) return {};
  out->resize(start);
  if (writer.budget.error()) return Fail(Error(*writer.budget.error()));
  return Fail(ErrorCode::kInvalidArgument, writer.path.ToString(root) + " " + writer.problem);
}

void AppendJsonText(std::string_view text, std::string* out) {
  *out += '"';
  size_t plain_from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    while (text.size() - i > 8 && !AnyEscapeIn8(text.data() + i)) i += 8;
    const auto byte = static_cast<unsigned char>(text[i]);
    const char escape = kEscapes[byte];
    if (escape == 0) continue;
    out->append(text, plain_from, i - plain_from);
    plain_from = i + 1;
    *out += '\\';
    *out += escape;
    if (escape == 'u') {
      *out += "00";
      *out += kHexDigits[byte >> 4];
      *out += kHexDigits[byte & 15];
    }
  }
  out->append(text, plain_from);
  *out += '"';
}

void AppendDisplayJson(const Value& value, std::string* out) { DisplayWriter(out).Write(value); }

std::string BriefJson(const Value& value) {
  constexpr size_t kEnough = 256;
  std::string out;
  DisplayWriter(&out, kEnough + 1).Write(value);
  if (out.size() <= kEnough) return PrintableJson(std::move(out));
  return PrintableJson(std::string(Utf8Prefix(out, kEnough))) + "…";
}

}  // namespace snakepit
