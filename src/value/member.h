// A member of a message that its reader wants.
#ifndef SNAKEPIT_VALUE_MEMBER_H_
#define SNAKEPIT_VALUE_MEMBER_H_

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>

#include "snakepit/value.h"

namespace snakepit {

// Messages are decoded into an array of these, without a Value::Map of the whole.
struct Member {
  enum class Kind {
    kField,  // a part of the message
    kText,   // a part of it that is for people: a long text is cut to kMostErrorTextBytes (CutText)
    kValue,  // a value of PROTOCOL.md 0.6: `args`, `result` or `chunk`
  };

  std::string_view name;
  Kind kind = Kind::kField;
  std::optional<Value> value = std::nullopt;  // absent: the message has no such member

  // A pointer to the content, or nullptr when it is absent or of another kind.
  template <typename T>
  T* get_if() {
    return value ? value->get_if<T>() : nullptr;
  }
};

// Treatment of the members of Kind::kValue.
enum class Values {
  kDecoded,
  // They are null where they are there. The purpose of the message can then be told quickly, and in
  // little memory, from the other members. Members that the reader does not want are skipped, too.
  // No other member should be a list or a map; one that is becomes an empty list.
  kPassedOver,
};

// The member of that name, or nullptr when the reader does not want it.
inline Member* FindMember(std::span<Member> members, std::string_view name) {
  const auto it = std::find_if(members.begin(), members.end(),
                               [name](const Member& member) { return member.name == name; });
  return it == members.end() ? nullptr : &*it;
}

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_MEMBER_H_
