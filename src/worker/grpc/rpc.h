// The RPCs of GrpcService.
#ifndef SNAKEPIT_WORKER_GRPC_RPC_H_
#define SNAKEPIT_WORKER_GRPC_RPC_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>

#include "src/base/mutex.h"
#include "src/worker/call_state.h"
#include "src/worker/grpc/messages.h"
#include "src/worker/grpc/read_gate.h"
#include "src/worker/grpc/service.h"
#include "src/worker/registry.h"

namespace snakepit {

// An RPC that ends at once, unread.
class RefusedRpc : public grpc::ServerGenericBidiReactor {
 public:
  explicit RefusedRpc(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

// An RPC of one message from the client: it reads the first and no other. It owns itself until gRPC
// and its job are done with it.
class Rpc : public grpc::ServerGenericBidiReactor, public ReadGate::Request {
 public:
  Rpc(GrpcService& service, ReadGate& gate) : service_(service), gate_(gate) {}

  // Has the message read in its turn.
  void Begin(const std::shared_ptr<Rpc>& self);

  void OnReadDone(bool ok) final;
  void GiveUp() final;
  void OnCancel() override;
  void OnDone() final;

 protected:
  // Answers the message, now or on another thread.
  virtual void Answer(grpc::ByteBuffer* message) = 0;

  // Sends the reply, with which the RPC ends.
  template <typename Response>
  void Reply(const Response& response) {
    SerializeMessage(response, &message_);
    StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void RefuseUnreadable();

  // Gives back the place among the requests that are read.
  void LeaveGate();

  // Keeps the RPC alive while a job may use it.
  std::shared_ptr<Rpc> self() const { return self_; }

  GrpcService& service_;

 private:
  void Read() final;

  ReadGate& gate_;
  std::atomic<bool> inside_{false};  // the gate
  bool began_ = false;
  grpc::ByteBuffer message_;  // the request, and then the reply
  std::shared_ptr<Rpc> self_;
};

class HealthRpc : public Rpc {
 public:
  using Rpc::Rpc;

 private:
  void Answer(grpc::ByteBuffer* message) override;
};

class InfoRpc : public Rpc {
 public:
  using Rpc::Rpc;

 private:
  void Answer(grpc::ByteBuffer* message) override;
};

// A call, for one result or for chunks.
class CallRpc : public Rpc {
 public:
  // `context` lives as long as the RPC.
  CallRpc(GrpcService& service, ReadGate& gate, const grpc::CallbackServerContext& context,
          bool in_session)
      : Rpc(service, gate), context_(context), in_session_(in_session) {}

  void OnCancel() final;

 protected:
  // Runs the handler, and ends the RPC.
  virtual void Run() = 0;
  // Ends the RPC without a handler.
  virtual void Refuse(Error error) = 0;
  // Ends a session, if this kind of RPC may ask for that.
  virtual Result<void> EndSession() = 0;

  // Reads the arguments, and runs `run` while the call is listed.
  template <typename Run>
  auto RunHandler(Run run) -> decltype(run()) {
    Result<Value> args = TakeArgs(request_, service_.decode_limits());
    LeaveGate();
    if (!args) return Fail(std::move(args.error()));
    call_.args = *std::move(args);
    const GrpcService::Listed listed(service_, call_.request_id);
    return run();
  }

  size_t reply_limit() const { return service_.ReplyLimit(typed_); }

  GrpcRequest request_;
  CallState call_;
  bool typed_ = false;  // version 2

 private:
  void Answer(grpc::ByteBuffer* message) final;
  // Fills in the call without its arguments. INVALID_ARGUMENT.
  Result<void> Open();

  const grpc::CallbackServerContext& context_;
  const bool in_session_;
};

class UnaryRpc final : public CallRpc {
 public:
  using CallRpc::CallRpc;

 private:
  void Run() override;
  void Refuse(Error error) override { End(Fail(std::move(error))); }
  Result<void> EndSession() override;

  void End(const Result<Value>& result);
  Result<void> Put(const Result<Value>& result, ExecuteResponse* response);
};

class StreamRpc final : public CallRpc, public StreamSink {
 public:
  using CallRpc::CallRpc;

  void OnWriteDone(bool ok) override;

 private:
  void Run() override;
  void Refuse(Error error) override { End(Fail(std::move(error))); }
  Result<void> EndSession() override;

  Result<void> Deliver(Value chunk, bool final) override;
  // Ends the RPC, if its last message has not done so.
  void End(const Result<void>& outcome);
  // Waits until the transport has taken the message before, or the call is cancelled. False when
  // nothing can be written any more.
  bool AwaitWritten();
  // Needs no lock: no write is under way, so no other thread looks at writing_.
  void BeginWrite() ABSL_NO_THREAD_SAFETY_ANALYSIS { writing_ = true; }

  Mutex mutex_;
  CondVar written_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  // Only the handler's thread uses these two.
  bool finished_ = false;
  grpc::ByteBuffer chunk_;  // the chunk that is being written
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_RPC_H_
