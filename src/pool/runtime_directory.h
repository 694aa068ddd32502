// The folder of a pool's sockets: 0700, and gone with the pool.
//
// Its owner holds a lock (flock(2)) on it, which ends with the process and its guardian however
// they end, and then puts the file `owner` into it. So a folder of that name with that file and
// without a lock is what a pool left that was killed together with its guardian, and the next pool
// removes it. systemd-tmpfiles(8) leaves a folder with a lock alone, however old it is.
#ifndef SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_
#define SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_

#include <string>

#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit {

class RuntimeDirectory {
 public:
  RuntimeDirectory() = default;
  ~RuntimeDirectory() { Remove(); }
  RuntimeDirectory(const RuntimeDirectory&) = delete;
  RuntimeDirectory& operator=(const RuntimeDirectory&) = delete;

  // In XDG_RUNTIME_DIR, TMPDIR or /tmp: the first that is usable and short enough for the path of a
  // socket (unix(7): 107 bytes), whatever the umask. INTERNAL when none is. Removes what killed
  // pools left in any of the three. A process that this one forked, and that goes on without it,
  // counts as a living owner.
  Result<void> Create();

  // Removes the folder with the files in it, if there is one.
  void Remove();

  // Whether the folder that Create made is still there, in its place.
  bool IsThere() const;

  // Empty when there is none.
  const std::string& path() const { return path_; }

  // Of the folder, with the lock; -1 when there is none.
  int fd() const { return lock_.get(); }

 private:
  std::string path_;
  UniqueFd lock_;  // the folder itself
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_
