// Writes the map of a message, member by member, in either codec.
#ifndef SNAKEPIT_SRC_WIRE_MEMBER_WRITER_H_
#define SNAKEPIT_SRC_WIRE_MEMBER_WRITER_H_

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "snakepit/adapter.h"
#include "src/value/json.h"
#include "src/wire/msgpack.h"

namespace snakepit {

// Texts must be UTF-8.
class MemberWriter {
 public:
  // Exactly `members` members, at least one, are to follow, and then End().
  MemberWriter(Codec codec, size_t members, std::string* out) : codec_(codec), out_(out) {
    if (codec_ == Codec::kMessagePack) AppendMsgpackMapHeader(members, out_);
  }

  // The value is to be appended to the same string.
  void Key(std::string_view key) {
    if (codec_ == Codec::kMessagePack) return AppendMsgpackText(key, out_);
    *out_ += std::exchange(separator_, ',');
    AppendJsonText(key, out_);
    *out_ += ':';
  }

  void Int(std::string_view key, int64_t number) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackInt(number, out_);
    char buffer[20];
    out_->append(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
  }

  void Text(std::string_view key, std::string_view text) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackText(text, out_);
    AppendJsonText(text, out_);
  }

  void Bool(std::string_view key, bool value) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackBool(value, out_);
    *out_ += value ? "true" : "false";
  }

  void Null(std::string_view key) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackNil(out_);
    *out_ += "null";
  }

  void EmptyMap(std::string_view key) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackMapHeader(0, out_);
    *out_ += "{}";
  }

  void End() {
    if (codec_ == Codec::kJson) *out_ += '}';
  }

 private:
  const Codec codec_;
  std::string* out_;
  char separator_ = '{';
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WIRE_MEMBER_WRITER_H_
