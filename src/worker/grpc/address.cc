#include "src/worker/grpc/address.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "src/base/fd.h"

namespace snakepit {
namespace {

constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;

tl::unexpected<Error> CannotListen(const std::string& path, const std::string& reason) {
  return Fail(ErrorCode::kInvalidArgument, "cannot listen on " + path + ": " + reason);
}

bool SomebodyListens(const std::string& path) {
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

// gRPC reads its addresses as URIs.
std::string PercentEncoded(std::string_view path) {
  std::string encoded;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || std::strchr("/-._~", c) != nullptr) {
      encoded += c;
    } else {
      char escape[4];
      std::snprintf(escape, sizeof escape, "%%%02X", byte);
      encoded += escape;
    }
  }
  return encoded;
}

Result<void> WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) return Fail(ErrnoError("write", errno));
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.string();
}

Result<std::string> GrpcListeningUri(const ListenAddress& address) {
  if (address.socket_path.empty()) {
    const bool ipv6 = address.host.find(':') != std::string::npos;
    return (ipv6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
  }
  const std::string path = AbsolutePath(address.socket_path);
  if (path.size() > kMaxPathBytes) {
    return CannotListen(
        path, "the path of a Unix socket has at most " + std::to_string(kMaxPathBytes) + " bytes");
  }
  struct stat there {};
  if (lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return CannotListen(path, "the path exists and is no socket");
    // gRPC would take the path from it.
    if (SomebodyListens(path)) return CannotListen(path, "another server listens there");
  }
  return "unix:" + PercentEncoded(path);
}

Result<void> WriteReadyFile(int port) {
  const char* ready_file = std::getenv("SNAKEPIT_READY_FILE");
  if (ready_file == nullptr || *ready_file == '\0') return {};
  const std::string temporary = std::string(ready_file) + "." + std::to_string(getpid());
  const UniqueFd file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return Fail(ErrnoError("cannot write SNAKEPIT_READY_FILE", errno));
  if (Result<void> written = WriteAll(file.get(), std::to_string(port)); !written) return written;
  if (std::rename(temporary.c_str(), ready_file) != 0) {
    return Fail(ErrnoError("cannot write SNAKEPIT_READY_FILE", errno));
  }
  return {};
}

Result<void> Announce(int fd, const std::string& port_or_path) {
  std::string lines = "GRPC_READY:" + port_or_path + "\n";
  // All that some pools know. At once: pools look at what they get in one piece.
  if (port_or_path[0] != '/') lines += "GRPC_SERVER_READY_ON_PORT=" + port_or_path + "\n";
  return WriteAll(fd, lines);
}

}  // namespace snakepit
