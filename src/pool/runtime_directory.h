// The folder of a pool's sockets: 0700, and gone with the pool.
//
// Its owner holds a lock (flock(2)) on it, which ends with the process and its guardian however
// they end, and then puts the file `owner` into it. So a folder of that name with that file and
// without a lock is what a pool left that was killed together with its guardian, and the next pool
// removes it. systemd-tmpfiles(8) leaves a folder with a lock alone, however old it is.
//
// It is made where no other user can put something else into its place (runtime_base.h), and made,
// locked and removed by descriptor, without following a link.
#ifndef SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_
#define SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "snakepit/error.h"
#include "src/base/fd.h"
#include "src/pool/runtime_base.h"

namespace snakepit {

class RuntimeDirectory {
 public:
  RuntimeDirectory() = default;
  ~RuntimeDirectory() { Remove(); }
  RuntimeDirectory(const RuntimeDirectory&) = delete;
  RuntimeDirectory& operator=(const RuntimeDirectory&) = delete;

  // Makes the folder in XDG_RUNTIME_DIR, TMPDIR or /tmp: in the first that is safe, usable, and
  // short enough for the path of a socket (unix(7): 107 bytes), whatever the umask. INTERNAL, with
  // the fault of each, when none is. Removes the folders that killed pools left in any of the
  // three. A process that this one forked, and that goes on without it, counts as a living owner.
  Result<void> Create();

  // Removes the folder with the files in it, if there is one.
  void Remove();

  // True if the folder that Create made is still in its place.
  bool IsThere() const;

  // Empty when there is none.
  const std::string& path() const { return path_; }

  // The folder's descriptor, with the lock; null when there is none. Its holder reaches the
  // folder's own files, whatever becomes of the path, and has a share in the lock.
  const std::shared_ptr<const UniqueFd>& fd() const { return fd_; }

  // The unsafe ones among the places that Create passed over: `TMPDIR, "/a": why`.
  const std::vector<std::string>& unsafe() const { return unsafe_; }

 private:
  Result<void> CreateIn(RuntimeBase base);

  RuntimeBase base_;
  std::string name_;  // a name within the base
  std::string path_;
  std::shared_ptr<const UniqueFd> fd_;
  std::vector<std::string> unsafe_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_RUNTIME_DIRECTORY_H_
