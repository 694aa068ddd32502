#include "src/process/remove_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "src/base/open_below.h"

namespace snakepit {
namespace {

// Each level keeps a descriptor open.
constexpr int kDeepest = 8;

bool IsSelfOrParent(const char* name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

// Null if it may not be read.
DIR* List(int folder_fd) {
  const int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const entries = fd < 0 ? nullptr : fdopendir(fd);
  if (entries == nullptr && fd >= 0) close(fd);
  return entries;
}

bool Unlink(int folder_fd, const char* name, int flags) {
  return unlinkat(folder_fd, name, flags) == 0 || errno == ENOENT;
}

// False if something besides `but` is left.
bool RemoveEntries(int folder_fd, const char* but, int levels) {
  DIR* const entries = List(folder_fd);
  if (entries == nullptr) return false;
  bool removed_all = true;
  while (const dirent* entry = readdir(entries)) {
    const char* const name = entry->d_name;
    if (IsSelfOrParent(name) || strcmp(name, but) == 0 || Unlink(folder_fd, name, 0)) continue;
    const int inner =
        errno == EISDIR && levels > 0 ? OpenBelow(folder_fd, name, O_RDONLY | O_DIRECTORY) : -1;
    if (inner >= 0) {
      RemoveEntries(inner, "", levels - 1);
      close(inner);
    }
    if (inner < 0 || !Unlink(folder_fd, name, AT_REMOVEDIR)) removed_all = false;
  }
  closedir(entries);
  return removed_all;
}

}  // namespace

void EmptyRuntimeFolder(int folder_fd) {
  if (RemoveEntries(folder_fd, kRuntimeOwnerFile, kDeepest)) {
    unlinkat(folder_fd, kRuntimeOwnerFile, 0);
  }
}

void RemoveRuntimeFolder(int folder_fd) {
  EmptyRuntimeFolder(folder_fd);
  const int parent = openat(folder_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return;
  if (DIR* const entries = List(parent)) {
    while (const dirent* entry = readdir(entries)) {
      const char* const name = entry->d_name;
      if (strncmp(name, kRuntimePrefix, sizeof kRuntimePrefix - 1) != 0) continue;
      const int found = OpenBelow(parent, name, O_PATH | O_DIRECTORY);
      if (found < 0) continue;
      const bool is_it = IsSameFile(found, folder_fd);
      close(found);
      // Only an empty folder is removed.
      if (is_it && unlinkat(parent, name, AT_REMOVEDIR) == 0) break;
    }
    closedir(entries);
  }
  close(parent);
}

}  // namespace snakepit
