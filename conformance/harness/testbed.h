// Testbed: what a case has to work with: a pool of the worker that is judged, time limits, and the
// means to stop and kill the pool's workers.
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

// One call, and which worker served it.
struct Reply {
  Result<Value> result;
  CallInfo info;

  // "WORKER_LOST: …" or the result as JSON.
  std::string Describe() const;
};

// One stream.
struct StreamReply {
  Result<int64_t> count;
  std::vector<Chunk> chunks;
  CallInfo info;

  // "3 chunks" or "WORKER_LOST after 2 chunks: …".
  std::string Describe() const;
};

using StreamReader = std::function<bool(const Chunk& chunk)>;  // false gives the stream up

class Testbed {
 public:
  struct Options {
    Adapter adapter;  // of the worker, marked for the ledger
    PoolStarter start_pool;
    double slowdown = 1;
    int expected_version = 0;  // of the protocol; 0: whatever the worker agrees to
  };

  explicit Testbed(Options options) : options_(std::move(options)) {}

  // Starts the pool that the calls below use; the former one, if any, is shut down. With a
  // `wrapper`, that command line is put before the worker's.
  Result<void> StartPool(int workers, const std::vector<std::string>& wrapper = {});
  void StopPool() { pool_.reset(); }

  // From any thread while the pool is there. Each call ends within Patience(), unless the options
  // have a timeout of their own; CallOptions::info is the testbed's.
  Reply Call(std::string_view command, const Value& args = {}, std::string_view session = {},
             CallOptions options = {}) const;
  StreamReply Stream(std::string_view command, const Value& args, const StreamReader& reader = {},
                     CallOptions options = {}) const;
  // Starts a call on a thread of its own and returns at once.
  std::future<Reply> StartCall(std::string command, Value args = {}, std::string session = {},
                               CallOptions options = {}) const;
  Result<WorkerHealth> CheckHealth(int worker, std::chrono::milliseconds timeout) const {
    return pool_->CheckHealth(worker, timeout);
  }
  void EndSession(std::string_view session) const { pool_->EndSession(session); }
  std::vector<WorkerInfo> Workers() const { return pool_->Workers(); }
  PoolStats Stats() const { return pool_->Stats(); }

  int expected_version() const { return options_.expected_version; }
  // The protocol version that the first worker of a pool agreed to last; 0 before.
  int agreed_version() const { return agreed_version_; }

  // How the worker is started, its placeholders not filled in.
  const Adapter& adapter() const { return options_.adapter; }

  // How long to wait for what has to happen.
  std::chrono::milliseconds Patience() const { return Scaled(std::chrono::seconds(6)); }
  // A time limit of the calibration machine, on this one.
  std::chrono::milliseconds Scaled(std::chrono::milliseconds time) const;

  // Waits until the worker has so many calls: nothing, or the failure.
  std::optional<Verdict> AwaitInFlight(int worker, int calls = 1) const;

  // Signals to the worker's whole process group. The log tells of a kill.
  std::optional<Verdict> Stop(const WorkerInfo& worker) const;
  void Continue(pid_t pid) const;
  void Kill(pid_t pid) const;
  // A signal to one process.
  void KillProcess(pid_t pid) const;

  // Waits until the pool has so many calls, queued and in flight: nothing, or the failure.
  std::optional<Verdict> AwaitAccepted(size_t calls) const;

  // Waits until no worker has the process: nothing, or the failure.
  std::optional<Verdict> AwaitGone(pid_t pid) const;

  // Waits until all workers are ready and none has one of the `former` processes: nothing, or the
  // failure, with what was seen instead.
  std::optional<Verdict> AwaitReplaced(const std::vector<pid_t>& former) const;

  // A line of the judge itself in the log: what it did to the worker, and why. From any thread.
  void Note(std::string_view text) const;

  // A text that is to be in nothing that the judge writes: from now on Fit hides it.
  void KeepSecret(std::string secret) { secrets_.push_back(std::move(secret)); }
  // A text as it may be written: without the secrets, and not too long.
  std::string Fit(std::string text) const;

  // What the pool had to tell, and the workers' stderr: the last lines. All of it is there once the
  // pool is stopped.
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
