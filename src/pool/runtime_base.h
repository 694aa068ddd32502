// A folder to make the folder of a pool's sockets in, by the path that a variable gives: whether it
// is safe to, and a descriptor of it, so that it is not looked up twice.
#ifndef SNAKEPIT_POOL_RUNTIME_BASE_H_
#define SNAKEPIT_POOL_RUNTIME_BASE_H_

#include <string>

#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit {

struct RuntimeBase {
  std::string path;  // without links
  UniqueFd fd;       // O_PATH
};

// Resolves the path, which may lead over links, once, and opens it folder by folder. INTERNAL when
// it cannot be opened. INVALID_ARGUMENT when it is not absolute, or not safe: a user other than
// this one and root could put something else into its place, or take away what this one makes in
// it. So it is with a folder of another user, and with one that its group or others may write to,
// unless it has the sticky bit. A group of which this user is the only member is no exception: who
// else is, or will be, no system call tells.
//
// Whoever owns / counts as root: in a user namespace that is often a user without a number of its
// own, and such users cannot be told apart there.
Result<RuntimeBase> OpenRuntimeBase(const std::string& path);

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_RUNTIME_BASE_H_
