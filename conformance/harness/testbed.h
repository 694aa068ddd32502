// Testbed: the tools of a case: a pool of the judged worker, time limits, and the means to stop and
// kill the pool's workers.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_TESTBED_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_TESTBED_H_

#include <sys/types.h>

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/harness/case.h"
#include "conformance/harness/pool_under_test.h"

namespace snakepit::conformance {

// The end of one call, and the worker that served it.
struct Reply {
  Result<Value> result;
  CallInfo info;

  // "WORKER_LOST: …" or the result as JSON.
  std::string Describe() const;
};

// The same of a stream.
struct StreamReply {
  Result<int64_t> count;
  std::vector<Chunk> chunks;
  CallInfo info;

  // "3 chunks" or "WORKER_LOST after 2 chunks: …".
  std::string Describe() const;
};

// False gives the stream up.
using StreamReader = std::function<bool(const Chunk& chunk)>;

class Testbed {
 public:
  struct Options {
    Adapter adapter;  // the worker's, marked for the ledger
    PoolStarter start_pool;
    double slowdown = 1;
    int expected_version = 0;  // protocol version; 0: any
  };

  explicit Testbed(Options options) : options_(std::move(options)) {}

  // Starts the pool for the calls below, after the shutdown of the former one. `wrapper`: a command
  // line that is put before the worker's.
  Result<void> StartPool(int workers, const std::vector<std::string>& wrapper = {});
  void StopPool() { pool_.reset(); }

  // Thread-safe while the pool exists. Each call ends within Patience(), unless the options have a
  // timeout. CallOptions::info is the testbed's.
  Reply Call(std::string_view command, const Value& args = {}, CallOptions options = {}) const;
  StreamReply Stream(std::string_view command, const Value& args, const StreamReader& reader = {},
                     CallOptions options = {}) const;
  // Starts a call on a thread of its own and returns at once.
  std::future<Reply> StartCall(std::string command, Value args = {},
                               CallOptions options = {}) const;
  Result<WorkerHealth> CheckHealth(int worker, std::chrono::milliseconds timeout) const {
    return pool_->CheckHealth(worker, timeout);
  }
  void EndSession(std::string_view session) const { pool_->EndSession(session); }
  std::vector<WorkerInfo> Workers() const { return pool_->Workers(); }
  PoolStats Stats() const { return pool_->Stats(); }

  double slowdown() const { return options_.slowdown; }
  int expected_version() const { return options_.expected_version; }
  // The protocol version agreed with the first worker of the latest pool; 0 without a pool.
  int agreed_version() const { return agreed_version_; }

  // The worker's adapter, with its placeholders.
  const Adapter& adapter() const { return options_.adapter; }

  // Longest wait for an event that must come.
  std::chrono::milliseconds Patience() const { return Scaled(std::chrono::seconds(6)); }
  // The equivalent on this machine of a time on the calibration machine.
  std::chrono::milliseconds Scaled(std::chrono::milliseconds time) const;

  // Waits until the worker has so many calls in flight: nothing, or the failure.
  std::optional<Verdict> AwaitInFlight(int worker, int calls = 1) const;

  // Signals the worker's whole process group. Kills are logged.
  std::optional<Verdict> Stop(const WorkerInfo& worker) const;
  void Continue(pid_t pid) const;
  void Kill(pid_t pid) const;
  // Kills one process.
  void KillProcess(pid_t pid) const;

  // Waits until the pool has so many calls, queued and in flight: nothing, or the failure.
  std::optional<Verdict> AwaitAccepted(size_t calls) const;

  // Waits until no worker has the process: nothing, or the failure.
  std::optional<Verdict> AwaitGone(pid_t pid) const;

  // Waits until all workers are ready and none has one of the `former` processes: nothing, or the
  // failure with the observation.
  std::optional<Verdict> AwaitReplaced(const std::vector<pid_t>& former) const;

  // Logs an action of the judge itself, with its reason. Thread-safe.
  void Note(std::string_view text) const;

  // A text that the judge must never write. Fit hides it from now on.
  void KeepSecret(std::string secret) { secrets_.push_back(std::move(secret)); }
  // The text without the secrets, and cut if it is too long.
  std::string Fit(std::string text) const;

  // The last lines of the pool's log and of the workers' stderr. Complete once the pool is
  // stopped.
  std::vector<std::string> LogLines() const;

 private:
  struct Log {
    std::mutex mutex;
    std::vector<std::string> lines;

    void Add(std::string line);
  };

  const Options options_;
  const std::shared_ptr<Log> log_ = std::make_shared<Log>();
  std::unique_ptr<PoolUnderTest> pool_;
  int agreed_version_ = 0;
  std::vector<std::string> secrets_;
};

// "worker 0 ready (pid 77), worker 1 starting (pid 78)".
std::string Describe(const std::vector<WorkerInfo>& workers);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_TESTBED_H_
