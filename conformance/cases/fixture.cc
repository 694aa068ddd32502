#include "conformance/cases/fixture.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

namespace snakepit::conformance {
namespace {

// Longer than any case.
constexpr int kLongMs = 600'000;

CallOptions Stoppable(std::stop_token stop) {
  CallOptions options;
  options.stop = std::move(stop);
  options.timeout = std::chrono::milliseconds(kLongMs);
  return options;
}

// A path in the folder of the run.
std::string UnusedPath() {
  static std::atomic<int> last = 0;
  const char* const folder = std::getenv("TMPDIR");
  return std::string(folder == nullptr ? "/tmp" : folder) + "/judge-begun-" +
         std::to_string(getpid()) + "-" + std::to_string(++last);
}

}  // namespace

std::optional<Verdict> NeedFixture(const Testbed& testbed,
                                   std::initializer_list<const char*> commands) {
  const int version = testbed.Workers()[0].protocol_version;
  if (version < 2) {
    return Verdict::NotApplicable("protocol version " + std::to_string(version));
  }
  // Without arguments each command ends at once. Any command can be called as a stream.
  for (const char* command : commands) {
    const StreamReply reply = testbed.Stream(command, {});
    if (!reply.count && reply.count.error().code == ErrorCode::kUnimplemented) {
      return Verdict::NotApplicable("no fixture command " + std::string(command));
    }
  }
  return std::nullopt;
}

std::optional<Verdict> NeedSessions(const Testbed& testbed) {
  if (testbed.Workers()[0].sessions) return std::nullopt;
  return Verdict::NotApplicable("the worker lacks the feature `session`");
}

std::optional<Verdict> NeedStreams(const Testbed& testbed) {
  const WorkerInfo worker = testbed.Workers()[0];
  if (worker.streams) return std::nullopt;
  return Verdict::NotApplicable(worker.protocol_version < 2
                                    ? "protocol version 1, which on stdio has no streams"
                                    : "the worker lacks the feature `stream`");
}

std::optional<Verdict> NeedCapacity(const Testbed& testbed) {
  if (testbed.Workers()[0].capacity > 1) return std::nullopt;
  return Verdict::NotApplicable("the worker takes one call at a time");
}

std::optional<Verdict> ExpectError(const Reply& reply, ErrorCode code) {
  const std::string expected = std::string(ErrorCodeName(code)) + ", which may have run";
  if (reply.result || reply.result.error().code != code) {
    return Verdict::Fail(expected, reply.Describe());
  }
  if (reply.result.error().may_have_run) return std::nullopt;
  return Verdict::Fail(expected, reply.Describe() + ", said not to have run");
}

std::optional<Verdict> ExpectSameProcess(const Testbed& testbed, pid_t pid) {
  if (auto busy = testbed.AwaitInFlight(0, 0)) return busy;
  const Reply reply = testbed.Call("ping");
  if (reply.result && reply.info.worker_pid == pid) return std::nullopt;
  std::string observed = reply.Describe();
  if (reply.result)
    observed = "it was replaced by process " + std::to_string(reply.info.worker_pid);
  return Verdict::Fail("process " + std::to_string(pid) + " serves the next call",
                       std::move(observed));
}

Result<WorkerHealth> AwaitCallsEnded(const Testbed& testbed, int64_t total_requests) {
  const auto deadline = std::chrono::steady_clock::now() + testbed.Patience() / 2;
  while (true) {
    auto health = testbed.CheckHealth(0, testbed.Patience());
    if (!health || std::chrono::steady_clock::now() > deadline ||
        (health->calls_in_flight == 0 && health->total_requests == total_requests)) {
      return health;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // there is no event to wait for
  }
}

std::string Describe(const Result<WorkerHealth>& health) {
  if (!health) return health.error().ToString();
  return std::string(health->healthy ? "healthy" : "not healthy") + ", " +
         std::to_string(health->calls_in_flight) + " calls in flight, " +
         std::to_string(health->total_requests) + " calls ended";
}

LongCall::LongCall(const Testbed& testbed, bool ignore)
    : patience_(testbed.Patience() / 2),
      begun_path_(UnusedPath()),
      reply_(testbed.StartCall(
          "conf.sleep", Value::Map{{"ms", kLongMs}, {"ignore", ignore}, {"begun", begun_path_}},
          Stoppable(stop_.get_token()))) {}

LongCall::~LongCall() {
  stop_.request_stop();
  unlink(begun_path_.c_str());
}

std::optional<Verdict> LongCall::AwaitBegun() const {
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  while (access(begun_path_.c_str(), F_OK) != 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      return Verdict::Fail("conf.sleep makes the file `begun` as soon as it runs",
                           "there is none after " + std::to_string(patience_.count()) + " ms");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // there is no event to wait for
  }
  return std::nullopt;
}

Value StreamArgs(int count, int bytes) { return Value::Map{{"count", count}, {"bytes", bytes}}; }

std::variant<int64_t, Verdict> SentCount(const Testbed& testbed) {
  const Reply reply = testbed.Call("conf.sent_count");
  const int64_t* count = reply.result ? reply.result->get_if<int64_t>() : nullptr;
  if (count != nullptr) return *count;
  return Verdict::Fail("conf.sent_count is an integer", reply.Describe());
}

}  // namespace snakepit::conformance
