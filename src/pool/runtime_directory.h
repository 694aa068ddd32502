// The folder of a pool's sockets: 0700, and gone with the pool.
#ifndef SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_
#define SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_

#include <string>

#include "snakepit/error.h"

namespace snakepit {

class RuntimeDirectory {
 public:
  RuntimeDirectory() = default;
  ~RuntimeDirectory() { Remove(); }
  RuntimeDirectory(const RuntimeDirectory&) = delete;
  RuntimeDirectory& operator=(const RuntimeDirectory&) = delete;

  // In XDG_RUNTIME_DIR, TMPDIR or /tmp: the first that is usable and short enough for the path of a
  // socket (unix(7): 107 bytes). INTERNAL when none is.
  Result<void> Create();

  // Removes the folder with the files in it, if there is one.
  void Remove();

  // Empty when there is none.
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_
