// Helpers of the cases of protocol 2: the fixture commands (`conf.…` of README.md), and the
// expectations for cancelled calls.
#ifndef SNAKEPIT_CONFORMANCE_CASES_FIXTURE_H_
#define SNAKEPIT_CONFORMANCE_CASES_FIXTURE_H_

#include <chrono>
#include <future>
#include <initializer_list>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>

#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

// Not-applicable for a worker of protocol version 1, or without one of the commands. Nothing for a
// worker that has all of it. Calls each command once to find out, which counts in the worker's
// health: conf.raise as a failed call.
std::optional<Verdict> NeedFixture(const Testbed& testbed,
                                   std::initializer_list<const char*> commands);

// The same for a worker whose streams are one result: PROTOCOL.md 2.7.6.
std::optional<Verdict> NeedStreams(const Testbed& testbed);

// The same for a worker without the feature `session` of version 2.
std::optional<Verdict> NeedSessions(const Testbed& testbed);

// The same for a worker that takes one call at a time.
std::optional<Verdict> NeedCapacity(const Testbed& testbed);

// A failure unless the call ended with the code and may have run.
std::optional<Verdict> ExpectError(const Reply& reply, ErrorCode code);

// Waits until the one worker has no call. A failure unless it is still the same process, and
// serves.
std::optional<Verdict> ExpectSameProcess(const Testbed& testbed, pid_t pid);

// Asks the one worker for its health until no call is in flight and `total_requests` have ended.
// Returns the last answer, also after a timeout. A worker may count a call a moment after its
// reply.
Result<WorkerHealth> AwaitCallsEnded(const Testbed& testbed, int64_t total_requests);

// "healthy, 0 calls in flight, 7 calls ended", or the error.
std::string Describe(const Result<WorkerHealth>& health);

// A conf.sleep that lasts longer than any case, until it is given up, at the latest by the
// destructor.
class LongCall {
 public:
  // `ignore`: the handler ignores its cancellation.
  explicit LongCall(const Testbed& testbed, bool ignore = false);
  ~LongCall();
  LongCall(const LongCall&) = delete;
  LongCall& operator=(const LongCall&) = delete;

  // Waits until the handler runs: nothing, or the failure. A call that is given up earlier never
  // begins.
  std::optional<Verdict> AwaitBegun() const;

  bool HasEnded() const {
    return reply_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  // Cancels the call. Once.
  Reply GiveUp() {
    stop_.request_stop();
    return reply_.get();
  }

 private:
  const std::chrono::milliseconds patience_;
  const std::string begun_path_;  // the handler makes this file
  std::stop_source stop_;
  std::future<Reply> reply_;  // after stop_: its end is awaited first
};

// The args of conf.stream.
Value StreamArgs(int count, int bytes);

// Number of chunks that conf.stream has made in this process, or the failure.
std::variant<int64_t, Verdict> SentCount(const Testbed& testbed);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_FIXTURE_H_
