#include "src/transport/grpc_connection.h"

#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "proto/snakepit.grpc.pb.h"
#include "src/wire/message.h"
#include "src/wire/proto_map.h"

namespace snakepit {
namespace {

using Stub = SnakepitBridge::Stub;
// gRPC ends a callback on a thread of its own; the io_context must not run out of work until then.
using Work = asio::executor_work_guard<asio::io_context::executor_type>;

void SetDeadline(grpc::ClientContext& context, SteadyTime deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
}

template <typename Message>
Result<void> Fill(const CallRequest& request, uint64_t id, Message* message) {
  message->set_command(std::string(request.command));
  message->set_timeout_ms(
      static_cast<int32_t>(std::min<int64_t>(MillisecondsUntil(request.deadline), INT32_MAX)));
  message->set_request_id(std::to_string(id));
  if (request.args == nullptr) return {};
  return EncodeMap(*request.args, message->mutable_args());
}

// What a status that is not OK means for the call, and for the worker. PROTOCOL.md 4.4.
struct StatusMeaning {
  Error error;
  AfterCall after;
};

StatusMeaning Judge(const grpc::Status& status, const CallRequest& request) {
  Error error{.message = status.error_message()};
  error.may_have_run = true;
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED: {
      auto passed = DeadlinePassed(request);
      return {std::move(passed.result.error()), passed.after};
    }
    case grpc::StatusCode::CANCELLED:  // by the worker, which ends: the pool asked for none of it
    case grpc::StatusCode::UNAVAILABLE:
      error.code = ErrorCode::kWorkerLost;
      error.message = "the worker closed its connection (" + error.message + ")";
      return {std::move(error), AfterCall::kLost};
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      error.code = ErrorCode::kMessageTooLarge;
      return {std::move(error), AfterCall::kUsable};
    case grpc::StatusCode::UNIMPLEMENTED:
      error.code = ErrorCode::kUnimplemented;
      error.may_have_run = false;
      return {std::move(error), AfterCall::kUsable};
    case grpc::StatusCode::INVALID_ARGUMENT:
      error.code = ErrorCode::kInvalidArgument;
      return {std::move(error), AfterCall::kUsable};
    case grpc::StatusCode::UNKNOWN:  // what a server makes of an exception of its handler
      error.code = ErrorCode::kHandlerFailed;
      return {std::move(error), AfterCall::kUsable};
    default:
      error.code = ErrorCode::kProtocolError;
      error.message = "gRPC status " + std::to_string(status.error_code()) + ": " + error.message;
      return {std::move(error), AfterCall::kUnusable};
  }
}

CallOutcome<Value> Decode(const ExecuteResponse& response) {
  if (!response.success()) return {Fail(WorkerError(response.code(), response.error()))};
  Value result = DecodeMap(response.result());
  if (auto error = LegacyResultError(result)) return {Fail(std::move(*error))};
  return {std::move(result)};
}

// Contexts of calls in progress, to be cancelled when the worker has gone.
class Contexts {
 public:
  // Keeps a context known for its own lifetime.
  class Entry {
   public:
    Entry(Contexts& contexts, grpc::ClientContext* context)
        : contexts_(contexts), context_(context), added_(contexts.Add(context)) {}
    ~Entry() { contexts_.Remove(context_); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    // False when no call is to begin any more.
    bool added() const { return added_; }

   private:
    Contexts& contexts_;
    grpc::ClientContext* const context_;
    const bool added_;
  };

  // False when no call is to begin any more.
  bool Add(grpc::ClientContext* context) {
    std::lock_guard lock(mutex_);
    if (!aborted_) contexts_.insert(context);
    return !aborted_;
  }
  void Remove(grpc::ClientContext* context) {
    std::lock_guard lock(mutex_);
    contexts_.erase(context);
  }
  void Abort() {
    std::lock_guard lock(mutex_);
    aborted_ = true;
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
  }
  bool aborted() {
    std::lock_guard lock(mutex_);
    return aborted_;
  }

 private:
  std::mutex mutex_;
  std::set<grpc::ClientContext*> contexts_;
  bool aborted_ = false;
};

class GrpcConnection : public Connection, public std::enable_shared_from_this<GrpcConnection> {
 public:
  GrpcConnection(asio::io_context& io, std::unique_ptr<Stub> stub)
      : io_(io), stub_(std::move(stub)) {}

  CallOutcome<Value> Call(const CallRequest& request) override {
    ExecuteResponse response;
    grpc::ClientContext context;
    SetDeadline(context, request.deadline);
    const Contexts::Entry entry(contexts_, &context);
    if (!entry.added()) return Lost();
    grpc::Status status;
    Result<void> filled;
    if (request.session_id.empty()) {
      ExecuteRequest message;
      filled = Fill(request, ++last_id_, &message);
      if (filled) status = stub_->Execute(&context, message, &response);
    } else {
      SessionRequest message;
      filled = FillSession(request, &message);
      if (filled) status = stub_->ExecuteInSession(&context, message, &response);
    }
    if (!filled) return {Fail(std::move(filled.error()))};
    return Finish(status, response, request);
  }

  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override {
    grpc::ClientContext context;
    SetDeadline(context, request.deadline);
    const Contexts::Entry entry(contexts_, &context);
    if (!entry.added()) return {Fail(std::move(Lost().result.error())), AfterCall::kLost};
    CallOutcome<int64_t> outcome{0};
    auto read = [&](auto reader) { outcome = ReadStream(*reader, context, request, on_chunk); };
    Result<void> filled;
    if (request.session_id.empty()) {
      ExecuteRequest message;
      filled = Fill(request, ++last_id_, &message);
      if (filled) read(stub_->ExecuteStream(&context, message));
    } else {
      SessionRequest message;
      filled = FillSession(request, &message);
      if (filled) read(stub_->ExecuteInSessionStream(&context, message));
    }
    if (!filled) return {Fail(std::move(filled.error()))};
    return outcome;
  }

  void CallAsync(const CallRequest& request,
                 std::function<void(CallOutcome<Value>)> done) override {
    auto call = std::make_shared<AsyncCall>(io_, request, std::move(done));
    SetDeadline(call->context, request.deadline);
    const Result<void> filled = request.session_id.empty()
                                    ? Fill(request, ++last_id_, &call->plain_message)
                                    : FillSession(request, &call->session_message);
    if (!filled) return call->done({Fail(filled.error())});
    if (!contexts_.Add(&call->context)) return call->done(Lost());
    auto finished = [self = shared_from_this(), call](grpc::Status status) {
      self->contexts_.Remove(&call->context);
      asio::post(self->io_, [self, call, status = std::move(status)] {
        call->done(self->Finish(status, call->response, call->request));
      });
    };
    if (request.session_id.empty()) {
      stub_->async()->Execute(&call->context, &call->plain_message, &call->response, finished);
    } else {
      stub_->async()->ExecuteInSession(&call->context, &call->session_message, &call->response,
                                       finished);
    }
  }

  const Agreement& agreement() const override { return agreement_; }

  void CheckHealth(SteadyTime, std::function<void(Result<WorkerHealth>)> done) override {
    done(Fail(ErrorCode::kUnimplemented, ""));
  }

  void EndSession(const std::string&) override {}

  // A gRPC worker is asked by SIGTERM, which is the pool's to send. PROTOCOL.md 1.
  void AskToEnd() override {}
  void Abort() override { contexts_.Abort(); }

 private:
  struct AsyncCall {
    AsyncCall(asio::io_context& io, const CallRequest& request,
              std::function<void(CallOutcome<Value>)> done)
        : request(request), done(std::move(done)), work(io.get_executor()) {}

    const CallRequest request;
    const std::function<void(CallOutcome<Value>)> done;
    const Work work;
    grpc::ClientContext context;
    ExecuteRequest plain_message;
    SessionRequest session_message;
    ExecuteResponse response;
  };

  static CallOutcome<Value> Lost() {
    return {Fail(ErrorCode::kWorkerLost, "the worker has ended"), AfterCall::kLost};
  }

  Result<void> FillSession(const CallRequest& request, SessionRequest* message) {
    message->set_session_id(std::string(request.session_id));
    return Fill(request, ++last_id_, message);
  }

  CallOutcome<Value> Finish(const grpc::Status& status, const ExecuteResponse& response,
                            const CallRequest& request) {
    if (status.ok()) return Decode(response);
    if (contexts_.aborted()) return WithMayHaveRun(Lost());
    StatusMeaning meaning = Judge(status, request);
    return {Fail(std::move(meaning.error)), meaning.after};
  }

  static CallOutcome<Value> WithMayHaveRun(CallOutcome<Value> outcome) {
    outcome.result.error().may_have_run = true;
    return outcome;
  }

  // PROTOCOL.md 4.5.
  CallOutcome<int64_t> ReadStream(grpc::ClientReader<StreamResponse>& reader,
                                  grpc::ClientContext& context, const CallRequest& request,
                                  const ChunkCallback& on_chunk) {
    StreamResponse response;
    int64_t chunks = 0;
    std::optional<Error> error;
    bool ended = false;
    while (!ended && !error && reader.Read(&response)) {
      ended = response.is_final();
      if (!response.error().empty()) {
        error = WorkerError(response.code(), response.error());
      } else if (!ended || !response.chunk().empty()) {
        const Chunk chunk{.value = DecodeMap(response.chunk()), .index = chunks, .final = ended};
        // The one result of a command that does not stream may be a legacy error.
        if (ended && chunks == 0) error = LegacyResultError(chunk.value);
        if (!error) {
          ++chunks;
          if (!on_chunk(chunk)) error = StreamGivenUp();
        }
      }
    }
    // Nothing is expected any more; a worker that goes on is not waited for.
    if (ended || error) context.TryCancel();
    const grpc::Status status = reader.Finish();
    if (error) return {Fail(std::move(*error))};
    if (ended || status.ok()) return {chunks};
    CallOutcome<Value> outcome = Finish(status, ExecuteResponse(), request);
    return {Fail(std::move(outcome.result.error())), outcome.after};
  }

  asio::io_context& io_;
  const std::unique_ptr<Stub> stub_;
  const Agreement agreement_;
  Contexts contexts_;
  uint64_t last_id_ = 0;
};

// Keeps gRPC running until the end of the process. Else the last channel to go would shut it down,
// and with it threads that may take ten seconds to notice.
void KeepGrpcRunning() { [[maybe_unused]] static const bool kept = (grpc_init(), true); }

struct HealthCheck {
  explicit HealthCheck(asio::io_context& io) : work(io.get_executor()) {}

  const Work work;
  std::unique_ptr<Stub> stub;
  grpc::ClientContext context;
  HealthRequest request;
  HealthResponse response;
};

}  // namespace

std::function<void()> ConnectGrpc(asio::io_context& io, const std::string& target,
                                  const GrpcTransport& options, const std::string& worker_id,
                                  SteadyTime deadline,
                                  std::function<void(Result<std::shared_ptr<Connection>>)> ready) {
  KeepGrpcRunning();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(options.max_message_bytes));
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Else a channel could go on with the connection of an earlier worker at the same address.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto check = std::make_shared<HealthCheck>(io);
  check->stub = SnakepitBridge::NewStub(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
  check->request.set_worker_id(worker_id);
  check->context.set_wait_for_ready(true);
  SetDeadline(check->context, deadline);
  auto judge = [&io, check](const grpc::Status& status) -> Result<std::shared_ptr<Connection>> {
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      return Fail(ErrorCode::kStartTimeout, "the worker did not answer Health");
    }
    if (!status.ok()) {
      return Fail(ErrorCode::kStartFailed, "Health failed: gRPC status " +
                                               std::to_string(status.error_code()) + ": " +
                                               status.error_message());
    }
    if (!check->response.healthy()) {
      return Fail(ErrorCode::kStartFailed, "the worker says that it is not healthy");
    }
    return std::make_shared<GrpcConnection>(io, std::move(check->stub));
  };
  check->stub->async()->Health(
      &check->context, &check->request, &check->response,
      [&io, check, judge, ready = std::move(ready)](grpc::Status status) {
        asio::post(io, [judge, ready, status = std::move(status)] { ready(judge(status)); });
      });
  return [check] { check->context.TryCancel(); };
}

}  // namespace snakepit
