// Recorder: makes calls and records the outcome of each. Thread-safe.
#ifndef SNAKEPIT_STORM_RECORDER_H_
#define SNAKEPIT_STORM_RECORDER_H_

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "storm/history.h"

namespace snakepit::storm {

// A call to be made. `call` has the members that are known before.
struct CallPlan {
  Call call;
  Value::Map args;                 // without the id
  std::optional<Time> stop_after;  // its caller stops it so long after its begin
  int64_t refused_chunk = -1;      // its caller refuses this chunk; -1: none
};

// Figures so far, for people.
struct Tally {
  int64_t calls = 0;
  int64_t succeeded = 0;
  std::array<int64_t, static_cast<size_t>(ErrorCode::kInternal) + 1>
      errors{};  // one for each ErrorCode
};

class Recorder {
 public:
  explicit Recorder(Pool& pool);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Makes the call on this thread. Returns its error; nothing if there was a result.
  std::optional<ErrorCode> Run(CallPlan plan);
  // Returns at once. `ended` is called on the pool's thread, after the outcome.
  void Submit(CallPlan plan, std::function<void()> ended = {});

  // Waits until every call has an outcome. False after the time limit.
  bool AwaitOutcomes(std::chrono::milliseconds timeout);

  // Hands over all calls, also those without an outcome.
  std::vector<Call> Take();

  Tally tally() const;

 private:
  // A caller's cancellation of a call.
  struct GiveUp {
    std::stop_source source;
    std::atomic<int64_t> at{0};  // its time in microseconds; 0: not yet

    void Now() {
      at = storm::Now().count();
      source.request_stop();
    }
  };
  struct AsyncCall;

  Value Begin(CallPlan& plan);
  std::shared_ptr<GiveUp> PlanGiveUp(const CallPlan& plan);
  CallOptions Options(const CallPlan& plan, const GiveUp* give_up, CallInfo* info) const;
  Result<Value> RunStream(CallPlan& plan, const Value& args, const CallOptions& options,
                          GiveUp* give_up);
  void End(Call call, const Result<Value>& result, const CallInfo& info, const GiveUp* give_up);
  void EndAgain(int64_t id);
  void StopLoop();

  Pool& pool_;
  std::atomic<int64_t> last_id_{0};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, Call> begun_;
  std::vector<Call> ended_;
  std::vector<int64_t> ended_again_;
  Tally tally_;

  // Later stops, requested by a thread of their own.
  std::mutex stops_mutex_;
  std::condition_variable stops_changed_;
  std::multimap<Time, std::shared_ptr<GiveUp>> stops_;
  bool closing_ = false;
  std::thread stopper_;
};

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_RECORDER_H_
