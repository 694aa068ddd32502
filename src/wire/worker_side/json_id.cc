#include "src/wire/worker_side/json_id.h"

#include <charconv>
#include <cstddef>

namespace snakepit {
namespace {

// Walks over the text of a map.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool Read(JsonIdAndType* found) {
    SkipSpace();
    if (!Take('{')) return false;
    SkipSpace();
    if (Take('}')) return AtEnd();
    do {
      SkipSpace();
      const size_t key_start = at_;
      if (!SkipText()) return false;
      const std::string_view key = text_.substr(key_start, at_ - key_start);
      SkipSpace();
      if (!Take(':')) return false;
      SkipSpace();
      const size_t start = at_;
      if (!SkipValue()) return false;
      const std::string_view value = text_.substr(start, at_ - start);
      if (key == "\"id\"") found->id = ToInteger(value);
      if (key == "\"type\"") found->type = WithoutQuotes(value);
      SkipSpace();
    } while (Take(','));
    return Take('}') && AtEnd();
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

  static std::optional<int64_t> ToInteger(std::string_view digits) {
    int64_t number = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, number);
    if (error != std::errc() || rest != end) return std::nullopt;
    return number;
  }

  static std::string_view WithoutQuotes(std::string_view value) {
    return value.front() == '"' ? value.substr(1, value.size() - 2) : value;
  }

  void SkipSpace() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }

  bool AtEnd() {
    SkipSpace();
    return at_ == text_.size();
  }

  bool Take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool SkipText() {
    if (!Take('"')) return false;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }

  // Up to the comma or bracket that ends it.
  bool SkipValue() {
    size_t depth = 0;
    const size_t start = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!SkipText()) return false;
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}' || c == ']' || IsSpace(c))) break;
      if (c == '[' || c == '{') ++depth;
      if (c == ']' || c == '}') --depth;
      ++at_;
    }
    return depth == 0 && at_ > start;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

JsonIdAndType FindJsonIdAndType(std::string_view json) {
  JsonIdAndType found;
  if (!Scanner(json).Read(&found)) return {};
  return found;
}

}  // namespace snakepit
