// Calls over gRPC that their callers have given up, and that the worker may still be busy with.
// PROTOCOL.md 6.11.6.
#ifndef SNAKEPIT_TRANSPORT_GRPC_ABANDONED_CALLS_H_
#define SNAKEPIT_TRANSPORT_GRPC_ABANDONED_CALLS_H_

#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "src/transport/connection.h"
#include "src/transport/grpc/link.h"

namespace snakepit {

// Asks the worker's Health, in growing intervals, until it does not list the calls any more. One
// RPC at a time asks for all of them. Lives as long as it has calls.
class AbandonedCalls : public std::enable_shared_from_this<AbandonedCalls> {
 public:
  // CallRequest::released. Runs once, on the io thread and not in a method of this.
  using Released = std::function<void(AfterCall)>;

  AbandonedCalls(std::shared_ptr<GrpcLink> link, std::chrono::milliseconds grace)
      : link_(std::move(link)), grace_(grace) {}

  // The RPC of the call has ended, cancelled. `released` is told kUsable when the worker is through
  // with the call, kOverran when it is not within the grace, kLost when the worker has gone. From
  // any thread.
  void Add(std::string request_id, Released released);

  // After GrpcLink::Abort: the calls there are end with kLost. From any thread.
  void Abort();

 private:
  struct Call {
    std::string request_id;
    Released released;
    SteadyTime end;  // of the grace
  };

  void Ask();
  void OnAnswer(const GrpcLink::HealthAnswer& answer);
  // With the calls that the worker says it has, unless it did not answer.
  void Release(const std::optional<std::unordered_set<std::string>>& active);
  void AskLater();
  void ReleaseAll(AfterCall after);

  const std::shared_ptr<GrpcLink> link_;
  const std::chrono::milliseconds grace_;
  // Only used on the io thread.
  std::vector<Call> calls_;  // the first to be added first
  size_t asked_ = 0;         // the calls, from the first, that were there when Health was asked
  bool asking_ = false;
  std::chrono::milliseconds wait_{0};          // before the next question
  std::unique_ptr<asio::steady_timer> timer_;  // null while nothing waits
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_ABANDONED_CALLS_H_
