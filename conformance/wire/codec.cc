#include "conformance/wire/codec.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <msgpack.hpp>
#include <set>
#include <vector>

namespace snakepit::conformance {
namespace {

// PROTOCOL.md 0.6, with room for the message itself and for a tag.
constexpr int kMaxDepth = 66;
constexpr size_t kMaxShown = 200;

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

tl::unexpected<Error> Bad(std::string why) {
  return Fail(ErrorCode::kProtocolError, std::move(why));
}

// RFC 4648, 4, with padding.
std::string ToBase64(const std::vector<uint8_t>& bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = bytes.size() - i;
    const uint32_t group = uint32_t{bytes[i]} << 16 | (left > 1 ? uint32_t{bytes[i + 1]} << 8 : 0) |
                           (left > 2 ? uint32_t{bytes[i + 2]} : 0);
    text += kBase64[group >> 18];
    text += kBase64[group >> 12 & 63];
    text += left > 1 ? kBase64[group >> 6 & 63] : '=';
    text += left > 2 ? kBase64[group & 63] : '=';
  }
  return text;
}

// Takes nothing but what ToBase64 writes: no other alphabet, no bits left over.
Result<Json> FromBase64(const std::string& text) {
  std::vector<uint8_t> bytes;
  uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    const size_t digit = kBase64.find(c);
    if (digit == std::string_view::npos) break;
    group = group << 6 | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<uint8_t>(group >> bits & 255));
  }
  if (ToBase64(bytes) != text) return Bad("$bytes is no base64 of RFC 4648: " + Show(text));
  return Json::binary(std::move(bytes));
}

std::string ToHex(double value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(std::bit_cast<uint64_t>(value)));
  return text;
}

Result<Json> FromHex(const std::string& text) {
  if (text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos) {
    const auto value = std::bit_cast<double>(uint64_t{std::stoull(text, nullptr, 16)});
    if (!std::isfinite(value)) return Json(value);
  }
  return Bad("$double is not the bits of a NaN or an infinity: " + Show(text));
}

Result<Json> DecodeJson(std::string_view payload) {
  if (payload.starts_with("\xef\xbb\xbf")) return Bad("JSON begins with a byte order mark");
  std::vector<std::set<std::string>> maps;
  std::string twice;
  bool is_twice = false;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) maps.emplace_back();
    if (event == Json::parse_event_t::object_end) maps.pop_back();
    if (event == Json::parse_event_t::key && !maps.back().insert(parsed).second) {
      is_twice = true;
      twice = parsed;
    }
    return true;
  };
  try {
    Json value = Json::parse(payload.begin(), payload.end(), watch);
    if (is_twice) return Bad("a map has the member " + Show(twice) + " twice");
    return value;
  } catch (const Json::exception& error) {
    return Bad(std::string("no JSON: ") + error.what());
  }
}

bool IsUtf8(std::string_view text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

Result<Json> FromMsgpack(const msgpack::object& object) {
  using msgpack::type::object_type;
  switch (object.type) {
    case object_type::NIL:
      return Json();
    case object_type::BOOLEAN:
      return Json(object.via.boolean);
    case object_type::POSITIVE_INTEGER:
      return Json(object.via.u64);
    case object_type::NEGATIVE_INTEGER:
      return Json(object.via.i64);
    case object_type::FLOAT32:
    case object_type::FLOAT64:
      return Json(object.via.f64);
    case object_type::STR: {
      const std::string_view text(object.via.str.ptr, object.via.str.size);
      if (!IsUtf8(text)) return Bad("a str is not UTF-8");
      return Json(text);
    }
    case object_type::BIN:
      return BytesValue({object.via.bin.ptr, object.via.bin.size});
    case object_type::ARRAY: {
      Json array = Json::array();
      for (const msgpack::object& element : object.via.array) {
        Result<Json> value = FromMsgpack(element);
        if (!value) return value;
        array.push_back(std::move(*value));
      }
      return array;
    }
    case object_type::MAP: {
      Json map = Json::object();
      for (const msgpack::object_kv& member : object.via.map) {
        const Result<Json> key = FromMsgpack(member.key);
        if (!key) return key;
        if (!key->is_string()) return Bad("the key of a map is no text, but " + Show(*key));
        Result<Json> value = FromMsgpack(member.val);
        if (!value) return value;
        if (!map.emplace(*key, std::move(*value)).second) {
          return Bad("a map has the member " + Show(*key) + " twice");
        }
      }
      return map;
    }
    default:
      return Bad("MessagePack with an extension");
  }
}

Result<Json> DecodeMsgpack(std::string_view payload) {
  try {
    size_t used = 0;
    // No more memory than the bytes that are there can stand for.
    const size_t most = payload.size();
    const msgpack::object_handle handle =
        msgpack::unpack(payload.data(), payload.size(), used, nullptr, nullptr,
                        msgpack::unpack_limit(most, most, most, most, most, kMaxDepth));
    if (used != payload.size()) {
      return Bad(std::to_string(payload.size() - used) + " bytes after the one MessagePack value");
    }
    return FromMsgpack(handle.get());
  } catch (const std::exception& error) {
    return Bad(std::string("no MessagePack: ") + error.what());
  }
}

// msgpack-cxx writes a double without a fraction as an integer, and -0.0 as 0.
void PackDouble(msgpack::sbuffer& buffer, double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  char bytes[9] = {'\xcb'};
  for (int i = 0; i < 8; ++i) bytes[1 + i] = static_cast<char>(bits >> (56 - 8 * i) & 255);
  buffer.write(bytes, sizeof bytes);
}

void Pack(msgpack::sbuffer& buffer, const Json& value) {
  msgpack::packer<msgpack::sbuffer> packer(buffer);
  switch (value.type()) {
    case Json::value_t::boolean:
      packer.pack(value.get<bool>());
      return;
    case Json::value_t::number_integer:
      packer.pack(value.get<int64_t>());
      return;
    case Json::value_t::number_unsigned:
      packer.pack(value.get<uint64_t>());
      return;
    case Json::value_t::number_float:
      PackDouble(buffer, value.get<double>());
      return;
    case Json::value_t::string:
      packer.pack(value.get_ref<const std::string&>());
      return;
    case Json::value_t::binary: {
      const auto& bytes = value.get_binary();
      packer.pack_bin(static_cast<uint32_t>(bytes.size()));
      packer.pack_bin_body(reinterpret_cast<const char*>(bytes.data()),
                           static_cast<uint32_t>(bytes.size()));
      return;
    }
    case Json::value_t::array:
      packer.pack_array(static_cast<uint32_t>(value.size()));
      for (const Json& element : value) Pack(buffer, element);
      return;
    case Json::value_t::object:
      packer.pack_map(static_cast<uint32_t>(value.size()));
      for (const auto& [key, member] : value.items()) {
        packer.pack(key);
        Pack(buffer, member);
      }
      return;
    default:
      packer.pack_nil();
  }
}

bool IsOneDollar(const std::string& key) { return key.starts_with("$") && !key.starts_with("$$"); }

Result<Json> UntaggedAt(const Json& value, int depth) {
  if (depth > kMaxDepth) return Bad("values nest more than 64 deep");
  if (value.is_array()) {
    Json array = Json::array();
    for (const Json& element : value) {
      Result<Json> inner = UntaggedAt(element, depth + 1);
      if (!inner) return inner;
      array.push_back(std::move(*inner));
    }
    return array;
  }
  if (!value.is_object()) return value;
  if (value.size() == 1) {
    const std::string& key = value.begin().key();
    const Json& member = value.front();
    if (key == "$bytes" && member.is_string()) return FromBase64(member);
    if (key == "$double" && member.is_string()) return FromHex(member);
    if (IsOneDollar(key)) return Bad("no tag: " + Show(value));
  }
  Json map = Json::object();
  for (const auto& [key, member] : value.items()) {
    Result<Json> inner = UntaggedAt(member, depth + 1);
    if (!inner) return inner;
    const bool is_escaped = value.size() == 1 && key.starts_with("$$");
    map[is_escaped ? key.substr(1) : key] = std::move(*inner);
  }
  return map;
}

}  // namespace

std::string_view FormatName(Format format) { return format == Format::kJson ? "json" : "msgpack"; }

Result<Json> Decode(Format format, std::string_view payload) {
  return format == Format::kJson ? DecodeJson(payload) : DecodeMsgpack(payload);
}

std::string Encode(Format format, const Json& message) {
  if (format == Format::kJson) return message.dump();
  msgpack::sbuffer buffer;
  Pack(buffer, message);
  return {buffer.data(), buffer.size()};
}

Json Tagged(const Json& value) {
  if (value.is_binary()) return {{"$bytes", ToBase64(value.get_binary())}};
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    return {{"$double", ToHex(value)}};
  }
  if (value.is_array()) {
    Json array = Json::array();
    for (const Json& element : value) array.push_back(Tagged(element));
    return array;
  }
  if (!value.is_object()) return value;
  Json map = Json::object();
  for (const auto& [key, member] : value.items()) {
    const bool is_escaped = value.size() == 1 && key.starts_with("$");
    map[is_escaped ? "$" + key : key] = Tagged(member);
  }
  return map;
}

Result<Json> Untagged(const Json& value) { return UntaggedAt(value, 0); }

Json BytesValue(std::string_view bytes) {
  return Json::binary(std::vector<uint8_t>(bytes.begin(), bytes.end()));
}

bool AreSame(const Json& a, const Json& b) {
  if (a.is_number_integer() && b.is_number_integer()) return a == b;  // signed and unsigned, too
  if (a.type() != b.type()) return false;
  if (a.is_number_float()) {
    return std::bit_cast<uint64_t>(a.get<double>()) == std::bit_cast<uint64_t>(b.get<double>());
  }
  if (!a.is_structured()) return a == b;
  if (a.size() != b.size()) return false;
  for (auto left = a.begin(), right = b.begin(); left != a.end(); ++left, ++right) {
    if (a.is_object() && left.key() != right.key()) return false;
    if (!AreSame(*left, *right)) return false;
  }
  return true;
}

std::string Show(const Json& value) {
  std::string text = Tagged(value).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kMaxShown) return text;
  size_t end = kMaxShown;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // between characters
  return text.substr(0, end) + "… (" + std::to_string(text.size()) + " bytes)";
}

}  // namespace snakepit::conformance
