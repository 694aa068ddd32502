// The service SnakepitBridge of a worker. PROTOCOL.md 4, 6.11 and 6.13.
#ifndef SNAKEPIT_WORKER_GRPC_SERVICE_H_
#define SNAKEPIT_WORKER_GRPC_SERVICE_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "src/value/decode_budget.h"
#include "src/worker/executor.h"
#include "src/worker/grpc/messages.h"
#include "src/worker/grpc/read_gate.h"
#include "src/worker/worker_core.h"

namespace snakepit {

// Generic, since only so an RPC is seen before its message is read: one without the token costs no
// more than its headers. Called on gRPC's own threads, and does not block them: handlers run on
// those of the executor. Errors of calls are in the reply; the status of the RPC is OK.
class GrpcService : public grpc::CallbackGenericService {
 public:
  GrpcService(WorkerCore& core, size_t max_message_bytes,
              std::chrono::steady_clock::duration arrival_limit);
  ~GrpcService() override;

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

  // Begins no more calls.
  void Drain() { draining_ = true; }
  // Waits until no RPC is in progress, or for so long.
  void WaitForRpcs(std::chrono::steady_clock::duration limit);
  // False when handlers run on after that time.
  bool WaitForHandlers(std::chrono::steady_clock::duration limit) {
    return executor_.WaitUntilIdle(limit);
  }

  // For RPCs.

  WorkerCore& core() { return core_; }
  bool draining() const { return draining_; }
  const DecodeLimits& decode_limits() const { return decode_limits_; }
  // The largest reply.
  size_t ReplyLimit(bool typed) const;

  HealthResponse Health();
  // The status is INVALID_ARGUMENT for an offer that cannot be right.
  grpc::Status GetInfo(const InfoRequest& request, InfoResponse* response);

  // Runs the job on a thread of the executor. An error when it cannot take it.
  Result<void> Submit(std::function<void()> job);

  // Some RPC waits at a gate: those that are in the way are to be given up in time. Does nothing
  // when the system gives no thread.
  void WatchGates();

  // RPCs whose messages are there, until their replies are sent.
  void RpcBegan();
  void RpcEnded();

  // Has a call in active_request_ids.
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
  // Until nobody waits at a gate.
  void KeepGatesMoving();
  std::optional<ReadGate::Clock::time_point> GiveUpLate();
  void FillStats(WorkerStats* stats);
  grpc::Status Agree(const InfoRequest& request, InfoResponse* response);

  WorkerCore& core_;
  const size_t max_message_bytes_;
  const DecodeLimits decode_limits_;  // of the arguments of a call
  std::atomic<size_t> pool_limit_;    // what the pool reads, as it said
  std::atomic<bool> draining_{false};
  // Queries are answered whatever calls wait.
  ReadGate call_gate_;
  ReadGate query_gate_;
  std::atomic<bool> watches_gates_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  int rpcs_ = 0;
  std::multiset<std::string> active_;  // request ids of calls whose handlers run

  Executor executor_;  // destroyed first: its threads use the rest
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_SERVICE_H_
