#include "src/pool/runtime_base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>

#include "src/base/quote.h"

namespace snakepit {
namespace {

tl::unexpected<Error> NotSafe(const std::string& folder, const std::string& why) {
  return Fail(ErrorCode::kInvalidArgument, Quoted(folder) + " " + why);
}

Result<std::string> Resolve(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), &free);
  if (resolved == nullptr) return Fail(ErrnoError("it cannot be entered", errno));
  return std::string(resolved.get());
}

Result<void> CheckFolder(const std::string& path, const struct stat& status, uid_t owner_of_root) {
  if (status.st_uid != 0 && status.st_uid != geteuid() && status.st_uid != owner_of_root) {
    return NotSafe(path, "belongs to user " + std::to_string(status.st_uid) +
                             ", who can put another folder in its place");
  }
  const mode_t writers = status.st_mode & (S_IWGRP | S_IWOTH);
  if (writers == 0 || (status.st_mode & S_ISVTX) != 0) return {};
  char mode[8];
  snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
  return NotSafe(path, std::string((writers & S_IWOTH) != 0 ? "can be written to by every user"
                                                            : "can be written to by its group") +
                           " and has no sticky bit (mode " + mode + ")");
}

}  // namespace

Result<RuntimeBase> OpenRuntimeBase(const std::string& path) {
  if (!path.starts_with('/')) return Fail(ErrorCode::kInvalidArgument, "it is no absolute path");
  auto resolved = Resolve(path);
  if (!resolved) return Fail(std::move(resolved.error()));
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  RuntimeBase base{.path = *resolved, .fd = UniqueFd(open("/", kFlags))};
  std::string folder = "/";
  uid_t owner_of_root = 0;
  for (size_t next = 1;;) {
    struct stat status = {};
    if (!base.fd.valid() || fstat(base.fd.get(), &status) != 0) {
      return Fail(ErrnoError(Quoted(folder) + " cannot be opened", errno));
    }
    if (folder == "/") owner_of_root = status.st_uid;
    if (auto safe = CheckFolder(folder, status, owner_of_root); !safe) {
      return Fail(std::move(safe.error()));
    }
    if (next >= base.path.size()) return base;
    const size_t end = std::min(base.path.find('/', next), base.path.size());
    base.fd.Reset(openat(base.fd.get(), base.path.substr(next, end - next).c_str(), kFlags));
    folder = base.path.substr(0, end);
    next = end + 1;
  }
}

}  // namespace snakepit
