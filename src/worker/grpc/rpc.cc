#include "src/worker/grpc/rpc.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "src/wire/limits.h"

namespace snakepit {

using std::chrono::steady_clock;

void Rpc::Begin(const std::shared_ptr<Rpc>& self) {
  self_ = self;
  if (!gate_.Enter(self)) service_.WatchGates();
}

void Rpc::Read() {
  inside_ = true;
  StartRead(&message_);
}

void Rpc::LeaveGate() {
  if (inside_.exchange(false)) gate_.Leave();
}

void Rpc::GiveUp() {
  Finish({grpc::StatusCode::DEADLINE_EXCEEDED,
          "the request's message did not come in time, and other requests wait"});
}

void Rpc::OnReadDone(bool ok) {
  if (!gate_.Arrive(this)) return;
  if (!ok) {
    // gRPC's own status comes first if the message was over the limit.
    Finish({grpc::StatusCode::INVALID_ARGUMENT, "the request holds no message"});
    return;
  }
  began_ = true;
  service_.RpcBegan();
  Answer(&message_);
}

void Rpc::OnCancel() {
  if (gate_.Withdraw(this)) Finish(grpc::Status::CANCELLED);
}

void Rpc::OnDone() {
  LeaveGate();
  if (began_) service_.RpcEnded();
  self_.reset();
}

void Rpc::RefuseUnreadable() {
  Finish({grpc::StatusCode::INVALID_ARGUMENT, "the request cannot be read"});
}

void HealthRpc::Answer(grpc::ByteBuffer* message) {
  HealthRequest request;
  if (!ParseMessage(message, &request)) return RefuseUnreadable();
  Reply(service_.Health());
}

void InfoRpc::Answer(grpc::ByteBuffer* message) {
  InfoRequest request;
  if (!ParseMessage(message, &request)) return RefuseUnreadable();
  InfoResponse response;
  const grpc::Status status = service_.GetInfo(request, &response);
  if (!status.ok()) return Finish(status);
  Reply(response);
}

void CallRpc::OnCancel() {
  call_.stop.request_stop();
  Rpc::OnCancel();
}

void CallRpc::Answer(grpc::ByteBuffer* message) {
  if (!ParseRequest(message, in_session_, &request_)) return RefuseUnreadable();
  Result<void> opened = Open();
  if (opened && request_.end_session) opened = EndSession();
  if (!opened) return Refuse(std::move(opened.error()));
  if (request_.end_session) return;
  Result<void> submitted = service_.Submit([this, self = self()] { Run(); });
  if (!submitted) Refuse(std::move(submitted.error()));
}

Result<void> CallRpc::Open() {
  call_.command = std::move(request_.command);
  call_.request_id = std::move(request_.request_id);
  call_.worker_id = service_.commands().worker_id;
  typed_ = !request_.typed_args.empty();
  call_.LimitTime(request_.timeout_ms);
  if (const auto deadline = context_.deadline();
      deadline != std::chrono::system_clock::time_point::max()) {
    const SteadyTime limit =
        steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(
                                  deadline - std::chrono::system_clock::now());
    call_.deadline = call_.deadline ? std::min(*call_.deadline, limit) : limit;
  }
  if (service_.draining()) {
    return Fail(CallError(ErrorCode::kCancelled, "the worker is ending", false));
  }
  if (!in_session_) return {};
  if (request_.session_id.empty() || request_.session_id.size() > kMaxSessionIdBytes) {
    return Fail(CallError(ErrorCode::kInvalidArgument,
                          "session_id must be a text of 1 to 256 bytes", false));
  }
  call_.session_id = std::move(request_.session_id);
  if (!request_.end_session) call_.session = service_.commands().sessions.Use(call_.session_id);
  return {};
}

namespace {

Error NoEndOfSession() {
  return CallError(ErrorCode::kInvalidArgument,
                   "a request that ends a session has no command, and one reply", false);
}

}  // namespace

void UnaryRpc::Run() {
  End(RunHandler([this] { return service_.commands().registry.Run(call_); }));
}

Result<void> UnaryRpc::EndSession() {
  if (!call_.command.empty()) return Fail(NoEndOfSession());
  service_.commands().sessions.End(call_.session_id);
  ExecuteResponse response;
  response.set_success(true);
  SetHeader(&response, call_.request_id);
  Reply(response);
  return {};
}

void UnaryRpc::End(const Result<Value>& result) {
  ExecuteResponse response;
  SetHeader(&response, call_.request_id);
  const Result<void> outcome = Put(result, &response);
  if (!outcome) {
    response.clear_result();
    response.clear_typed_result();
    SetError(&response, outcome.error(), reply_limit());
  }
  response.set_success(outcome.has_value());
  service_.commands().Count(outcome.has_value());
  if (call_.stop.stop_requested()) return Finish(grpc::Status::CANCELLED);
  Reply(response);
}

Result<void> UnaryRpc::Put(const Result<Value>& result, ExecuteResponse* response) {
  if (!result) return Fail(result.error());
  Result<void> encoded =
      EncodeInto(*result, typed_, response->mutable_typed_result(), response->mutable_result());
  if (!encoded) {
    encoded.error().may_have_run = true;
    return encoded;
  }
  // With `success`, which is still to come.
  const size_t size = response->ByteSizeLong() + 2;
  if (size > reply_limit()) return Fail(ResultTooLarge(size, reply_limit()));
  return {};
}

void StreamRpc::Run() {
  End(RunHandler([this] { return service_.commands().registry.RunStream(call_, *this); }));
}

Result<void> StreamRpc::EndSession() { return Fail(NoEndOfSession()); }

void StreamRpc::OnWriteDone(bool ok) {
  const MutexLock lock(mutex_);
  writing_ = false;
  broken_ = broken_ || !ok;
  written_.notify_all();
}

void StreamRpc::End(const Result<void>& outcome) {
  if (finished_) return;
  service_.commands().Count(outcome.has_value());
  if (call_.stop.stop_requested() || !AwaitWritten()) {
    Finish(grpc::Status::CANCELLED);
    return;
  }
  StreamResponse response;
  SetHeader(&response, call_.request_id);
  response.set_is_final(true);
  response.set_chunk_index(static_cast<int32_t>(count()));
  if (!outcome) SetError(&response, outcome.error(), reply_limit());
  Reply(response);
}

Result<void> StreamRpc::Deliver(Value chunk, bool final) {
  StreamResponse message;
  SetHeader(&message, call_.request_id);
  message.set_chunk_index(static_cast<int32_t>(count()));
  Result<void> encoded =
      EncodeInto(chunk, typed_, message.mutable_typed_chunk(), message.mutable_chunk());
  if (!encoded) {
    encoded.error().may_have_run = true;
    return encoded;
  }
  // An empty map and no chunk look the same: PROTOCOL.md 4.5.2.
  const bool ends_stream = final && (typed_ || !message.chunk().empty());
  message.set_is_final(ends_stream);
  if (const size_t size = message.ByteSizeLong(); size > reply_limit()) {
    return Fail(ResultTooLarge(size, reply_limit()));
  }
  const bool written = AwaitWritten();
  if (auto given_up = call_.GivenUp()) return Fail(std::move(*given_up));
  if (!written) return Fail(ErrorCode::kCancelled, "the caller is gone");
  if (ends_stream) {
    finished_ = true;
    service_.commands().Count(true);  // before the pool can ask for the figures
    Reply(message);
  } else {
    BeginWrite();
    SerializeMessage(message, &chunk_);
    StartWrite(&chunk_);
  }
  return {};
}

bool StreamRpc::AwaitWritten() {
  MutexLock lock(mutex_);
  written_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !writing_; });
  return !broken_;
}

}  // namespace snakepit
