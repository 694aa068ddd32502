// TCP connections to a worker that a test plays, which can be cut.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_RELAY_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_RELAY_H_

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "src/transport/grpc/testing/listener.h"

namespace snakepit::testing {

// The id that stands for no RPC at all. RFC 9113, 6.8.
inline constexpr std::string_view kGoAway(
    "\0\0\10\7\0\0\0\0\0"
    "\0\0\0\0"
    "\0\0\0\0",
    17);

class Relay {
 public:
  explicit Relay(int port) : to_{.port = port}, thread_([this] { Run(); }) {}
  ~Relay() {
    shutdown(listener_.fd(), SHUT_RDWR);
    thread_.join();
    Cut();
    for (std::thread& pump : pumps_) pump.join();
  }

  int port() const { return listener_.address().port; }

  // Ends the connections that there are.
  void Cut() {
    std::lock_guard lock(mutex_);
    for (const UniqueFd& fd : fds_) shutdown(fd.get(), SHUT_RDWR);
  }
  // Ends each connection that is made from now on, as a server does that takes no RPC.
  void Refuse() { refuses_ = true; }
  // To the client, as if the worker had sent it.
  void Say(std::string_view bytes) {
    std::lock_guard lock(mutex_);
    testing::Say(fds_.front(), bytes);
  }

 private:
  void Run() {
    for (;;) {
      UniqueFd client(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client.valid()) return;
      if (refuses_) {
        testing::Say(client, kSettings);
        testing::Say(client, kGoAway);
        shutdown(client.get(), SHUT_WR);
        std::lock_guard lock(mutex_);
        fds_.push_back(std::move(client));
        continue;
      }
      UniqueFd worker = std::move(BeginConnect(to_).value());
      std::lock_guard lock(mutex_);
      pumps_.emplace_back(Pump, client.get(), worker.get());
      pumps_.emplace_back(Pump, worker.get(), client.get());
      fds_.push_back(std::move(client));
      fds_.push_back(std::move(worker));
    }
  }

  static void Pump(int from, int to) {
    char buffer[4096];
    pollfd readable{.fd = from, .events = POLLIN, .revents = 0};
    while (poll(&readable, 1, -1) == 1) {
      const ssize_t n = read(from, buffer, sizeof buffer);
      if (n <= 0 || send(to, buffer, static_cast<size_t>(n), MSG_NOSIGNAL) < 0) break;
    }
    shutdown(to, SHUT_RDWR);
  }

  const GrpcAddress to_;
  Listener listener_;
  std::atomic<bool> refuses_ = false;
  std::mutex mutex_;
  std::vector<UniqueFd> fds_;  // of each connection the client's, then the worker's, if any
  std::vector<std::thread> pumps_;
  std::thread thread_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_RELAY_H_
