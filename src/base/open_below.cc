#include "src/base/open_below.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace snakepit {

int OpenBelow(int folder_fd, const char* name, int flags) {
  open_how how = {};
  how.flags = static_cast<unsigned>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  const long fd = syscall(SYS_openat2, folder_fd, name, &how, sizeof how);
  // EPERM: a sandbox's answer to a system call that is newer than itself.
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(fd);
  return openat(folder_fd, name, flags | O_NOFOLLOW | O_CLOEXEC);
}

bool IsSameFile(int fd, int other_fd) {
  struct stat one = {};
  struct stat other = {};
  return fstat(fd, &one) == 0 && fstat(other_fd, &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

}  // namespace snakepit
