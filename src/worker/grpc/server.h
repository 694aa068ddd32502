// Serves a worker over gRPC. PROTOCOL.md 4 and 6.11. gRPC's own headers stay in the .cc.
#ifndef SNAKEPIT_WORKER_GRPC_SERVER_H_
#define SNAKEPIT_WORKER_GRPC_SERVER_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "snakepit/error.h"
#include "src/base/wakeup.h"
#include "src/worker/command_service.h"
#include "src/worker/grpc/address.h"
#include "src/worker/grpc/pool_watch.h"
#include "src/worker/grpc/read_gate.h"

namespace grpc {
class Server;
}

namespace snakepit {

class GrpcService;

class GrpcServer {
 public:
  GrpcServer(CommandService& commands, size_t max_message_bytes,
             std::chrono::steady_clock::duration arrival_limit = kArrivalLimit);
  // Waits for handlers that run.
  ~GrpcServer();

  // Begins to serve at the address. Returns the text to announce: the port, or the absolute path of
  // the socket. INVALID_ARGUMENT or INTERNAL when it cannot listen there.
  Result<std::string> Start(const ListenAddress& address);

  // Serves until Terminate, or until the watch sees that the pool is gone. Then removes the socket.
  void Run(PoolWatch& watch);

  // Lets Run return when the calls in flight have ended, or after 2 s. From any thread and from a
  // signal handler.
  void Terminate() { wakeup_.Wake(); }

  // After Run: true if no handler runs any more and every connection is closed.
  bool idle() const { return idle_; }

 private:
  // Returns the port, or 0 for a Unix socket; nothing when it cannot listen there.
  std::optional<int> Listen(const std::string& uri);
  // True when no call is in flight and all connections are closed; false when the time is over.
  bool Close();

  const int capacity_;
  const size_t max_message_bytes_;
  Wakeup wakeup_;
  std::unique_ptr<GrpcService> service_;
  std::unique_ptr<grpc::Server> server_;  // destroyed first: its threads use the service
  std::string socket_path_;
  bool idle_ = true;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_SERVER_H_
