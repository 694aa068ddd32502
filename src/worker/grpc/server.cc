#include "src/worker/grpc/server.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <thread>

#include "src/base/mutex.h"
#include "src/worker/executor.h"
#include "src/worker/grpc/service.h"

namespace snakepit {
namespace {

// Longest time that calls in flight have to end after SIGTERM.
constexpr std::chrono::seconds kDrainLimit{2};
// Longest wait for connections to close when no call is in flight. One whose client does not look
// stays open.
constexpr std::chrono::milliseconds kCloseLimit{100};

constexpr int kUnreadBytes = 128 * 1024;

// Shared with a thread that may outlive the function that waits for it.
struct Closing {
  Mutex mutex;
  CondVar changed;
  bool done ABSL_GUARDED_BY(mutex) = false;
};

}  // namespace

GrpcServer::GrpcServer(CommandService& commands, size_t max_message_bytes,
                       std::chrono::steady_clock::duration arrival_limit)
    : capacity_(commands.options.capacity),
      max_message_bytes_(max_message_bytes),
      service_(std::make_unique<GrpcService>(commands, max_message_bytes, arrival_limit)) {}

GrpcServer::~GrpcServer() = default;

Result<std::string> GrpcServer::Start(const ListenAddress& address) {
  if (!wakeup_.valid()) return Fail(ErrorCode::kInternal, "the system gives no descriptor");
  const Result<std::string> uri = GrpcListeningUri(address);
  if (!uri) return Fail(uri.error());
  const std::optional<int> port = Listen(*uri);
  if (!port) {
    return Fail(ErrorCode::kInternal,
                "cannot listen on " +
                    (address.socket_path.empty() ? *uri : AbsolutePath(address.socket_path)) +
                    ": the address is in use, or not available to this process");
  }
  if (address.socket_path.empty()) return std::to_string(*port);
  socket_path_ = AbsolutePath(address.socket_path);
  return socket_path_;
}

void GrpcServer::Run(PoolWatch& watch) {
  watch.Wait(wakeup_.fd());
  idle_ = Close();
  if (!socket_path_.empty()) unlink(socket_path_.c_str());  // in case gRPC has not
}

std::optional<int> GrpcServer::Listen(const std::string& uri) {
  grpc::ServerBuilder builder;
  const int limit = static_cast<int>(std::min<size_t>(max_message_bytes_, INT_MAX));
  builder.SetMaxReceiveMessageSize(limit);
  builder.SetMaxSendMessageSize(limit);
  // Else two servers could listen on one port, each getting half the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Further calls wait in the client.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(2 * kMaxWaitingJobs) + capacity_);
  // The transport takes in no more than this of a request that is not to be read yet. Probing would
  // let it grow to megabytes for each request.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kUnreadBytes);
  int port = 0;
  builder.AddListeningPort(uri, grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(service_.get());
  // Only this user may connect to the socket.
  const mode_t before = umask(077);
  server_ = builder.BuildAndStart();
  umask(before);
  if (server_ == nullptr) return std::nullopt;
  return port;
}

bool GrpcServer::Close() {
  // Calls end before the server stops: a server that stops cancels new RPCs without telling the
  // pool that they did not run. Until then they are refused by name: PROTOCOL.md 1.4.8.
  service_->Drain();
  const bool ended = service_->WaitForRpcs(kDrainLimit);
  // Shutdown cancels the rest. It also waits for connections, which may take until its deadline.
  const auto deadline =
      std::chrono::system_clock::now() + (ended ? kDrainLimit : std::chrono::seconds(0));
  const auto closing = std::make_shared<Closing>();
  std::thread thread([server = server_.get(), closing, deadline] {
    server->Shutdown(deadline);
    const MutexLock lock(closing->mutex);
    closing->done = true;
    closing->changed.notify_all();
  });
  {
    MutexLock lock(closing->mutex);
    if (!closing->changed.wait_for(
            lock, kCloseLimit,
            [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(closing->mutex) { return closing->done; })) {
      thread.detach();  // the process is about to end
      return false;
    }
  }
  thread.join();
  return service_->WaitForHandlers(kDrainLimit);
}

}  // namespace snakepit
