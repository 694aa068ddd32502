#include "src/transport/grpc/testing/fake_worker.h"

#include <chrono>
#include <cstdlib>

#include "src/wire/msgpack.h"
#include "src/wire/proto_map.h"

namespace snakepit::testing {
namespace {

using std::chrono::milliseconds;

// Longest wait for an event that must come, on a loaded machine too.
constexpr std::chrono::seconds kLimit{60};
constexpr size_t kFillBytes = 64 << 10;
// grpcio's own text.
const grpc::Status kTooManyRpcs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                "Concurrent RPC limit exceeded!");

// Enough for a test that is about something else.
void Check(const Result<void>& done) {
  if (!done) abort();
}

Value ArgsOf(const ExecuteRequest& request) {
  if (request.typed_args().empty()) return *DecodeMap(request.args());
  return *DecodeMsgpack(request.typed_args());
}

std::string Packed(const Value& value) {
  std::string bytes;
  Check(EncodeMsgpack(value, &bytes));
  return bytes;
}

void SetResult(const Value& value, const ExecuteRequest& request, ExecuteResponse* response) {
  response->set_success(true);
  if (request.typed_args().empty()) {
    Check(EncodeMap(value, response->mutable_result()));
  } else {
    response->set_typed_result(Packed(value));
  }
}

StreamResponse ChunkOf(const Value& value, int64_t index, const ExecuteRequest& request) {
  StreamResponse response;
  response.set_chunk_index(static_cast<int32_t>(index));
  if (request.typed_args().empty()) {
    Check(EncodeMap(value, response.mutable_chunk()));
  } else {
    response.set_typed_chunk(Packed(value));
  }
  return response;
}

template <typename Message>
void SetError(const Value& args, Message* message) {
  message->set_error(std::string(args.TextAt("error")));
  message->set_code(std::string(args.TextAt("code")));
  const Value* did_not_run = args.Find("did_not_run");
  message->set_did_not_run(did_not_run != nullptr && *did_not_run == Value(true));
}

grpc::Status StatusIn(const Value& args) {
  const auto bytes = static_cast<size_t>(args.IntegerAt("bytes"));
  return {static_cast<grpc::StatusCode>(args.IntegerAt("status")),
          bytes > 0 ? std::string(bytes, 'x') : std::string(args.TextAt("text", "as asked for"))};
}

Value LargeValue(const Value& args) {
  return Value::Map{{"b", Bytes{std::string(static_cast<size_t>(args.IntegerAt("bytes")), 'x')}}};
}

ExecuteRequest Plain(const SessionRequest& request) {
  ExecuteRequest plain;
  plain.set_command(request.command());
  *plain.mutable_args() = request.args();
  plain.set_request_id(request.request_id());
  plain.set_typed_args(request.typed_args());
  return plain;
}

}  // namespace

// A handler in progress.
class FakeWorker::Running {
 public:
  Running(FakeWorker& worker, const std::string& id) : worker_(worker), id_(id) {
    std::lock_guard lock(worker_.mutex_);
    worker_.seen_.running.insert(id_);
    worker_.seen_.request_ids.insert(id_);
    ++worker_.seen_.begun;
    worker_.changed_.notify_all();
  }
  ~Running() {
    std::lock_guard lock(worker_.mutex_);
    worker_.seen_.running.erase(worker_.seen_.running.find(id_));
    worker_.changed_.notify_all();
  }

 private:
  FakeWorker& worker_;
  const std::string id_;
};

std::string FakeWorker::Serve() {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(max_receive_bytes);
  if (max_connection_age.count() > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               static_cast<int>(max_connection_age.count()));
  }
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  return "127.0.0.1:" + std::to_string(port);
}

void FakeWorker::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (server_) {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }
}

void FakeWorker::Release() {
  std::lock_guard lock(mutex_);
  released_ = true;
  changed_.notify_all();
}

void FakeWorker::Hold(std::string_view method, bool held) {
  std::lock_guard lock(mutex_);
  if (held) {
    held_.emplace(method);
  } else {
    held_.erase(held_.find(method));
  }
  changed_.notify_all();
}

void FakeWorker::SetHealthStatus(const grpc::Status& status) {
  std::lock_guard lock(mutex_);
  health_status_ = status;
}

void FakeWorker::Refuse(int calls) {
  std::lock_guard lock(mutex_);
  refusals_ = calls;
}

FakeWorker::Seen FakeWorker::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

bool FakeWorker::WaitUntil(const std::function<bool(const Seen&)>& condition) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kLimit, [&] { return condition(seen_); });
}

bool FakeWorker::WaitForCount(std::string_view method, int count) {
  return WaitUntil([&](const Seen& seen) { return seen.Count(method) >= count; });
}

bool FakeWorker::WaitForBegun(int count) {
  return WaitUntil([&](const Seen& seen) { return seen.begun >= count; });
}

bool FakeWorker::WaitForRunning(size_t count) {
  return WaitUntil([&](const Seen& seen) { return seen.running.size() == count; });
}

int64_t FakeWorker::WaitUntilWritingStalls(milliseconds quiet) {
  std::unique_lock lock(mutex_);
  const auto limit = std::chrono::steady_clock::now() + kLimit;
  int64_t seen = -1;
  while (std::chrono::steady_clock::now() < limit) {
    seen = seen_.chunks_written;
    if (!changed_.wait_for(lock, quiet, [&] { return seen_.chunks_written != seen; }) && seen > 0)
      break;
  }
  return seen;
}

grpc::Status FakeWorker::Enter(const grpc::ServerContext& context, std::string_view method) {
  std::lock_guard lock(mutex_);
  seen_.methods.emplace(method);
  seen_.connections.insert(context.peer());
  changed_.notify_all();
  if (method.starts_with("Execute") && refusals_ > 0) {
    --refusals_;
    return kTooManyRpcs;
  }
  if (token.empty()) return grpc::Status::OK;
  const auto [begin, end] = context.client_metadata().equal_range("snakepit-token");
  if (begin != end && begin->second == token) return grpc::Status::OK;
  return {grpc::StatusCode::UNAUTHENTICATED, "no"};
}

void FakeWorker::WaitWhileHeld(std::string_view method, const grpc::ServerContext& context) {
  std::unique_lock lock(mutex_);
  while (held_.contains(method) && !context.IsCancelled()) {
    changed_.wait_for(lock, milliseconds(1));
  }
}

void FakeWorker::WaitFor(const grpc::ServerContext& context, bool until_cancelled) {
  std::unique_lock lock(mutex_);
  // Stop cancels first, so that nothing is said to have ended by then.
  while (!released_ && !((until_cancelled || stopping_) && context.IsCancelled())) {
    changed_.wait_for(lock, milliseconds(1));  // the synchronous API tells of no cancellation
  }
}

grpc::Status FakeWorker::Run(grpc::ServerContext* context, const ExecuteRequest& request,
                             ExecuteResponse* response) {
  const Running running(*this, request.request_id());
  {
    std::lock_guard lock(mutex_);
    seen_.last_request = request;
  }
  const std::string& command = request.command();
  const Value args = ArgsOf(request);
  if (command == "echo" || command == "trailers") {
    SetResult(args, request, response);
    if (command == "trailers") {
      context->AddTrailingMetadata("note",
                                   std::string(static_cast<size_t>(args.IntegerAt("bytes")), 'x'));
    }
  } else if (command == "hold" || command == "ignore") {
    WaitFor(*context, command == "hold");
    response->set_error("cancelled");
    response->set_code("CANCELLED");
  } else if (command == "fail") {
    SetError(args, response);
  } else if (command == "status" || command == "late_status") {
    if (command == "late_status") WaitFor(*context, false);
    return StatusIn(args);
  } else if (command == "reply") {
    response->set_success(true);
    response->set_typed_result(args.Find("typed_result")->get_if<Bytes>()->data);
  } else if (command == "large") {
    SetResult(LargeValue(args), request, response);
  } else if (command == "meet") {
    std::unique_lock lock(mutex_);
    ++meeting_;
    changed_.notify_all();
    changed_.wait_for(lock, kLimit, [&] { return meeting_ >= args.IntegerAt("callers"); });
    SetResult(Value::Map{{"met", meeting_}}, request, response);
  } else {
    response->set_error("Unknown command: " + command);
  }
  return grpc::Status::OK;
}

grpc::Status FakeWorker::RunStream(grpc::ServerContext* context, const ExecuteRequest& request,
                                   grpc::ServerWriter<StreamResponse>* writer) {
  const Running running(*this, request.request_id());
  const std::string& command = request.command();
  const Value args = ArgsOf(request);
  if (command == "count") {
    const int64_t n = args.IntegerAt("n", INT64_MAX);
    const bool separate = args.Find("separate_end") != nullptr;
    for (int64_t i = 0; i < n; ++i) {
      StreamResponse response = ChunkOf(Value::Map{{"n", i}}, i, request);
      response.set_is_final(i + 1 == n && !separate);
      if (!writer->Write(response)) return grpc::Status::OK;
    }
    StreamResponse end;
    end.set_is_final(true);
    if (separate) writer->Write(end);
  } else if (command == "fill") {
    const Value chunk = Value::Map{{"b", Bytes{std::string(kFillBytes, '\xff')}}};
    for (int64_t i = 0; writer->Write(ChunkOf(chunk, i, request)); ++i) {
      std::lock_guard lock(mutex_);
      ++seen_.chunks_written;
      changed_.notify_all();
    }
  } else if (command == "empty_end") {
    StreamResponse response = ChunkOf(Value::Map{}, 0, request);
    response.set_is_final(true);
    writer->Write(response);
  } else if (command == "large") {
    writer->Write(ChunkOf(LargeValue(args), 0, request));
    WaitFor(*context, true);
  } else if (command != "nothing") {
    writer->Write(ChunkOf(Value::Map{{"n", 0}}, 0, request));
    if (command == "late_status") WaitFor(*context, false);
    if (command == "status" || command == "late_status") return StatusIn(args);
    if (command == "hold" || command == "ignore") WaitFor(*context, command == "hold");
    StreamResponse response;
    response.set_is_final(command != "no_chunk");
    response.set_chunk_index(1);
    if (command == "fail") SetError(args, &response);
    writer->Write(response);
    if (command == "no_chunk") WaitFor(*context, true);
  }
  return grpc::Status::OK;
}

grpc::Status FakeWorker::Execute(grpc::ServerContext* context, const ExecuteRequest* request,
                                 ExecuteResponse* response) {
  if (auto status = Enter(*context, "Execute"); !status.ok()) return status;
  return Run(context, *request, response);
}

grpc::Status FakeWorker::ExecuteStream(grpc::ServerContext* context, const ExecuteRequest* request,
                                       grpc::ServerWriter<StreamResponse>* writer) {
  if (auto status = Enter(*context, "ExecuteStream"); !status.ok()) return status;
  return RunStream(context, *request, writer);
}

grpc::Status FakeWorker::ExecuteInSession(grpc::ServerContext* context,
                                          const SessionRequest* request,
                                          ExecuteResponse* response) {
  if (auto status = Enter(*context, "ExecuteInSession"); !status.ok()) return status;
  {
    std::lock_guard lock(mutex_);
    (request->end_session() ? seen_.ended_sessions : seen_.sessions)
        .push_back(request->session_id());
    changed_.notify_all();
  }
  if (!request->end_session()) return Run(context, Plain(*request), response);
  response->set_success(true);
  return grpc::Status::OK;
}

grpc::Status FakeWorker::ExecuteInSessionStream(grpc::ServerContext* context,
                                                const SessionRequest* request,
                                                grpc::ServerWriter<StreamResponse>* writer) {
  if (auto status = Enter(*context, "ExecuteInSessionStream"); !status.ok()) return status;
  {
    std::lock_guard lock(mutex_);
    seen_.sessions.push_back(request->session_id());
  }
  return RunStream(context, Plain(*request), writer);
}

grpc::Status FakeWorker::Health(grpc::ServerContext* context, const HealthRequest* request,
                                HealthResponse* response) {
  {
    std::lock_guard lock(mutex_);
    response->set_healthy(healthy);
    response->set_worker_id(request->worker_id());
    response->set_uptime_ms(1200);
    response->set_total_requests(41);
    response->set_total_errors(2);
    response->set_version("1.0");
    if (info.protocol_version() == 2) {
      for (const std::string& id : seen_.running) response->add_active_request_ids(id);
    }
  }
  // With its answer ready, so that a test can make the answer old.
  if (auto status = Enter(*context, "Health"); !status.ok()) return status;
  WaitWhileHeld("Health", *context);
  if (on_health) on_health();
  std::lock_guard lock(mutex_);
  return health_status_;
}

grpc::Status FakeWorker::GetInfo(grpc::ServerContext* context, const InfoRequest* request,
                                 InfoResponse* response) {
  if (auto status = Enter(*context, "GetInfo"); !status.ok()) return status;
  WaitWhileHeld("GetInfo", *context);
  std::lock_guard lock(mutex_);
  if (info_refusals-- > 0) {
    return kTooManyRpcs;
  }
  seen_.info_request = *request;
  *response = info;
  return info_status;
}

}  // namespace snakepit::testing
