// The start of a worker that serves gRPC, from its process to a connection that is known to be with
// it, and on which HTTP/2 is spoken. PROTOCOL.md 4.2.
#ifndef SNAKEPIT_TRANSPORT_GRPC_PROBE_H_
#define SNAKEPIT_TRANSPORT_GRPC_PROBE_H_

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/fd.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/address.h"
#include "src/transport/grpc/peer_check.h"
#include "src/transport/grpc/worker_files.h"

namespace snakepit {

// The kind of server, by its first bytes.
enum class ServerOpening {
  kHttp2,   // a whole header of a SETTINGS frame
  kTooFew,  // the beginning of one
  kOther,
};
ServerOpening OpeningOf(std::string_view bytes);

// Tries to connect until somebody accepts who is the worker and speaks HTTP/2: whenever something
// was announced, and from time to time. Sends nothing on the connection that it gives. The address
// may be unknown at first, and may be corrected by an announcement. All on the io thread.
class GrpcProbe : public std::enable_shared_from_this<GrpcProbe> {
 public:
  using Serves = std::function<void(const GrpcAddress&, UniqueFd)>;

  // `ready_file` is one in the folder.
  GrpcProbe(asio::io_context& io, std::optional<GrpcAddress> address, WorkerFolder folder,
            std::string ready_file)
      : timer_(io),
        connection_(io),
        address_(std::move(address)),
        folder_(std::move(folder)),
        ready_file_(std::move(ready_file)) {}

  // One of the two is called, once, unless Stop is called before: START_TIMEOUT, or START_FAILED
  // when it is somebody else, or no gRPC server, that listens.
  void Start(std::shared_ptr<const GrpcPeerCheck> check, SteadyTime deadline, Serves serves,
             std::function<void(Error)> failed);

  // The announcement in a line of stdout.
  void Announce(Result<GrpcAddress> address);

  void Stop();

 private:
  void Try();
  void Tick();
  // With a look at the connection that there is, or with the next one.
  void GoOn();
  void TickLater(std::chrono::milliseconds wait);
  bool IsConnected() const { return connection_.is_open() || asking_.valid(); }
  // Looks at what has come on the connection.
  void Look();
  // Speaks first, on a connection for that alone, and looks at what has come on it.
  void Ask();
  void LookAtAnswer();
  void Close(const char* why);
  void FailWith(Error error);
  std::string WhatIsMissing() const;

  asio::steady_timer timer_;
  asio::posix::stream_descriptor connection_;
  UniqueFd asking_;        // a connection on which the pool has spoken first
  bool answers_ = false;   // HTTP/2, on that
  int silent_ticks_ = 0;   // of the connection
  int refusals_ = 0;       // connections that did not seem to be with the worker
  std::string unseen_;     // why it could not be told with whom it is
  const char* last_ = "";  // the end of the connection before
  std::optional<GrpcAddress> address_;
  std::optional<GrpcAddress> tried_;  // the address of the connection
  const WorkerFolder folder_;
  const std::string ready_file_;
  std::shared_ptr<const GrpcPeerCheck> check_;
  SteadyTime deadline_;
  Serves serves_;
  std::function<void(Error)> failed_;
  std::chrono::milliseconds retry_{0};
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_PROBE_H_
