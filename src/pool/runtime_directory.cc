#include "src/pool/runtime_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace snakepit {
namespace {

constexpr std::string_view kPrefix = "snakepit-";
constexpr std::string_view kRandom = "XXXXXX";
constexpr char kOwnerFile[] = "owner";
// What a socket's name adds: "/", a process number of up to 20 digits, ".sock".
constexpr size_t kLongestBase = 107 - kPrefix.size() - kRandom.size() - 1 - 26;

UniqueFd OpenFolder(int base_fd, const char* name) {
  return UniqueFd(openat(base_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// `path` ends in XXXXXX. Not valid, with errno, when it cannot be made; then nothing is left of it.
UniqueFd MakeFolder(char* path) {
  if (mkdtemp(path) == nullptr) return UniqueFd();
  // The umask may have taken the owner's own rights.
  UniqueFd folder;
  if (chmod(path, 0700) == 0) folder = OpenFolder(AT_FDCWD, path);
  if (!folder.valid()) {
    const int saved = errno;
    rmdir(path);
    errno = saved;
  }
  return folder;
}

bool Lock(const UniqueFd& folder) { return flock(folder.get(), LOCK_EX | LOCK_NB) == 0; }

// By the owner of the folder, who has locked it.
void PutOwnerFile(const UniqueFd& folder) {
  const UniqueFd file(
      openat(folder.get(), kOwnerFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

bool IsOfAPool(const UniqueFd& folder) {
  struct stat status = {};
  return fstat(folder.get(), &status) == 0 && status.st_uid == geteuid() &&
         (status.st_mode & 07777) == 0700 &&
         fstatat(folder.get(), kOwnerFile, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(status.st_mode) && status.st_uid == geteuid();
}

// Removes the files; the owner's last, so that a sweep that is cut short leaves work for the next.
void Empty(const UniqueFd& folder) {
  DIR* const entries = fdopendir(fcntl(folder.get(), F_DUPFD_CLOEXEC, 0));
  if (entries == nullptr) return;
  while (const dirent* entry = readdir(entries)) {
    if (std::string_view(entry->d_name) != kOwnerFile) unlinkat(folder.get(), entry->d_name, 0);
  }
  closedir(entries);
  unlinkat(folder.get(), kOwnerFile, 0);
}

void Sweep(const char* base) {
  DIR* const entries = opendir(base);
  if (entries == nullptr) return;
  while (const dirent* entry = readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(kPrefix) || name.size() != kPrefix.size() + kRandom.size()) continue;
    const UniqueFd folder = OpenFolder(dirfd(entries), entry->d_name);
    // Once more with the lock: another sweep may have had it, and the folder be gone.
    if (!folder.valid() || !IsOfAPool(folder) || !Lock(folder) || !IsOfAPool(folder)) continue;
    Empty(folder);
    unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
  }
  closedir(entries);
}

}  // namespace

Result<void> RuntimeDirectory::Create() {
  int error = ENOENT;
  for (const char* base : {static_cast<const char*>(getenv("XDG_RUNTIME_DIR")),
                           static_cast<const char*>(getenv("TMPDIR")), "/tmp"}) {
    if (base == nullptr || *base != '/' || std::string_view(base).size() > kLongestBase) continue;
    Sweep(base);
    if (!path_.empty()) continue;
    std::string path = std::string(base) + "/" + std::string(kPrefix) + std::string(kRandom);
    UniqueFd folder = MakeFolder(path.data());
    if (!folder.valid()) {
      error = errno;
      continue;
    }
    // On a file system without locks nothing is swept.
    if (Lock(folder)) PutOwnerFile(folder);
    lock_ = std::move(folder);
    path_ = std::move(path);
  }
  if (!path_.empty()) return {};
  return Fail(
      ErrnoError("cannot make a folder for sockets in XDG_RUNTIME_DIR, TMPDIR or /tmp", error));
}

bool RuntimeDirectory::IsThere() const {
  struct stat named = {};
  struct stat made = {};
  return lock_.valid() && lstat(path_.c_str(), &named) == 0 && fstat(lock_.get(), &made) == 0 &&
         named.st_dev == made.st_dev && named.st_ino == made.st_ino;
}

void RuntimeDirectory::Remove() {
  std::error_code ignored;
  // Else it is what somebody has put in its place.
  if (IsThere()) std::filesystem::remove_all(path_, ignored);
  path_.clear();
  lock_.Reset();
}

}  // namespace snakepit
