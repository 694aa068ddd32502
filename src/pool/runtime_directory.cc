#include "src/pool/runtime_directory.h"

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "src/base/fd.h"

namespace snakepit {
namespace {

constexpr char kTemplate[] = "/snakepit-XXXXXX";
// What a socket's name adds: "/", a process number of up to 20 digits, ".sock".
constexpr size_t kLongestBase = 107 - sizeof(kTemplate) - 26;

}  // namespace

Result<void> RuntimeDirectory::Create() {
  int error = ENOENT;
  for (const char* base : {static_cast<const char*>(getenv("XDG_RUNTIME_DIR")),
                           static_cast<const char*>(getenv("TMPDIR")), "/tmp"}) {
    if (base == nullptr || *base != '/' || std::string_view(base).size() > kLongestBase) continue;
    std::string path = std::string(base) + kTemplate;
    if (mkdtemp(path.data()) != nullptr) {  // makes it 0700
      path_ = std::move(path);
      return {};
    }
    error = errno;
  }
  return Fail(
      ErrnoError("cannot make a folder for sockets in XDG_RUNTIME_DIR, TMPDIR or /tmp", error));
}

void RuntimeDirectory::Remove() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  path_.clear();
}

}  // namespace snakepit
