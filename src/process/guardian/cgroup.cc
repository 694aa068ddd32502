#include "src/process/guardian/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace snakepit {
namespace {

struct Name {
  explicit Name(const Cgroup& cgroup) {
    snprintf(text, sizeof text, "snakepit-%d-%llu", static_cast<int>(cgroup.guardian),
             static_cast<unsigned long long>(cgroup.id));
  }
  char text[64];
};

}  // namespace

int MakeCgroup(const Cgroup& cgroup) {
  return mkdirat(cgroup.parent_fd, Name(cgroup).text, 0755) == 0 ? 0 : errno;
}

int WriteCgroupFile(const Cgroup& cgroup, const char* name, const char* text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", Name(cgroup).text, name);
  const int fd = openat(cgroup.parent_fd, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = write(fd, text, strlen(text)) < 0 ? errno : 0;
  close(fd);
  return error;
}

int EnterCgroup(const Cgroup& cgroup) { return WriteCgroupFile(cgroup, "cgroup.procs", "0"); }

void KillCgroup(const Cgroup& cgroup) { WriteCgroupFile(cgroup, "cgroup.kill", "1"); }

bool RemoveCgroup(const Cgroup& cgroup) {
  return unlinkat(cgroup.parent_fd, Name(cgroup).text, AT_REMOVEDIR) == 0 || errno != EBUSY;
}

}  // namespace snakepit
