// The calls of a connection that have been read and have not had their last message.
#ifndef SNAKEPIT_WORKER_STDIO_CALLS_IN_FLIGHT_H_
#define SNAKEPIT_WORKER_STDIO_CALLS_IN_FLIGHT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "src/base/mutex.h"
#include "src/worker/call_state.h"
#include "src/worker/stdio/credit.h"
#include "src/worker/stdio/reading_role.h"

namespace snakepit {

struct StdioPendingCall : CallState {
  int64_t id = 0;
  bool stream = false;
  size_t payload_bytes = 0;  // size of its request
  // True once the call has begun, or was given up before. The thread that sets it answers the call.
  std::atomic<bool> claimed{false};
  // The turn of the thread that read the request, if the handler runs on that thread.
  ReadingRole::Turn turn = 0;
  std::optional<Credit> credit;  // absent: no limit
  int64_t chunks = -1;           // chunks sent by a stream that has ended
  // Counted, and not in flight any more. For the thread that runs the call.
  bool ended = false;
};

// Finds the call that a message is about. Usable from any thread.
class CallsInFlight {
 public:
  using CallPtr = std::shared_ptr<StdioPendingCall>;

  // False, and nothing changes, when another call has its id.
  bool Add(CallPtr call);
  void Remove(int64_t id);
  // Null: none has that id.
  CallPtr Find(int64_t id) const;

  // Says that no more credit will come, to streams that wait for it.
  void EndCredit();
  // Asks each handler to stop. The callbacks of the handlers run without the lock.
  void StopAll();

 private:
  mutable Mutex mutex_;
  std::unordered_map<int64_t, CallPtr> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_CALLS_IN_FLIGHT_H_
