#include <bit>
#include <cmath>
#include <type_traits>

#include "src/base/quote.h"
#include "src/value/memory.h"
#include "src/value/utf8.h"
#include "src/wire/msgpack.h"
#include "src/wire/msgpack_cursor.h"
#include "src/wire/msgpack_types.h"

namespace snakepit {
namespace {

using namespace msgpack;

// The double of a float's bits. A NaN keeps all of them: the processor would set one.
double WidenFloat(uint32_t bits) {
  const auto number = std::bit_cast<float>(bits);
  if (!std::isnan(number)) return number;
  const uint64_t sign = bits >> 31;
  const uint64_t fraction = bits & 0x7fffff;
  return std::bit_cast<double>(sign << 63 | UINT64_C(0x7ff) << 52 | fraction << 29);
}

bool IsListOrMap(unsigned char type) {
  return (type >= 0x80 && type < 0xa0) || (type >= kArray16 && type <= kMap32);
}

// The fault of a type that no Value has.
bool NoValue(Cursor& in, unsigned char type, size_t start) {
  const bool ext = (type >= kExt8 && type <= kExt32) || (type >= kFixExt1 && type <= kFixExt16);
  return in.Fault(ext ? "an extension type has no Value" : "the type 0xc1 does not exist", start);
}

// Takes the bytes, and then the objects, that follow a type that has a first byte of its own.
bool TakeExtent(Cursor& in, unsigned char type, size_t* bytes, size_t* objects) {
  switch (type) {
    case kBin8:
    case kStr8:
      return in.TakeLength<uint8_t>(bytes);
    case kBin16:
    case kStr16:
      return in.TakeLength<uint16_t>(bytes);
    case kBin32:
    case kStr32:
      return in.TakeLength<uint32_t>(bytes);
    case kUint8:
    case kInt8:
      *bytes = 1;
      return true;
    case kUint16:
    case kInt16:
      *bytes = 2;
      return true;
    case kFloat32:
    case kUint32:
    case kInt32:
      *bytes = 4;
      return true;
    case kFloat64:
    case kUint64:
    case kInt64:
      *bytes = 8;
      return true;
    case kArray16:
      return in.TakeLength<uint16_t>(objects);
    case kArray32:
      return in.TakeLength<uint32_t>(objects);
    case kMap16:
    case kMap32:
      if (!(type == kMap16 ? in.TakeLength<uint16_t>(objects) : in.TakeLength<uint32_t>(objects))) {
        return false;
      }
      *objects *= 2;
      return true;
    case kNil:
    case kFalse:
    case kTrue:
      return true;
    default:
      return NoValue(in, type, in.at() - 1);
  }
}

// Passes over one object, and looks only at its length.
bool PassOver(Cursor& in) {
  for (size_t objects = 1; objects > 0; --objects) {
    const size_t start = in.at();
    unsigned char type;
    if (!in.TakeNumber(&type)) return false;
    size_t bytes = 0;
    size_t inside = 0;
    if (type >= 0x80 && type < 0x90) {
      inside = 2 * (type & 0x0f);
    } else if (type >= 0x90 && type < 0xa0) {
      inside = type & 0x0f;
    } else if (type >= 0xa0 && type < 0xc0) {
      bytes = type & 0x1f;
    } else if (type >= 0xc0 && type < 0xe0) {
      if (!TakeExtent(in, type, &bytes, &inside)) return false;
    }
    std::string_view passed;
    if (!in.TakeBytes(bytes, &passed)) return false;
    objects += inside;
    if (objects > in.Remaining() + 1) {
      return in.Fault("it claims more than the message has", start);
    }
  }
  return true;
}

class Decoder {
 public:
  Decoder(std::string_view bytes, MapKeys keys, int max_nesting, const DecodeLimits& limits)
      : in_(bytes), keys_(keys), max_nesting_(max_nesting), budget_(limits) {}

  Result<Value> Decode() {
    Value value;
    if (budget_.Take(sizeof value) && DecodeValue(0, &value) && in_.CheckEnd()) return value;
    return Invalid();
  }

  Result<void> DecodeMembers(std::span<Member> members, Values values) {
    size_t length;
    if (!TakeMapHeader(&length)) return Invalid();
    for (size_t i = 0; i < length; ++i) {
      if (!DecodeMember(members, values)) return Invalid();
    }
    if (!in_.CheckEnd()) return Invalid();
    return {};
  }

 private:
  tl::unexpected<Error> Invalid() const {
    if (budget_.error()) return Fail(Error(*budget_.error()));
    return Fail(ErrorCode::kInvalidArgument,
                "invalid MessagePack: " + in_.DescribeFault() + ", in " + QuoteBytes(in_.bytes()));
  }

  // Wire is the unsigned type of the same size as Number.
  template <typename Number, typename Wire>
  bool DecodeNumber(Value* out) {
    Wire wire;
    if (!in_.TakeNumber(&wire)) return false;
    if constexpr (std::is_same_v<Number, float>) {
      *out = WidenFloat(wire);
    } else {
      *out = std::bit_cast<Number>(wire);
    }
    return true;
  }

  bool DecodeText(size_t length, Value* out) {
    const size_t start = in_.at();
    std::string_view text;
    if (!in_.TakeBytes(length, &text)) return false;
    if (IsUtf8(text)) {
      if (!budget_.Take(sizeof(std::string) + TextHeapBytes(length))) return false;
      *out = text;
    } else if (keys_ == MapKeys::kLegacy) {
      if (!budget_.Take(sizeof(Bytes) + TextHeapBytes(length))) return false;
      *out = Bytes{std::string(text)};  // PROTOCOL.md 2.2.8
    } else {
      return in_.Fault("a str is not UTF-8", start);
    }
    return true;
  }

  template <typename T>
  bool DecodeText(Value* out) {
    size_t length;
    return in_.TakeLength<T>(&length) && DecodeText(length, out);
  }

  template <typename T>
  bool DecodeBytes(Value* out) {
    size_t length;
    std::string_view data;
    if (!in_.TakeLength<T>(&length) || !in_.TakeBytes(length, &data)) return false;
    if (!budget_.Take(sizeof(Bytes) + TextHeapBytes(length))) return false;
    *out = Bytes{std::string(data)};
    return true;
  }

  bool DecodeValue(int depth, Value* out) {
    const size_t start = in_.at();
    unsigned char type;
    if (!in_.TakeNumber(&type)) return false;
    if (type < 0x80) {
      *out = static_cast<int64_t>(type);
      return true;
    }
    if (type >= 0xe0) {
      *out = static_cast<int64_t>(static_cast<int8_t>(type));
      return true;
    }
    if (type < 0x90) return DecodeMap(type & 0x0f, depth, start, out);
    if (type < 0xa0) return DecodeArray(type & 0x0f, depth, start, out);
    if (type < 0xc0) return DecodeText(type & 0x1f, out);
    return DecodeTyped(type, depth, start, out);
  }

  bool DecodeTyped(unsigned char type, int depth, size_t start, Value* out) {
    size_t length;
    switch (type) {
      case kNil:
        *out = nullptr;
        return true;
      case kFalse:
      case kTrue:
        *out = type == kTrue;
        return true;
      case kBin8:
        return DecodeBytes<uint8_t>(out);
      case kBin16:
        return DecodeBytes<uint16_t>(out);
      case kBin32:
        return DecodeBytes<uint32_t>(out);
      case kFloat32:
        return DecodeNumber<float, uint32_t>(out);
      case kFloat64:
        return DecodeNumber<double, uint64_t>(out);
      case kUint8:
        return DecodeNumber<uint8_t, uint8_t>(out);
      case kUint16:
        return DecodeNumber<uint16_t, uint16_t>(out);
      case kUint32:
        return DecodeNumber<uint32_t, uint32_t>(out);
      case kUint64:
        return DecodeNumber<uint64_t, uint64_t>(out);
      case kInt8:
        return DecodeNumber<int8_t, uint8_t>(out);
      case kInt16:
        return DecodeNumber<int16_t, uint16_t>(out);
      case kInt32:
        return DecodeNumber<int32_t, uint32_t>(out);
      case kInt64:
        return DecodeNumber<int64_t, uint64_t>(out);
      case kStr8:
        return DecodeText<uint8_t>(out);
      case kStr16:
        return DecodeText<uint16_t>(out);
      case kStr32:
        return DecodeText<uint32_t>(out);
      case kArray16:
        return in_.TakeLength<uint16_t>(&length) && DecodeArray(length, depth, start, out);
      case kArray32:
        return in_.TakeLength<uint32_t>(&length) && DecodeArray(length, depth, start, out);
      case kMap16:
        return in_.TakeLength<uint16_t>(&length) && DecodeMap(length, depth, start, out);
      case kMap32:
        return in_.TakeLength<uint32_t>(&length) && DecodeMap(length, depth, start, out);
      default:
        break;
    }
    return NoValue(in_, type, start);
  }

  bool CheckNesting(int depth, size_t start) {
    if (depth < max_nesting_) return true;
    return in_.Fault("the value is nested deeper than " + std::to_string(max_nesting_), start);
  }

  // Claimed objects are still to come, each in a byte at least. So no more objects are claimed, and
  // no more memory is reserved, than there are bytes, however the headers are nested.
  bool Claim(size_t objects) {
    claimed_ += objects;
    return claimed_ <= in_.Remaining();
  }

  bool DecodeArray(size_t length, int depth, size_t start, Value* out) {
    if (!CheckNesting(depth, start)) return false;
    if (!Claim(length)) return in_.Fault("an array claims more than the message has", start);
    if (!budget_.Take(sizeof(Value::Array)) || !budget_.Allows(length * sizeof(Value)))
      return false;
    Value::Array array;
    array.reserve(length);
    for (size_t i = 0; i < length; ++i) {
      --claimed_;
      if (!budget_.Take(sizeof(Value))) return false;
      if (!DecodeValue(depth + 1, &array.emplace_back())) return false;
    }
    *out = std::move(array);
    return true;
  }

  bool DecodeMap(size_t length, int depth, size_t start, Value* out) {
    if (!CheckNesting(depth, start)) return false;
    if (!CheckMapLength(length, start) || !budget_.Take(sizeof(Value::Map))) return false;
    Value::Map map;
    for (size_t i = 0; i < length; ++i) {
      claimed_ -= 2;
      std::string key;
      if (!DecodeKey(&key)) return false;
      if (!budget_.Take(kMapNodeBytes + TextHeapBytes(key.size()))) return false;
      // Most peers write their members in order; the hint saves the search then.
      Value& value = map.try_emplace(map.end(), std::move(key))->second;
      if (!DecodeValue(depth + 1, &value)) return false;
    }
    *out = std::move(map);
    return true;
  }

  bool DecodeKey(std::string* out) {
    const size_t start = in_.at();
    const unsigned char type = in_.Peek();
    // Nearly all are short texts, which need no Value.
    if (type >= 0xa0 && type < 0xc0) {
      in_.GoTo(start + 1);
      std::string_view text;
      if (!in_.TakeText(type & 0x1f, &text)) return false;
      *out = std::string(text);  // an assignment of the text would take more than budget_ counts
      return true;
    }
    if (IsListOrMap(type)) return NoKey(start);
    Value key;
    if (!DecodeValue(max_nesting_, &key)) return false;
    if (auto* text = key.get_if<std::string>()) {
      *out = std::move(*text);
      return true;
    }
    return keys_ == MapKeys::kLegacy ? ConvertLegacyKey(std::move(key), start, out) : NoKey(start);
  }

  bool NoKey(size_t start) {
    return in_.Fault(keys_ == MapKeys::kText ? "a map's key is not text"
                                             : "a map's key is neither text nor integer",
                     start);
  }

  bool ConvertLegacyKey(Value key, size_t start, std::string* out) {
    if (auto* bytes = key.get_if<Bytes>()) {
      if (!IsUtf8(bytes->data)) return in_.Fault("a map's key is bytes that are not UTF-8", start);
      *out = std::move(bytes->data);
    } else if (const auto* int64 = key.get_if<int64_t>()) {
      *out = std::to_string(*int64);
    } else if (const auto* uint64 = key.get_if<uint64_t>()) {
      *out = std::to_string(*uint64);
    } else {
      return NoKey(start);
    }
    return true;
  }

  // The header of the map that is the message.
  bool TakeMapHeader(size_t* length) {
    const size_t start = in_.at();
    unsigned char type;
    if (!in_.TakeNumber(&type)) return false;
    if (type >= 0x80 && type < 0x90) {
      *length = type & 0x0f;
    } else if (type == kMap16) {
      if (!in_.TakeLength<uint16_t>(length)) return false;
    } else if (type == kMap32) {
      if (!in_.TakeLength<uint32_t>(length)) return false;
    } else {
      return in_.Fault("it is no map", start);
    }
    return CheckMapLength(*length, start);
  }

  bool CheckMapLength(size_t length, size_t start) {
    return Claim(2 * length) || in_.Fault("a map claims more than the message has", start);
  }

  bool DecodeMember(std::span<Member> members, Values values) {
    claimed_ -= 2;
    std::string key;
    if (!DecodeKey(&key)) return false;
    Member* const member = FindMember(members, key);
    Value value;
    if (!DecodeMemberValue(member, values, &value)) return false;
    if (member != nullptr) member->value = std::move(value);
    return true;
  }

  // `member` is null when the reader does not want it.
  bool DecodeMemberValue(const Member* member, Values values, Value* out) {
    const bool is_field = member != nullptr && member->kind != Member::Kind::kValue;
    const unsigned char type = in_.Peek();
    if (values == Values::kPassedOver && (!is_field || IsListOrMap(type))) {
      if (is_field) *out = Value::Array();
      return PassOver(in_);
    }
    if (!budget_.Take(sizeof *out)) return false;
    return (is_field && member->kind == Member::Kind::kText && DecodeLongText(type, out)) ||
           DecodeValue(0, out);
  }

  // Takes the beginning of a text that is over the limit of Member::Kind::kText. False, and nothing
  // is taken, when the next object is no such text.
  bool DecodeLongText(unsigned char type, Value* out) {
    if (type != kStr16 && type != kStr32) return false;
    const size_t start = in_.at();
    in_.GoTo(start + 1);
    size_t length = 0;
    std::string_view text;
    if ((type == kStr16 ? in_.TakeLength<uint16_t>(&length) : in_.TakeLength<uint32_t>(&length)) &&
        length > kMostErrorTextBytes && in_.TakeBytes(length, &text) && IsUtf8(text)) {
      *out = CutText(text, kMostErrorTextBytes);
      return true;
    }
    in_.GoTo(start);
    return false;
  }

  Cursor in_;
  const MapKeys keys_;
  const int max_nesting_;
  DecodeBudget budget_;
  size_t claimed_ = 0;  // objects that the headers so far promise, and that have not come yet
};

}  // namespace

Result<Value> DecodeMsgpack(std::string_view bytes, MapKeys keys, int max_nesting,
                            const DecodeLimits& limits) {
  return OrOutOfMemory(bytes.size(),
                       [&] { return Decoder(bytes, keys, max_nesting, limits).Decode(); });
}

Result<void> DecodeMsgpackMembers(std::string_view bytes, MapKeys keys, std::span<Member> members,
                                  const DecodeLimits& limits, Values values) {
  return OrOutOfMemory(bytes.size(), [&] {
    return Decoder(bytes, keys, kMaxNesting, limits).DecodeMembers(members, values);
  });
}

}  // namespace snakepit
