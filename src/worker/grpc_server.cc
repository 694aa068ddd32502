#include "src/worker/grpc_server.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "proto/snakepit.grpc.pb.h"
#include "src/value/json.h"
#include "src/wire/handshake.h"
#include "src/wire/msgpack.h"
#include "src/wire/proto_map.h"
#include "src/worker/executor.h"
#include "src/worker/result_map.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// After SIGTERM, calls in progress have so long to end.
constexpr std::chrono::seconds kDrainLimit{2};
// For connections to close when no call is in progress: one whose client does not look stays open.
constexpr std::chrono::milliseconds kCloseLimit{100};

int64_t NanosecondsSinceEpoch() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// In a time that depends on the length of the received text alone.
bool SameText(std::string_view expected, std::string_view received) {
  unsigned char difference = expected.size() != received.size();
  for (size_t i = 0; i < received.size(); ++i) {
    difference |= static_cast<unsigned char>(received[i] ^ expected[i % expected.size()]);
  }
  return difference == 0;
}

// Puts a result or chunk in its place in the reply. 4.3 or 6.11.3.
Result<void> EncodeInto(const Value& value, bool typed, std::string* typed_field, ProtoMap* map) {
  if (!typed) return EncodeResultMap(value, map);
  typed_field->clear();
  Result<void> encoded = EncodeMsgpack(value, typed_field, "result");
  if (!encoded) encoded.error().code = ErrorCode::kHandlerFailed;
  return encoded;
}

Error TooLarge(size_t size, size_t limit) {
  return CallError(ErrorCode::kMessageTooLarge,
                   "a result of " + std::to_string(size) + " bytes is over the message limit of " +
                       std::to_string(limit),
                   true);
}

template <typename Response>
void SetHeader(Response* response, const std::string& request_id) {
  response->set_request_id(request_id);
  response->set_timestamp(NanosecondsSinceEpoch());
}

// Arguments over the limits, and for which there is no memory, are too large.
Error UndecodedArgs(std::string_view field, const Error& error) {
  return CallError(
      error.code == ErrorCode::kInvalidArgument ? error.code : ErrorCode::kMessageTooLarge,
      std::string(field) + " cannot be decoded: " + error.message, false);
}

// The error of a call, its message cut so that the reply stays within the limit.
template <typename Response>
void SetError(Response* response, const Error& error, size_t limit) {
  response->set_code(std::string(ErrorCodeName(error.code)));
  response->set_did_not_run(!error.may_have_run);
  const size_t other = response->ByteSizeLong() + 16;
  const size_t room = limit > other ? limit - other : 0;
  std::string_view message = error.message;
  if (message.size() > room) {
    size_t size = room;
    while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xc0) == 0x80) --size;
    message = message.substr(0, size);
  }
  // An error is one because it has a text. PROTOCOL.md 4.4.2.
  response->set_error(message.empty() ? "failed" : std::string(message));
}

}  // namespace

// Every method is called on gRPC's own threads, and does not block them: handlers run on those of
// the executor. Errors of calls are in the reply; the status of the RPC is OK.
class GrpcServer::Service : public SnakepitBridge::CallbackService {
 public:
  Service(WorkerCore& core, size_t max_message_bytes)
      : core_(core),
        max_message_bytes_(max_message_bytes),
        decode_limits_{.max_bytes = DecodedLimit(0, max_message_bytes)},
        pool_limit_(max_message_bytes),
        executor_(core.options.capacity) {}

  // The port, or 0 for a Unix socket; nothing when it cannot listen there.
  std::optional<int> Listen(const std::string& uri) {
    grpc::ServerBuilder builder;
    const int limit = static_cast<int>(std::min<size_t>(max_message_bytes_, INT_MAX));
    builder.SetMaxReceiveMessageSize(limit);
    builder.SetMaxSendMessageSize(limit);
    // With it two servers could both listen on one port, each getting half the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // More wait in the client.
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               static_cast<int>(2 * kMaxWaitingJobs) + core_.options.capacity);
    int port = 0;
    builder.AddListeningPort(uri, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    // Of the socket: only this user may connect.
    const mode_t before = umask(077);
    server_ = builder.BuildAndStart();
    umask(before);
    if (server_ == nullptr) return std::nullopt;
    return port;
  }

  // Returns when no call is in progress and connections are closed (true), or the limits have
  // passed.
  bool Close() {
    draining_ = true;
    // Shutdown waits for connections, too, which may take until its deadline.
    auto closed = std::make_shared<std::atomic<bool>>(false);
    std::thread closing([this, closed] {
      server_->Shutdown(std::chrono::system_clock::now() + kDrainLimit);
      std::lock_guard lock(mutex_);
      *closed = true;
      changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kDrainLimit, [&] { return rpcs_ == 0; });
    if (!changed_.wait_for(lock, kCloseLimit, [&] { return closed->load(); })) {
      closing.detach();  // the process is about to end
      return false;
    }
    lock.unlock();
    closing.join();
    return executor_.WaitUntilIdle(kDrainLimit);
  }

  grpc::ServerUnaryReactor* Execute(grpc::CallbackServerContext* context,
                                    const ExecuteRequest* request,
                                    ExecuteResponse* response) override {
    return BeginUnary(context, request, response);
  }
  grpc::ServerUnaryReactor* ExecuteInSession(grpc::CallbackServerContext* context,
                                             const SessionRequest* request,
                                             ExecuteResponse* response) override {
    return BeginUnary(context, request, response);
  }
  grpc::ServerWriteReactor<StreamResponse>* ExecuteStream(grpc::CallbackServerContext* context,
                                                          const ExecuteRequest* request) override {
    return BeginStream(context, request);
  }
  grpc::ServerWriteReactor<StreamResponse>* ExecuteInSessionStream(
      grpc::CallbackServerContext* context, const SessionRequest* request) override {
    return BeginStream(context, request);
  }

  grpc::ServerUnaryReactor* Health(grpc::CallbackServerContext* context, const HealthRequest*,
                                   HealthResponse* response) override {
    if (!Authenticated(context)) return Unauthenticated(context);
    response->set_healthy(!draining_);
    response->set_worker_id(core_.worker_id);
    response->set_uptime_ms(core_.uptime().count());
    response->set_total_requests(core_.total_requests());
    response->set_total_errors(core_.total_errors());
    response->set_version(core_.options.version);
    {
      std::lock_guard lock(mutex_);
      for (const std::string& id : active_) {
        if (!id.empty()) response->add_active_request_ids(id);
      }
    }
    return Done(context);
  }

  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context,
                                    const InfoRequest* request, InfoResponse* response) override {
    if (!Authenticated(context)) return Unauthenticated(context);
    response->set_worker_type(core_.name);
    response->set_version(core_.options.version);
    for (const std::string& name : core_.registry.Names()) response->add_supported_commands(name);
    const auto copy = [](const Value::Map& from,
                         google::protobuf::Map<std::string, std::string>* to) {
      for (const auto& [key, value] : from) (*to)[key] = *value.get_if<std::string>();
    };
    copy(core_.SystemInfo(), response->mutable_system_info());
    if (request->include_capabilities()) {
      copy(core_.Capabilities(max_message_bytes_), response->mutable_capabilities());
    }
    if (request->include_stats()) FillStats(response->mutable_stats());
    if (request->protocol_version() >= 2) {
      if (const grpc::Status agreed = Agree(*request, response); !agreed.ok()) {
        return Done(context, agreed);
      }
    }
    return Done(context);
  }

 private:
  struct RpcCall : CallState {
    bool typed = false;  // of version 2
  };
  class UnaryRpc;
  class StreamRpc;

  template <typename Request>
  grpc::ServerUnaryReactor* BeginUnary(grpc::CallbackServerContext* context, const Request* request,
                                       ExecuteResponse* response);
  template <typename Request>
  grpc::ServerWriteReactor<StreamResponse>* BeginStream(grpc::CallbackServerContext* context,
                                                        const Request* request);

  // Fills in what is known of a call, but for its arguments. INVALID_ARGUMENT.
  template <typename Request>
  Result<void> Open(const grpc::CallbackServerContext& context, const Request& request, bool stream,
                    RpcCall* call);

  // Runs the job on a thread of the executor. An error when it cannot take it.
  Result<void> Submit(std::function<void()> job) {
    if (executor_.Submit(std::move(job))) return {};
    return Fail(CallError(
        ErrorCode::kInvalidArgument,
        "too many calls: the worker runs " + std::to_string(core_.options.capacity) + " at a time",
        false));
  }

  // Reads the arguments, runs `run`, and has the call in active_request_ids meanwhile.
  template <typename Request, typename Run>
  auto RunHandler(const Request& request, RpcCall& call, Run run) -> decltype(run()) {
    if (call.typed) {
      Result<Value> args =
          DecodeMsgpack(request.typed_args(), MapKeys::kText, kMaxNesting, decode_limits_);
      if (args && !args->is_map()) args = Fail(ErrorCode::kInvalidArgument, "they are no map");
      if (!args) return Fail(UndecodedArgs("typed_args", args.error()));
      call.args = *std::move(args);
    } else {
      Result<Value> args = DecodeMap(request.args(), decode_limits_);
      if (!args) return Fail(UndecodedArgs("args", args.error()));
      call.args = *std::move(args);
    }
    std::multiset<std::string>::iterator active;
    {
      std::lock_guard lock(mutex_);
      active = active_.insert(call.request_id);
    }
    auto outcome = run();
    std::lock_guard lock(mutex_);
    active_.erase(active);
    return outcome;
  }

  size_t LimitFor(const RpcCall& call) const {
    return call.typed ? std::min(max_message_bytes_, pool_limit_.load()) : max_message_bytes_;
  }

  void RpcBegan() {
    std::lock_guard lock(mutex_);
    ++rpcs_;
  }
  void RpcEnded() {
    std::lock_guard lock(mutex_);
    if (--rpcs_ == 0) changed_.notify_all();
  }

  // PROTOCOL.md 6.13.
  bool Authenticated(const grpc::CallbackServerContext* context) const {
    if (core_.token.empty()) return true;
    const auto [given, end] = context->client_metadata().equal_range("snakepit-token");
    return given != end && std::next(given) == end &&
           SameText(core_.token, std::string_view(given->second.data(), given->second.size()));
  }
  static grpc::Status UnauthenticatedStatus() {
    return {grpc::StatusCode::UNAUTHENTICATED, "snakepit-token is missing or wrong"};
  }
  static grpc::ServerUnaryReactor* Unauthenticated(grpc::CallbackServerContext* context) {
    return Done(context, UnauthenticatedStatus());
  }
  static grpc::ServerUnaryReactor* Done(grpc::CallbackServerContext* context,
                                        const grpc::Status& status = grpc::Status::OK) {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }

  void FillStats(WorkerStats* stats) {
    const Value::Map figures = core_.Stats();
    const auto integer = [&](const char* name) { return *figures.at(name).get_if<int64_t>(); };
    stats->set_requests_handled(integer("requests_handled"));
    stats->set_requests_failed(integer("requests_failed"));
    stats->set_uptime_ms(integer("uptime_ms"));
    stats->set_memory_usage_bytes(integer("memory_usage_bytes"));
    stats->set_cpu_usage_percent(*figures.at("cpu_usage_percent").get_if<double>());
    stats->set_active_sessions(integer("active_sessions"));
  }

  // PROTOCOL.md 6.11.2.
  grpc::Status Agree(const InfoRequest& request, InfoResponse* response) {
    const int64_t limit = request.max_message_bytes();
    if (limit != 0 && (limit < kLeastFrameLimit || limit > kGreatestFrameLimit)) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "max_message_bytes is 1024 to 2147483647"};
    }
    pool_limit_ = limit == 0 ? max_message_bytes_ : static_cast<size_t>(limit);
    response->set_protocol_version(kProtocolVersion);
    for (const char* feature : {"stream", "session"}) {
      const auto& offered = request.features();
      if (std::find(offered.begin(), offered.end(), feature) != offered.end()) {
        response->add_features(feature);
      }
    }
    response->set_capacity(core_.options.capacity);
    response->set_max_message_bytes(static_cast<int64_t>(max_message_bytes_));
    response->set_worker_id(core_.worker_id);
    return grpc::Status::OK;
  }

  WorkerCore& core_;
  const size_t max_message_bytes_;
  const DecodeLimits decode_limits_;  // of the arguments of a call
  std::atomic<size_t> pool_limit_;    // what the pool reads, as it said
  std::atomic<bool> draining_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  int rpcs_ = 0;                       // calls that are not done, their replies sent
  std::multiset<std::string> active_;  // request ids of calls whose handlers run

  std::unique_ptr<grpc::Server> server_;
  Executor executor_;  // destroyed first: its threads use the rest
};

// A call for one result. It owns itself until gRPC is done with it, with its job.
class GrpcServer::Service::UnaryRpc : public grpc::ServerUnaryReactor {
 public:
  UnaryRpc(Service& service, ExecuteResponse* response) : service_(service), response_(response) {
    service_.RpcBegan();
  }

  void Keep(std::shared_ptr<UnaryRpc> self) { self_ = std::move(self); }

  void OnCancel() override { call.stop.request_stop(); }

  void OnDone() override {
    service_.RpcEnded();
    self_.reset();
  }

  // Ends the RPC: afterwards neither request nor response may be used.
  void Reply(const Result<Value>& result) {
    SetHeader(response_, call.request_id);
    const size_t limit = service_.LimitFor(call);
    Result<void> outcome = Put(result, limit);
    if (!outcome) {
      response_->clear_result();
      response_->clear_typed_result();
      SetError(response_, outcome.error(), limit);
    }
    response_->set_success(outcome.has_value());
    service_.core_.Count(outcome.has_value());
    Finish(call.stop.stop_requested() ? grpc::Status::CANCELLED : grpc::Status::OK);
  }

  RpcCall call;

 private:
  Result<void> Put(const Result<Value>& result, size_t limit) {
    if (!result) return Fail(result.error());
    Result<void> encoded = EncodeInto(*result, call.typed, response_->mutable_typed_result(),
                                      response_->mutable_result());
    if (!encoded) {
      encoded.error().may_have_run = true;
      return encoded;
    }
    // With `success`, which is still to come.
    const size_t size = response_->ByteSizeLong() + 2;
    if (size > limit) return Fail(TooLarge(size, limit));
    return {};
  }

  Service& service_;
  ExecuteResponse* const response_;
  std::shared_ptr<UnaryRpc> self_;
};

// A call for chunks; likewise.
class GrpcServer::Service::StreamRpc : public grpc::ServerWriteReactor<StreamResponse>,
                                       public StreamSink {
 public:
  explicit StreamRpc(Service& service) : service_(service) { service_.RpcBegan(); }

  void Keep(std::shared_ptr<StreamRpc> self) { self_ = std::move(self); }

  void OnCancel() override { call.stop.request_stop(); }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    broken_ = broken_ || !ok;
    written_.notify_all();
  }

  void OnDone() override {
    service_.RpcEnded();
    self_.reset();
  }

  // Ends the RPC, if its last message has not done so: afterwards the request may not be used.
  void End(const Result<void>& outcome) {
    if (finished_) return;
    service_.core_.Count(outcome.has_value());
    if (call.stop.stop_requested() || !AwaitWritten()) {
      Finish(grpc::Status::CANCELLED);
      return;
    }
    response_.Clear();
    SetHeader(&response_, call.request_id);
    response_.set_is_final(true);
    response_.set_chunk_index(static_cast<int32_t>(count()));
    if (!outcome) SetError(&response_, outcome.error(), service_.LimitFor(call));
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  }

  RpcCall call;

 private:
  Result<void> Deliver(Value chunk, bool final) override {
    StreamResponse message;
    SetHeader(&message, call.request_id);
    message.set_chunk_index(static_cast<int32_t>(count()));
    Result<void> encoded =
        EncodeInto(chunk, call.typed, message.mutable_typed_chunk(), message.mutable_chunk());
    if (!encoded) {
      encoded.error().may_have_run = true;
      return encoded;
    }
    // An empty map and no chunk look the same: PROTOCOL.md 4.5.2.
    const bool ends_stream = final && (call.typed || !message.chunk().empty());
    message.set_is_final(ends_stream);
    const size_t limit = service_.LimitFor(call);
    if (const size_t size = message.ByteSizeLong(); size > limit) {
      return Fail(TooLarge(size, limit));
    }
    const bool written = AwaitWritten();
    if (auto given_up = call.GivenUp()) return Fail(std::move(*given_up));
    if (!written) return Fail(ErrorCode::kCancelled, "the caller is gone");
    response_.Swap(&message);
    if (ends_stream) {
      finished_ = true;
      service_.core_.Count(true);  // before the pool can ask for the figures
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      writing_ = true;
      StartWrite(&response_);
    }
    return {};
  }

  // Waits until the transport has taken the message before, which it also says when the call is
  // cancelled. False when nothing can be written any more.
  bool AwaitWritten() {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [this] { return !writing_; });
    return !broken_;
  }

  Service& service_;
  std::mutex mutex_;
  std::condition_variable written_;
  bool writing_ = false;  // set while nothing is written, so by one thread
  bool broken_ = false;
  // Of the handler's thread.
  bool finished_ = false;
  StreamResponse response_;  // what is being written
  std::shared_ptr<StreamRpc> self_;
};

template <typename Request>
Result<void> GrpcServer::Service::Open(const grpc::CallbackServerContext& context,
                                       const Request& request, bool stream, RpcCall* call) {
  call->command = request.command();
  call->request_id = request.request_id();
  call->worker_id = core_.worker_id;
  call->typed = !request.typed_args().empty();
  call->LimitTime(request.timeout_ms());
  if (const auto deadline = context.deadline();
      deadline != std::chrono::system_clock::time_point::max()) {
    const SteadyTime limit =
        steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                  deadline - std::chrono::system_clock::now());
    call->deadline = call->deadline ? std::min(*call->deadline, limit) : limit;
  }
  if (draining_) return Fail(CallError(ErrorCode::kCancelled, "the worker is ending", false));
  if constexpr (std::is_same_v<Request, SessionRequest>) {
    if (request.session_id().empty() || request.session_id().size() > kMaxSessionIdBytes) {
      return Fail(
          CallError(ErrorCode::kInvalidArgument, "session_id is a text of 1 to 256 bytes", false));
    }
    call->session_id = request.session_id();
    if (!request.end_session()) {
      call->session = core_.sessions.Use(call->session_id);
    } else if (stream || !request.command().empty()) {
      return Fail(CallError(ErrorCode::kInvalidArgument,
                            "a request that ends a session has no command, and one reply", false));
    }
  }
  return {};
}

template <typename Request>
grpc::ServerUnaryReactor* GrpcServer::Service::BeginUnary(grpc::CallbackServerContext* context,
                                                          const Request* request,
                                                          ExecuteResponse* response) {
  if (!Authenticated(context)) return Unauthenticated(context);
  const auto rpc = std::make_shared<UnaryRpc>(*this, response);
  rpc->Keep(rpc);
  Result<void> opened = Open(*context, *request, false, &rpc->call);
  if constexpr (std::is_same_v<Request, SessionRequest>) {
    if (opened && request->end_session()) {
      core_.sessions.End(rpc->call.session_id);
      response->set_success(true);
      SetHeader(response, rpc->call.request_id);
      rpc->Finish(grpc::Status::OK);
      return rpc.get();
    }
  }
  if (opened) {
    opened = Submit([this, rpc, request] {
      rpc->Reply(RunHandler(*request, rpc->call, [&] { return core_.registry.Run(rpc->call); }));
    });
  }
  if (!opened) rpc->Reply(Fail(std::move(opened.error())));
  return rpc.get();
}

template <typename Request>
grpc::ServerWriteReactor<StreamResponse>* GrpcServer::Service::BeginStream(
    grpc::CallbackServerContext* context, const Request* request) {
  const auto rpc = std::make_shared<StreamRpc>(*this);
  rpc->Keep(rpc);
  if (!Authenticated(context)) {
    rpc->Finish(UnauthenticatedStatus());
    return rpc.get();
  }
  Result<void> opened = Open(*context, *request, true, &rpc->call);
  if (opened) {
    opened = Submit([this, rpc, request] {
      rpc->End(RunHandler(*request, rpc->call,
                          [&] { return core_.registry.RunStream(rpc->call, *rpc); }));
    });
  }
  if (!opened) rpc->End(Fail(std::move(opened.error())));
  return rpc.get();
}

GrpcServer::GrpcServer(WorkerCore& core, size_t max_message_bytes)
    : service_(std::make_unique<Service>(core, max_message_bytes)) {}

GrpcServer::~GrpcServer() = default;

Result<std::string> GrpcServer::Start(const ListenAddress& address) {
  if (!wakeup_.valid()) return Fail(ErrorCode::kInternal, "the system gives no descriptor");
  const Result<std::string> uri = GrpcListeningUri(address);
  if (!uri) return Fail(uri.error());
  const std::optional<int> port = service_->Listen(*uri);
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
  idle_ = service_->Close();
  if (!socket_path_.empty()) unlink(socket_path_.c_str());  // where gRPC has not
}

}  // namespace snakepit
