// The ends of sessions over gRPC. PROTOCOL.md 6.11.
#ifndef SNAKEPIT_TRANSPORT_GRPC_SESSION_ENDS_H_
#define SNAKEPIT_TRANSPORT_GRPC_SESSION_ENDS_H_

#include <atomic>
#include <condition_variable>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>

#include "src/base/mutex.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/link.h"

namespace snakepit {

// Tells the worker of them, and lets no call of a new session of the same name overtake that: gRPC
// itself keeps no order among RPCs. From any thread.
class SessionEnds : public std::enable_shared_from_this<SessionEnds> {
 public:
  explicit SessionEnds(std::shared_ptr<GrpcLink> link) : link_(std::move(link)) {}

  // The end is pending when this returns, and until the worker has been told: at the latest for 5
  // s.
  void Tell(const std::string& session_id);

  // Costs a look at a counter while no end is pending.
  bool IsPending(std::string_view session_id) const;

  // Returns when none is pending, at the deadline, or when a stop is asked for.
  void Await(std::string_view session_id, SteadyTime deadline, const std::stop_token& stop) const;

 private:
  void Send(const std::string& session_id, SteadyTime until);
  // Again where the connection has ended, or the worker is too busy: a session that the worker does
  // not know any more does no harm.
  void SendLater(const std::string& session_id, SteadyTime until);
  void SetTold(const std::string& session_id);

  const std::shared_ptr<GrpcLink> link_;
  mutable Mutex mutex_;
  mutable std::condition_variable_any told_;
  std::multiset<std::string, std::less<>> pending_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> count_ = 0;  // of pending_
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_SESSION_ENDS_H_
