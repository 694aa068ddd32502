#include "src/transport/grpc/worker_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>

#include "src/base/fd.h"
#include "src/base/open_below.h"

namespace snakepit {
namespace {

// Bytes read from the file: blanks, five digits and a line's end fit many times.
constexpr size_t kReadyFileBytes = 64;

bool IsOfThisUser(const struct stat& status) {
  return status.st_uid == geteuid() || status.st_uid == 0;
}

std::string KindOf(mode_t mode) {
  if (S_ISREG(mode)) return "a file of another user";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISDIR(mode)) return "a folder";
  return "a device";
}

// The first word of it.
std::string_view FirstWord(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_first_of(kBlanks, begin) - begin);
}

}  // namespace

std::optional<int> ParsePort(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port >= 1 && port <= 65535 ? std::optional(port) : std::nullopt;
}

ReadyFile ReadReadyFile(const WorkerFolder& folder, const std::string& name) {
  if (!folder.fd) return {};
  // Not opened for reading before it is known what it is: the opening of a device can act.
  const UniqueFd found(OpenBelow(folder.fd->get(), name.c_str(), O_PATH));
  struct stat status = {};
  if (!found.valid() || fstat(found.get(), &status) != 0) {
    return {.port = {}, .fault = errno == ENOENT ? "" : ErrnoMessage(errno)};
  }
  if (S_ISLNK(status.st_mode)) return {.port = {}, .fault = "a symbolic link"};
  if (!S_ISREG(status.st_mode) || !IsOfThisUser(status)) {
    return {.port = {}, .fault = KindOf(status.st_mode)};
  }
  // It may be another by now, but not for long in the way: a lease on a file blocks no O_NONBLOCK.
  const UniqueFd file(OpenBelow(folder.fd->get(), name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY));
  if (!file.valid() || !IsSameFile(file.get(), found.get())) return {};
  char text[kReadyFileBytes];
  const ssize_t size = pread(file.get(), text, sizeof text, 0);
  if (size <= 0) return {};
  return {.port = ParsePort(FirstWord({text, static_cast<size_t>(size)})), .fault = ""};
}

void AllowOwner(const WorkerFolder& folder, const std::string& path) {
  const size_t slash = path.rfind('/');
  if (!folder.fd || slash == std::string::npos || path.substr(0, slash) != folder.path) return;
  const UniqueFd found(OpenBelow(folder.fd->get(), path.c_str() + slash + 1, O_PATH));
  struct stat status = {};
  if (!found.valid() || fstat(found.get(), &status) != 0) return;
  if (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid()) return;
  // Not fchmod(2), which refuses a descriptor of O_PATH.
  const std::string itself = "/proc/self/fd/" + std::to_string(found.get());
  (void)chmod(itself.c_str(), (status.st_mode & 07777) | S_IRUSR | S_IWUSR);
}

}  // namespace snakepit
