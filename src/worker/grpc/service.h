// The service SnakepitBridge of a worker. PROTOCOL.md 4, 6.11 and 6.13.
#ifndef SNAKEPIT_WORKER_GRPC_SERVICE_H_
#define SNAKEPIT_WORKER_GRPC_SERVICE_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "src/base/mutex.h"
#include "src/value/decode_budget.h"
#include "src/worker/command_service.h"
#include "src/worker/executor.h"
#include "src/worker/grpc/messages.h"
#include "src/worker/grpc/read_gate.h"

namespace snakepit {

// The service is generic so that it sees an RPC before its message is read: an RPC without the
// token costs no more than its headers. gRPC calls it on its own threads, and it does not block
// them: handlers run on the executor's threads. Errors of calls are in the reply; the status is OK.
class GrpcService : public grpc::CallbackGenericService {
 public:
  GrpcService(CommandService& commands, size_t max_message_bytes,
              std::chrono::steady_clock::duration arrival_limit);
  ~GrpcService() override;

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

  // Begins no more calls.
  void Drain() { draining_ = true; }
  // Waits until no RPC is in progress. False when some are after that time.
  bool WaitForRpcs(std::chrono::steady_clock::duration limit);
  // False when handlers run on after that time.
  bool WaitForHandlers(std::chrono::steady_clock::duration limit) {
    return executor_.WaitUntilIdle(limit);
  }

  // The following methods serve the RPCs.

  CommandService& commands() { return commands_; }
  bool draining() const { return draining_; }
  const DecodeLimits& decode_limits() const { return decode_limits_; }
  // The largest reply.
  size_t ReplyLimit(bool typed) const;

  HealthResponse Health();
  // The status is INVALID_ARGUMENT for an invalid offer.
  grpc::Status GetInfo(const InfoRequest& request, InfoResponse* response);

  // Runs the job on a thread of the executor. An error when it cannot take it.
  Result<void> Submit(std::function<void()> job);

  // Call it when an RPC waits at a gate: it gives those up in time that are in the way. Does
  // nothing when the system gives no thread.
  void WatchGates();

  // Counts the RPCs from the arrival of their messages until their replies are sent.
  void RpcBegan();
  void RpcEnded();

  // Lists a call in active_request_ids.
  class Listed {
   public:
    Listed(GrpcService& service, const std::string& request_id);
    ~Listed();
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;

   private:
    GrpcService& service_;
    std::multiset<std::string>::iterator place_;
  };

 private:
  // Runs until no RPC waits at a gate.
  void KeepGatesMoving();
  std::optional<ReadGate::Clock::time_point> GiveUpLate();
  void FillStats(WorkerStats* stats);
  grpc::Status Agree(const InfoRequest& request, InfoResponse* response);

  CommandService& commands_;
  const size_t max_message_bytes_;
  const DecodeLimits decode_limits_;  // for the arguments of a call
  std::atomic<size_t> pool_limit_;    // the largest reply that the pool reads
  std::atomic<bool> draining_{false};
  // Queries have their own gate, so they are answered while calls wait.
  ReadGate call_gate_;
  ReadGate query_gate_;
  std::atomic<bool> watches_gates_{false};

  Mutex mutex_;
  CondVar changed_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  int rpcs_ ABSL_GUARDED_BY(mutex_) = 0;
  // Request ids of calls whose handlers run.
  std::multiset<std::string> active_ ABSL_GUARDED_BY(mutex_);

  Executor executor_;  // destroyed first: its threads use the rest
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_SERVICE_H_
