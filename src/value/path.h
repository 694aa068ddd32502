// Names the place inside a Value where encoding it failed.
#ifndef SNAKEPIT_VALUE_PATH_H_
#define SNAKEPIT_VALUE_PATH_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace snakepit {

// An encoder that fails adds the member or element that it was in, on its way out of the recursion:
// the innermost first. So the path costs nothing unless the encoder fails.
class FailurePath {
 public:
  // ".key", or "[\"odd key\"]" when the key is no plain word, or a long one.
  void AddKey(std::string_view key);
  // "[3]".
  void AddIndex(size_t index) { path_.insert(0, "[" + std::to_string(index) + "]"); }

  // "args.items[3].x" for the root "args".
  std::string ToString(std::string_view root) const { return std::string(root) + path_; }

 private:
  std::string path_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_PATH_H_
