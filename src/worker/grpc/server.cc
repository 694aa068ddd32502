#include "src/worker/grpc/server.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "src/worker/executor.h"
#include "src/worker/grpc/service.h"

namespace snakepit {
namespace {

// After SIGTERM, calls in progress have so long to end.
constexpr std::chrono::seconds kDrainLimit{2};
// For connections to close when no call is in progress: one whose client does not look stays open.
constexpr std::chrono::milliseconds kCloseLimit{100};

constexpr int kUnreadBytes = 128 * 1024;

// What a thread tells that may outlive whoever waits for it.
struct Closing {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

}  // namespace

GrpcServer::GrpcServer(WorkerCore& core, size_t max_message_bytes,
                       std::chrono::steady_clock::duration arrival_limit)
    : capacity_(core.options.capacity),
      max_message_bytes_(max_message_bytes),
      service_(std::make_unique<GrpcService>(core, max_message_bytes, arrival_limit)) {}

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
                    ": it is taken, or not to be had by this process");
  }
  if (address.socket_path.empty()) return std::to_string(*port);
  socket_path_ = AbsolutePath(address.socket_path);
  return socket_path_;
}

void GrpcServer::Run(PoolWatch& watch) {
  watch.Wait(wakeup_.fd());
  idle_ = Close();
  if (!socket_path_.empty()) unlink(socket_path_.c_str());  // where gRPC has not
}

std::optional<int> GrpcServer::Listen(const std::string& uri) {
  grpc::ServerBuilder builder;
  const int limit = static_cast<int>(std::min<size_t>(max_message_bytes_, INT_MAX));
  builder.SetMaxReceiveMessageSize(limit);
  builder.SetMaxSendMessageSize(limit);
  // With it two servers could both listen on one port, each getting half the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // More wait in the client.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(2 * kMaxWaitingJobs) + capacity_);
  // Of a request that is not to be read yet, the transport takes no more than this in; of others as
  // much as they have. Probing would let it grow to megabytes for each.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kUnreadBytes);
  int port = 0;
  builder.AddListeningPort(uri, grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(service_.get());
  // Of the socket: only this user may connect.
  const mode_t before = umask(077);
  server_ = builder.BuildAndStart();
  umask(before);
  if (server_ == nullptr) return std::nullopt;
  return port;
}

bool GrpcServer::Close() {
  service_->Drain();
  // Shutdown waits for connections, too, which may take until its deadline.
  const auto closing = std::make_shared<Closing>();
  std::thread thread([server = server_.get(), closing] {
    server->Shutdown(std::chrono::system_clock::now() + kDrainLimit);
    std::lock_guard lock(closing->mutex);
    closing->done = true;
    closing->changed.notify_all();
  });
  service_->WaitForRpcs(kDrainLimit);
  {
    std::unique_lock lock(closing->mutex);
    if (!closing->changed.wait_for(lock, kCloseLimit, [&] { return closing->done; })) {
      thread.detach();  // the process is about to end
      return false;
    }
  }
  thread.join();
  return service_->WaitForHandlers(kDrainLimit);
}

}  // namespace snakepit
