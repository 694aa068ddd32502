#include "src/pool/runtime_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "src/base/open_below.h"
#include "src/base/quote.h"
#include "src/process/remove_folder.h"

namespace snakepit {
namespace {

constexpr std::string_view kPrefix = kRuntimePrefix;
constexpr size_t kRandomLetters = 6;
constexpr int kMostNames = 100;
// A socket's name adds "/", a process number of up to 20 digits, and ".sock".
constexpr size_t kLongestBase = 107 - kPrefix.size() - kRandomLetters - 1 - 26;

// A descriptor of this user's own folder. Not valid, with errno, when it is none.
UniqueFd OpenFolder(int base_fd, const char* name) {
  return UniqueFd(OpenBelow(base_fd, name, O_RDONLY | O_DIRECTORY));
}

Result<std::string> NewName() {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  unsigned char random[kRandomLetters];
  ssize_t got = -1;
  do {
    got = getrandom(random, sizeof random, 0);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof random) return Fail(ErrnoError("no random name can be made", errno));
  std::string name(kPrefix);
  for (const unsigned char byte : random) name += kLetters[byte % kLetters.size()];
  return name;
}

// The umask may have taken the owner's own rights. Not valid, with errno, when it cannot be opened.
UniqueFd OpenNewFolder(int base_fd, const char* name) {
  UniqueFd folder = OpenFolder(base_fd, name);
  if (!folder.valid() && errno == EACCES &&
      fchmodat(base_fd, name, 0700, AT_SYMLINK_NOFOLLOW) == 0) {
    folder = OpenFolder(base_fd, name);
  }
  struct stat status = {};
  if (!folder.valid() || fchmod(folder.get(), 0700) != 0 || fstat(folder.get(), &status) != 0) {
    return UniqueFd();
  }
  if (status.st_uid != geteuid()) {  // a file system that gives all files to one user
    errno = EPERM;
    return UniqueFd();
  }
  return folder;
}

bool Lock(const UniqueFd& folder) { return flock(folder.get(), LOCK_EX | LOCK_NB) == 0; }

// Only the owner of the folder, which has locked it, does this.
void PutOwnerFile(const UniqueFd& folder) {
  const UniqueFd file(
      openat(folder.get(), kRuntimeOwnerFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

bool IsOfAPool(const UniqueFd& folder) {
  struct stat status = {};
  return fstat(folder.get(), &status) == 0 && status.st_uid == geteuid() &&
         (status.st_mode & 07777) == 0700 &&
         fstatat(folder.get(), kRuntimeOwnerFile, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(status.st_mode) && status.st_uid == geteuid();
}

void Sweep(int base_fd) {
  const int listed = openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const entries = listed < 0 ? nullptr : fdopendir(listed);
  if (entries == nullptr) return;
  while (const dirent* entry = readdir(entries)) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(kPrefix) || name.size() != kPrefix.size() + kRandomLetters) continue;
    const UniqueFd folder = OpenFolder(base_fd, entry->d_name);
    // Once more with the lock: another sweep may have had it, and the folder be gone.
    if (!folder.valid() || !IsOfAPool(folder) || !Lock(folder) || !IsOfAPool(folder)) continue;
    EmptyRuntimeFolder(folder.get());
    unlinkat(base_fd, entry->d_name, AT_REMOVEDIR);
  }
  closedir(entries);
}

struct Candidate {
  const char* variable;  // or null
  const char* path;
};

// `TMPDIR, "/a"`.
std::string NameOf(const Candidate& candidate) {
  if (candidate.variable == nullptr) return candidate.path;
  return std::string(candidate.variable) + ", \"" + Printable(candidate.path) + '"';
}

}  // namespace

Result<void> RuntimeDirectory::Create() {
  unsafe_.clear();
  std::string reasons;
  const Candidate candidates[] = {{"XDG_RUNTIME_DIR", getenv("XDG_RUNTIME_DIR")},
                                  {"TMPDIR", getenv("TMPDIR")},
                                  {nullptr, "/tmp"}};
  for (const Candidate& candidate : candidates) {
    if (candidate.path == nullptr || *candidate.path == '\0') continue;
    auto base = OpenRuntimeBase(candidate.path);
    if (base) Sweep(base->fd.get());
    if (fd_) continue;
    const Result<void> created =
        base ? CreateIn(std::move(*base)) : Result<void>(Fail(std::move(base.error())));
    if (created) continue;
    const std::string line = NameOf(candidate) + ": " + created.error().message;
    if (created.error().code == ErrorCode::kInvalidArgument) unsafe_.push_back(line);
    reasons += line + "; ";
  }
  if (fd_) return {};
  return Fail(ErrorCode::kInternal, "there is no place for the workers' sockets: " + reasons +
                                        "set TMPDIR to a folder of this user, below none that "
                                        "another user may write to");
}

Result<void> RuntimeDirectory::CreateIn(RuntimeBase base) {
  if (base.path.size() > kLongestBase) {
    return Fail(ErrorCode::kInternal, "its path without links has " +
                                          std::to_string(base.path.size()) +
                                          " bytes, and the path of a socket leaves room for " +
                                          std::to_string(kLongestBase));
  }
  for (int tries = 0; tries < kMostNames; ++tries) {
    auto name = NewName();
    if (!name) return Fail(std::move(name.error()));
    if (mkdirat(base.fd.get(), name->c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      return Fail(ErrnoError("no folder can be made in it", errno));
    }
    UniqueFd folder = OpenNewFolder(base.fd.get(), name->c_str());
    if (!folder.valid()) {
      Error error = ErrnoError("a folder that was made in it cannot be used", errno);
      unlinkat(base.fd.get(), name->c_str(), AT_REMOVEDIR);
      return Fail(std::move(error));
    }
    // On a file system without locks nothing is swept.
    if (Lock(folder)) PutOwnerFile(folder);
    fd_ = std::make_shared<const UniqueFd>(std::move(folder));
    path_ = (base.path == "/" ? "" : base.path) + "/" + *name;
    name_ = std::move(*name);
    base_ = std::move(base);
    return {};
  }
  return Fail(ErrorCode::kInternal, "every name in it is taken");
}

bool RuntimeDirectory::IsThere() const {
  if (!fd_) return false;
  // The path is what workers are told, so the base has to be where it was.
  const UniqueFd base(open(base_.path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!base.valid() || !IsSameFile(base.get(), base_.fd.get())) return false;
  const UniqueFd named(OpenBelow(base.get(), name_.c_str(), O_PATH | O_DIRECTORY));
  return named.valid() && IsSameFile(named.get(), fd_->get());
}

void RuntimeDirectory::Remove() {
  if (!fd_) return;
  EmptyRuntimeFolder(fd_->get());
  const UniqueFd named(OpenBelow(base_.fd.get(), name_.c_str(), O_PATH | O_DIRECTORY));
  // Else it is what somebody has put in its place. Without a descriptor to spare nobody can tell,
  // and no more than an empty folder goes.
  if (named.valid() ? IsSameFile(named.get(), fd_->get()) : errno == EMFILE || errno == ENFILE) {
    unlinkat(base_.fd.get(), name_.c_str(), AT_REMOVEDIR);
  }
  path_.clear();
  name_.clear();
  fd_.reset();
  base_ = {};
}

}  // namespace snakepit
