// Writes the map of a message, member by member, in either codec.
#ifndef SNAKEPIT_WIRE_MEMBER_WRITER_H_
#define SNAKEPIT_WIRE_MEMBER_WRITER_H_

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/encode_limits.h"
#include "src/value/json.h"
#include "src/wire/codec.h"
#include "src/wire/msgpack.h"

namespace snakepit {

// Both writers have the same methods. Texts must be UTF-8, and a message has at least one member.
class JsonMemberWriter {
 public:
  explicit JsonMemberWriter(std::string* out) : out_(out) {}

  void Int(std::string_view key, int64_t number) {
    Key(key);
    char buffer[20];
    out_->append(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
  }

  void Text(std::string_view key, std::string_view text) {
    Key(key);
    AppendJsonText(text, out_);
  }

  void Bool(std::string_view key, bool value) {
    Key(key);
    *out_ += value ? "true" : "false";
  }

  void Null(std::string_view key) {
    Key(key);
    *out_ += "null";
  }

  void EmptyMap(std::string_view key) {
    Key(key);
    *out_ += "{}";
  }

  // A value in the form of that version of the protocol. The errors are those of Encode; they name
  // the place from `key` on.
  Result<void> AnyValue(std::string_view key, const Value& value, int version,
                        const EncodeLimits& limits = {}) {
    Key(key);
    return EncodeJson(value, out_, key, kMaxNesting, DialectOf(version), limits);
  }

  void End() { *out_ += '}'; }

 private:
  void Key(std::string_view key) {
    *out_ += std::exchange(separator_, ',');
    AppendJsonText(key, out_);
    *out_ += ':';
  }

  std::string* out_;
  char separator_ = '{';
};

class MsgpackMemberWriter {
 public:
  // Exactly `members` members follow.
  MsgpackMemberWriter(size_t members, std::string* out) : out_(out) {
    AppendMsgpackMapHeader(members, out_);
  }

  void Int(std::string_view key, int64_t number) {
    AppendMsgpackText(key, out_);
    AppendMsgpackInt(number, out_);
  }

  void Text(std::string_view key, std::string_view text) {
    AppendMsgpackText(key, out_);
    AppendMsgpackText(text, out_);
  }

  void Bool(std::string_view key, bool value) {
    AppendMsgpackText(key, out_);
    AppendMsgpackBool(value, out_);
  }

  void Null(std::string_view key) {
    AppendMsgpackText(key, out_);
    AppendMsgpackNil(out_);
  }

  void EmptyMap(std::string_view key) {
    AppendMsgpackText(key, out_);
    AppendMsgpackMapHeader(0, out_);
  }

  // MessagePack holds every value in each version of the protocol.
  Result<void> AnyValue(std::string_view key, const Value& value, int,
                        const EncodeLimits& limits = {}) {
    AppendMsgpackText(key, out_);
    return EncodeMsgpack(value, out_, key, kMaxNesting, limits);
  }

  void End() {}

 private:
  std::string* out_;
};

// Calls `write` with the codec's writer for a message of `members` members, and returns its result.
// The codec is chosen once for the message. `write` ends with writer.End().
template <typename Write>
decltype(auto) WithMemberWriter(Codec codec, size_t members, std::string* out, Write&& write) {
  if (codec == Codec::kJson) {
    JsonMemberWriter writer(out);
    return write(writer);
  }
  MsgpackMemberWriter writer(members, out);
  return write(writer);
}

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_MEMBER_WRITER_H_
