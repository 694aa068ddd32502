// A server that a test plays by hand: a listening socket, in this process.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_LISTENER_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_LISTENER_H_

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "src/base/fd.h"
#include "src/transport/grpc/address.h"

namespace snakepit::testing {

// The first frame of a server that speaks HTTP/2.
inline constexpr std::string_view kSettings("\0\0\0\4\0\0\0\0\0", 9);

inline void Require(bool condition) {
  if (!condition) abort();
}

class Listener {
 public:
  // On a port of 127.0.0.1 that is free; `family` AF_INET6: of all addresses, IPv4's too.
  explicit Listener(int family = AF_INET, int port = 0)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    Require(setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    auto* const any = reinterpret_cast<sockaddr*>(&storage);
    auto* const ipv4 = reinterpret_cast<sockaddr_in*>(&storage);
    storage.ss_family = static_cast<sa_family_t>(family);
    ipv4->sin_port = htons(static_cast<uint16_t>(port));  // where IPv6 has it, too
    if (family == AF_INET) ipv4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Require(bind(fd_.get(), any, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) ==
            0);
    Require(listen(fd_.get(), 16) == 0);
    Require(getsockname(fd_.get(), any, &size) == 0);
    address_.port = ntohs(ipv4->sin_port);
  }

  explicit Listener(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    Require(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    unlink(path.c_str());
    Require(bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    Require(listen(fd_.get(), 16) == 0);
    address_.socket_path = path;
  }

  ~Listener() {
    if (!address_.socket_path.empty()) unlink(address_.socket_path.c_str());
  }

  const GrpcAddress& address() const { return address_; }
  int fd() const { return fd_.get(); }

  UniqueFd Accept() {
    UniqueFd accepted(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Require(accepted.valid());
    return accepted;
  }

 private:
  const UniqueFd fd_;
  GrpcAddress address_;
};

inline void Say(const UniqueFd& fd, std::string_view bytes) {
  Require(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
}

// All that comes until the other side closes.
inline std::string HearAll(const UniqueFd& fd) {
  std::string heard;
  char buffer[4096];
  for (ssize_t n; (n = read(fd.get(), buffer, sizeof buffer)) > 0;) {
    heard.append(buffer, static_cast<size_t>(n));
  }
  return heard;
}

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_LISTENER_H_
