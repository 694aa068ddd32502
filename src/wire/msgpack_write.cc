#include <bit>

#include "src/value/path.h"
#include "src/value/utf8.h"
#include "src/wire/msgpack.h"
#include "src/wire/msgpack_types.h"

namespace snakepit {
namespace {

using namespace msgpack;

constexpr uint64_t kMaxLength = UINT32_MAX;

template <typename T>
void AppendTyped(unsigned char type, T number, std::string* out) {
  char buffer[1 + sizeof(T)];
  buffer[0] = static_cast<char>(type);
  for (size_t i = 0; i < sizeof(T); ++i) {
    buffer[1 + i] = static_cast<char>(number >> (8 * (sizeof(T) - 1 - i)));
  }
  out->append(buffer, sizeof buffer);
}

void AppendByte(unsigned char byte, std::string* out) { *out += static_cast<char>(byte); }

void AppendDouble(double number, std::string* out) {
  AppendTyped(kFloat64, std::bit_cast<uint64_t>(number), out);
}

void AppendBytes(std::string_view data, std::string* out) {
  if (data.size() <= UINT8_MAX) {
    AppendTyped<uint8_t>(kBin8, data.size(), out);
  } else if (data.size() <= UINT16_MAX) {
    AppendTyped<uint16_t>(kBin16, data.size(), out);
  } else {
    AppendTyped<uint32_t>(kBin32, data.size(), out);
  }
  out->append(data);
}

class Encoder {
 public:
  Encoder(std::string* out, int max_nesting, const EncodeLimits& limits)
      : budget(limits, *out), out_(out), max_nesting_(max_nesting) {}

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

  bool CheckLength(size_t length) {
    return length <= kMaxLength || Problem("is longer than MessagePack can hold");
  }

  bool WriteData(std::nullptr_t, int) {
    AppendMsgpackNil(out_);
    return true;
  }
  bool WriteData(bool value, int) {
    AppendMsgpackBool(value, out_);
    return true;
  }
  bool WriteData(int64_t value, int) {
    AppendMsgpackInt(value, out_);
    return true;
  }
  bool WriteData(uint64_t value, int) {
    AppendMsgpackUint(value, out_);
    return true;
  }
  bool WriteData(double value, int) {
    AppendDouble(value, out_);
    return true;
  }
  bool WriteData(const std::string& text, int) {
    if (!CheckLength(text.size())) return false;
    if (!IsUtf8(text)) return Problem("is a text that is not UTF-8");
    AppendMsgpackText(text, out_);
    return true;
  }
  bool WriteData(const Bytes& bytes, int) {
    if (!CheckLength(bytes.data.size())) return false;
    AppendBytes(bytes.data, out_);
    return true;
  }

  bool WriteData(const Value::Array& array, int depth) {
    if (!CheckLength(array.size())) return false;
    if (depth >= max_nesting_) return Problem("is nested too deeply");
    AppendMsgpackArrayHeader(array.size(), out_);
    for (size_t i = 0; i < array.size(); ++i) {
      if (!Write(array[i], depth + 1)) {
        path.AddIndex(i);
        return false;
      }
    }
    return true;
  }

  bool WriteData(const Value::Map& map, int depth) {
    if (!CheckLength(map.size())) return false;
    if (depth >= max_nesting_) return Problem("is nested too deeply");
    AppendMsgpackMapHeader(map.size(), out_);
    for (const auto& [key, value] : map) {
      if (!WriteKey(key) || !Write(value, depth + 1)) {
        path.AddKey(key);
        return false;
      }
    }
    return true;
  }

  bool WriteKey(const std::string& key) {
    if (!CheckLength(key.size())) return false;
    if (!IsUtf8(key)) return Problem("has a key that is not UTF-8");
    AppendMsgpackText(key, out_);
    return true;
  }

  std::string* out_;
  const int max_nesting_;
};

}  // namespace

Result<void> EncodeMsgpack(const Value& value, std::string* out, std::string_view root,
                           int max_nesting, const EncodeLimits& limits) {
  const size_t start = out->size();
  Encoder encoder(out, max_nesting, limits);
  if (encoder.Write(value, 0)) return {};
  out->resize(start);
  if (encoder.budget.error()) return Fail(Error(*encoder.budget.error()));
  return Fail(ErrorCode::kInvalidArgument, encoder.path.ToString(root) + " " + encoder.problem);
}

void AppendMsgpackMapHeader(size_t members, std::string* out) {
  if (members < 16) {
    AppendByte(static_cast<unsigned char>(0x80 | members), out);
  } else if (members <= UINT16_MAX) {
    AppendTyped<uint16_t>(kMap16, members, out);
  } else {
    AppendTyped<uint32_t>(kMap32, members, out);
  }
}

void AppendMsgpackArrayHeader(size_t elements, std::string* out) {
  if (elements < 16) {
    AppendByte(static_cast<unsigned char>(0x90 | elements), out);
  } else if (elements <= UINT16_MAX) {
    AppendTyped<uint16_t>(kArray16, elements, out);
  } else {
    AppendTyped<uint32_t>(kArray32, elements, out);
  }
}

void AppendMsgpackText(std::string_view text, std::string* out) {
  if (text.size() < 32) {
    AppendByte(static_cast<unsigned char>(0xa0 | text.size()), out);
  } else if (text.size() <= UINT8_MAX) {
    AppendTyped<uint8_t>(kStr8, text.size(), out);
  } else if (text.size() <= UINT16_MAX) {
    AppendTyped<uint16_t>(kStr16, text.size(), out);
  } else {
    AppendTyped<uint32_t>(kStr32, text.size(), out);
  }
  out->append(text);
}

void AppendMsgpackUint(uint64_t number, std::string* out) {
  if (number < 0x80) {
    AppendByte(static_cast<unsigned char>(number), out);
  } else if (number <= UINT8_MAX) {
    AppendTyped<uint8_t>(kUint8, number, out);
  } else if (number <= UINT16_MAX) {
    AppendTyped<uint16_t>(kUint16, number, out);
  } else if (number <= UINT32_MAX) {
    AppendTyped<uint32_t>(kUint32, number, out);
  } else {
    AppendTyped<uint64_t>(kUint64, number, out);
  }
}

void AppendMsgpackInt(int64_t number, std::string* out) {
  if (number >= 0) return AppendMsgpackUint(static_cast<uint64_t>(number), out);
  const auto bits = static_cast<uint64_t>(number);
  if (number >= -32) {
    AppendByte(static_cast<unsigned char>(bits), out);
  } else if (number >= INT8_MIN) {
    AppendTyped<uint8_t>(kInt8, bits, out);
  } else if (number >= INT16_MIN) {
    AppendTyped<uint16_t>(kInt16, bits, out);
  } else if (number >= INT32_MIN) {
    AppendTyped<uint32_t>(kInt32, bits, out);
  } else {
    AppendTyped<uint64_t>(kInt64, bits, out);
  }
}

void AppendMsgpackBool(bool value, std::string* out) { AppendByte(value ? kTrue : kFalse, out); }

void AppendMsgpackNil(std::string* out) { AppendByte(kNil, out); }

}  // namespace snakepit
