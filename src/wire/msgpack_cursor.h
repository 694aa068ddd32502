// The place of a reader in MessagePack bytes, and the first fault that it found there.
#ifndef SNAKEPIT_WIRE_MSGPACK_CURSOR_H_
#define SNAKEPIT_WIRE_MSGPACK_CURSOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "src/value/utf8.h"

namespace snakepit::msgpack {

// Takes numbers and bytes, and knows no types. Each method that returns a bool and fails has noted
// the fault.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}

  std::string_view bytes() const { return bytes_; }
  size_t at() const { return at_; }
  void GoTo(size_t at) { at_ = at; }
  size_t Remaining() const { return bytes_.size() - at_; }
  // The next byte, which is not taken; 0 at the end.
  unsigned char Peek() const {
    return static_cast<unsigned char>(at_ < bytes_.size() ? bytes_[at_] : '\0');
  }

  // A big-endian number of the type's size.
  template <typename T>
  bool TakeNumber(T* number) {
    if (Remaining() < sizeof(T)) return Fault("the message ends early", bytes_.size());
    T result = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      result = static_cast<T>(uint64_t{result} << 8 | static_cast<unsigned char>(bytes_[at_ + i]));
    }
    at_ += sizeof(T);
    *number = result;
    return true;
  }

  // A length that is written as a number of type T.
  template <typename T>
  bool TakeLength(size_t* length) {
    T number;
    if (!TakeNumber(&number)) return false;
    *length = number;
    return true;
  }

  bool TakeBytes(size_t length, std::string_view* out) {
    if (Remaining() < length) return Fault("the message ends early", bytes_.size());
    *out = bytes_.substr(at_, length);
    at_ += length;
    return true;
  }

  bool TakeText(size_t length, std::string_view* out) {
    const size_t start = at_;
    return TakeBytes(length, out) && (IsUtf8(*out) || Fault("a str is not UTF-8", start));
  }

  bool CheckEnd() {
    return at_ == bytes_.size() || Fault("something follows the MessagePack object", at_);
  }

  // Notes the fault, and is false.
  bool Fault(std::string what, size_t at) {
    fault_ = std::move(what);
    fault_at_ = at;
    return false;
  }
  std::string DescribeFault() const { return fault_ + " at byte " + std::to_string(fault_at_); }

 private:
  const std::string_view bytes_;
  size_t at_ = 0;
  std::string fault_;
  size_t fault_at_ = 0;
};

}  // namespace snakepit::msgpack

#endif  // SNAKEPIT_WIRE_MSGPACK_CURSOR_H_
