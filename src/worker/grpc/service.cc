#include "src/worker/grpc/service.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "src/wire/agreement.h"
#include "src/worker/grpc/auth.h"
#include "src/worker/grpc/rpc.h"

namespace snakepit {
namespace {

constexpr size_t kMaxQueriesRead = 16;

// Room for the calls that run, and for as many read ahead, so that no handler waits for the next.
size_t MaxCallsRead(const WorkerOptions& options) {
  return 2 * static_cast<size_t>(options.capacity);
}

// Begins an RPC, which owns itself until it is done.
template <typename Rpc, typename... Arguments>
grpc::ServerGenericBidiReactor* Begin(Arguments&&... arguments) {
  const auto rpc = std::make_shared<Rpc>(std::forward<Arguments>(arguments)...);
  rpc->Begin(rpc);
  return rpc.get();
}

}  // namespace

GrpcService::GrpcService(CommandService& commands, size_t max_message_bytes,
                         std::chrono::steady_clock::duration arrival_limit)
    : commands_(commands),
      max_message_bytes_(max_message_bytes),
      decode_limits_{.max_bytes = DecodedLimit(0, max_message_bytes)},
      pool_limit_(max_message_bytes),
      call_gate_(MaxCallsRead(commands.options), arrival_limit),
      // A query is small, and a pool does not wait much longer for its own.
      query_gate_(kMaxQueriesRead, arrival_limit / 4),
      executor_(commands.options.capacity) {}

GrpcService::~GrpcService() {
  const MutexLock lock(mutex_);
  ending_ = true;
  changed_.notify_all();
}

grpc::ServerGenericBidiReactor* GrpcService::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  if (!IsAuthenticated(*context, commands_.token)) return new RefusedRpc(Unauthenticated());
  constexpr std::string_view kService = "/snakepit.SnakepitBridge/";
  std::string_view method = context->method();
  if (method.starts_with(kService)) {
    method.remove_prefix(kService.size());
    if (method == "Execute") return Begin<UnaryRpc>(*this, call_gate_, *context, false);
    if (method == "ExecuteStream") return Begin<StreamRpc>(*this, call_gate_, *context, false);
    if (method == "ExecuteInSession") return Begin<UnaryRpc>(*this, call_gate_, *context, true);
    if (method == "ExecuteInSessionStream") {
      return Begin<StreamRpc>(*this, call_gate_, *context, true);
    }
    if (method == "Health") return Begin<HealthRpc>(*this, query_gate_);
    if (method == "GetInfo") return Begin<InfoRpc>(*this, query_gate_);
  }
  return new RefusedRpc({grpc::StatusCode::UNIMPLEMENTED, "SnakepitBridge has no such method"});
}

bool GrpcService::WaitForRpcs(std::chrono::steady_clock::duration limit) {
  MutexLock lock(mutex_);
  return changed_.wait_for(lock, limit,
                           [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return rpcs_ == 0; });
}

size_t GrpcService::ReplyLimit(bool typed) const {
  return typed ? std::min(max_message_bytes_, pool_limit_.load()) : max_message_bytes_;
}

HealthResponse GrpcService::Health() {
  HealthResponse response;
  response.set_healthy(commands_.healthy());
  response.set_worker_id(commands_.worker_id);
  response.set_uptime_ms(commands_.uptime().count());
  response.set_total_requests(commands_.total_requests());
  response.set_total_errors(commands_.total_errors());
  response.set_version(commands_.options.version);
  const MutexLock lock(mutex_);
  for (const std::string& id : active_) {
    if (!id.empty()) response.add_active_request_ids(id);
  }
  return response;
}

grpc::Status GrpcService::GetInfo(const InfoRequest& request, InfoResponse* response) {
  response->set_worker_type(commands_.name);
  response->set_version(commands_.options.version);
  for (const std::string& name : commands_.registry.Names()) response->add_supported_commands(name);
  const auto copy = [](const Value::Map& from,
                       google::protobuf::Map<std::string, std::string>* to) {
    for (const auto& [key, value] : from) (*to)[key] = *value.get_if<std::string>();
  };
  copy(commands_.SystemInfo(), response->mutable_system_info());
  if (request.include_capabilities()) {
    copy(commands_.Capabilities(max_message_bytes_), response->mutable_capabilities());
  }
  if (request.include_stats()) FillStats(response->mutable_stats());
  if (request.protocol_version() >= 2) return Agree(request, response);
  return grpc::Status::OK;
}

void GrpcService::FillStats(WorkerStats* stats) {
  const Value figures = commands_.Stats();
  const auto integer = [&](const char* name) { return figures.IntegerAt(name); };
  stats->set_requests_handled(integer("requests_handled"));
  stats->set_requests_failed(integer("requests_failed"));
  stats->set_uptime_ms(integer("uptime_ms"));
  stats->set_memory_usage_bytes(integer("memory_usage_bytes"));
  stats->set_cpu_usage_percent(figures.NumberAt("cpu_usage_percent"));
  stats->set_active_sessions(integer("active_sessions"));
}

// PROTOCOL.md 6.11.2.
grpc::Status GrpcService::Agree(const InfoRequest& request, InfoResponse* response) {
  const int64_t limit = request.max_message_bytes();
  if (limit != 0 && (limit < kLeastMessageLimit || limit > kGreatestMessageLimit)) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            "max_message_bytes must be from " + MessageLimitRange()};
  }
  pool_limit_ = limit == 0 ? max_message_bytes_ : static_cast<size_t>(limit);
  response->set_protocol_version(kProtocolVersion);
  for (const std::string_view feature : {kStreamFeature, kSessionFeature}) {
    const auto& offered = request.features();
    if (std::find(offered.begin(), offered.end(), feature) != offered.end()) {
      response->add_features(std::string(feature));
    }
  }
  response->set_capacity(commands_.options.capacity);
  response->set_max_message_bytes(static_cast<int64_t>(max_message_bytes_));
  response->set_worker_id(commands_.worker_id);
  return grpc::Status::OK;
}

Result<void> GrpcService::Submit(std::function<void()> job) {
  const Executor::Outcome outcome = executor_.Submit(std::move(job));
  if (outcome == Executor::Outcome::kTaken) return {};
  return Fail(CallError(ErrorCode::kInvalidArgument,
                        DescribeRefusal(outcome, commands_.options.capacity), false));
}

void GrpcService::WatchGates() {
  if (watches_gates_.exchange(true)) return;
  if (!executor_.Start([this] { KeepGatesMoving(); })) watches_gates_ = false;
}

void GrpcService::KeepGatesMoving() {
  for (;;) {
    auto next = GiveUpLate();
    if (!next) {
      watches_gates_ = false;
      // An RPC that began to wait before that line has started no other watch.
      next = GiveUpLate();
      if (!next || watches_gates_.exchange(true)) return;
    }
    const auto is_ending = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ending_; };
    MutexLock lock(mutex_);
    if (changed_.wait_until(lock, *next, is_ending)) return;
  }
}

std::optional<ReadGate::Clock::time_point> GrpcService::GiveUpLate() {
  const auto calls = call_gate_.GiveUpLate(), queries = query_gate_.GiveUpLate();
  return calls && queries ? std::min(calls, queries) : calls ? calls : queries;
}

void GrpcService::RpcBegan() {
  const MutexLock lock(mutex_);
  ++rpcs_;
}

void GrpcService::RpcEnded() {
  const MutexLock lock(mutex_);
  if (--rpcs_ == 0) changed_.notify_all();
}

GrpcService::Listed::Listed(GrpcService& service, const std::string& request_id)
    : service_(service) {
  const MutexLock lock(service_.mutex_);
  place_ = service_.active_.insert(request_id);
}

GrpcService::Listed::~Listed() {
  const MutexLock lock(service_.mutex_);
  service_.active_.erase(place_);
}

}  // namespace snakepit
