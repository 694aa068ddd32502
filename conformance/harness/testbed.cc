#include "conformance/harness/testbed.h"

#include <signal.h>

#include <algorithm>
#include <thread>

#include "conformance/harness/processes.h"
#include "src/base/quote.h"

namespace snakepit::conformance {
namespace {

using std::chrono::steady_clock;

constexpr size_t kLogLines = 50;

// Polls, since the states of processes and of workers have no event to wait for.
template <typename Condition>
bool Await(std::chrono::milliseconds limit, Condition condition) {
  const auto deadline = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace

std::string Reply::Describe() const {
  return result ? "the result " + result->ToJson() : result.error().ToString();
}

std::string StreamReply::Describe() const {
  const std::string number = std::to_string(chunks.size()) + " chunks";
  return count ? number : number + ", then " + count.error().ToString();
}

std::string Describe(const std::vector<WorkerInfo>& workers) {
  std::string text;
  for (const WorkerInfo& worker : workers) {
    text += (text.empty() ? "worker " : ", worker ") + std::to_string(worker.id) + " " +
            std::string(WorkerStateName(worker.state)) + " (pid " + std::to_string(worker.pid) +
            ")";
  }
  return text.empty() ? "no workers" : text;
}

std::chrono::milliseconds Testbed::Scaled(std::chrono::milliseconds time) const {
  return std::chrono::milliseconds(static_cast<int64_t>(time.count() * options_.slowdown));
}

Result<void> Testbed::StartPool(int workers, const std::vector<std::string>& wrapper) {
  pool_.reset();
  PoolOptions options;
  options.adapter = options_.adapter;
  options.adapter.argv.insert(options.adapter.argv.begin(), wrapper.begin(), wrapper.end());
  options.adapter.start_timeout = Scaled(std::chrono::seconds(10));
  options.workers = workers;
  options.queue.timeout = Patience();
  options.call_timeout = Patience();
  options.stream_timeout = Patience();
  options.cancel_grace = Scaled(options.cancel_grace);
  // Short, since the judge kills many idle workers, which the pool counts as failed.
  options.restart.initial_backoff = std::chrono::milliseconds(10);
  options.restart.max_backoff = std::chrono::milliseconds(100);
  options.log = [log = log_](LogLevel, std::string_view line) { log->Add(std::string(line)); };
  auto pool = options_.start_pool(std::move(options));
  if (!pool) return Fail(std::move(pool.error()));
  pool_ = std::move(*pool);
  agreed_version_ = pool_->Workers()[0].protocol_version;
  return {};
}

void Testbed::Log::Add(std::string line) {
  std::lock_guard lock(mutex);
  if (lines.size() == kLogLines) lines.erase(lines.begin());
  lines.push_back(std::move(line));
}

void Testbed::Note(std::string_view text) const { log_->Add("the judge " + std::string(text)); }

std::string Testbed::Fit(std::string text) const {
  for (const std::string& secret : secrets_) text = HideSecret(std::move(text), secret);
  return CutText(text, kMostErrorTextBytes);
}

std::vector<std::string> Testbed::LogLines() const {
  std::lock_guard lock(log_->mutex);
  return log_->lines;
}

Reply Testbed::Call(std::string_view command, const Value& args, CallOptions options) const {
  Reply reply;
  options.info = &reply.info;
  reply.result = pool_->Execute(command, args, options);
  return reply;
}

StreamReply Testbed::Stream(std::string_view command, const Value& args, const StreamReader& reader,
                            CallOptions options) const {
  StreamReply reply;
  options.info = &reply.info;
  const ChunkCallback on_chunk = [&](const Chunk& chunk) {
    reply.chunks.push_back(chunk);
    return !reader || reader(chunk);
  };
  reply.count = pool_->ExecuteStream(command, args, on_chunk, options);
  return reply;
}

std::optional<Verdict> Testbed::Stop(const WorkerInfo& worker) const {
  // The whole group, since a worker may be a script whose child does the work. PROTOCOL.md 1.1.3.
  if (kill(-worker.pid, SIGSTOP) != 0) {
    return Verdict::Fail("the worker leads a process group of its own (PROTOCOL.md 1.1.3)",
                         "there is no process group " + std::to_string(worker.pid));
  }
  const bool stopped = Await(Patience(), [&worker] {
    const auto group = ListGroup(worker.pid);
    return !group.empty() &&
           std::all_of(group.begin(), group.end(), [](const Process& p) { return p.state == 'T'; });
  });
  if (stopped) return std::nullopt;
  return Verdict::HarnessError("worker " + std::to_string(worker.pid) + " did not stop at SIGSTOP");
}

void Testbed::Continue(pid_t pid) const { kill(-pid, SIGCONT); }

// Noted first, so that its effects come after it in the log.
void Testbed::Kill(pid_t pid) const {
  Note("sends SIGKILL to process group " + std::to_string(pid) + ", as the case requires");
  kill(-pid, SIGKILL);
}

void Testbed::KillProcess(pid_t pid) const {
  Note("sends SIGKILL to process " + std::to_string(pid) + ", as the case requires");
  kill(pid, SIGKILL);
}

std::future<Reply> Testbed::StartCall(std::string command, Value args, CallOptions options) const {
  return std::async(std::launch::async,
                    [this, command = std::move(command), args = std::move(args),
                     options = std::move(options)] { return Call(command, args, options); });
}

std::optional<Verdict> Testbed::AwaitInFlight(int worker, int calls) const {
  int seen = 0;
  const bool reached = Await(Patience(), [&] {
    seen = Workers()[worker].calls_in_flight;
    return seen == calls;
  });
  if (reached) return std::nullopt;
  return Verdict::Fail(
      "worker " + std::to_string(worker) + " comes to have " + std::to_string(calls) +
          " calls in flight",
      std::to_string(seen) + " after " + std::to_string(Patience().count()) + " ms");
}

std::optional<Verdict> Testbed::AwaitAccepted(size_t calls) const {
  PoolStats stats;
  const bool accepted = Await(Patience(), [&] {
    stats = pool_->Stats();
    return stats.calls_queued + static_cast<size_t>(stats.calls_in_flight) == calls;
  });
  if (accepted) return std::nullopt;
  return Verdict::Fail("the pool has " + std::to_string(calls) + " calls",
                       std::to_string(stats.calls_queued) + " queued and " +
                           std::to_string(stats.calls_in_flight) + " in flight");
}

std::optional<Verdict> Testbed::AwaitGone(pid_t pid) const {
  std::vector<WorkerInfo> workers;
  const bool gone = Await(Patience(), [&] {
    workers = Workers();
    return std::none_of(workers.begin(), workers.end(),
                        [pid](const WorkerInfo& worker) { return worker.pid == pid; });
  });
  if (gone) return std::nullopt;
  return Verdict::Fail("process " + std::to_string(pid) + " is gone", Describe(workers));
}

std::optional<Verdict> Testbed::AwaitReplaced(const std::vector<pid_t>& former) const {
  const std::string expected = "every worker is ready again, as another process, within " +
                               std::to_string(Patience().count()) + " ms";
  std::vector<WorkerInfo> workers;
  std::string start_error;
  const bool replaced = Await(Patience(), [&] {
    workers = Workers();
    start_error = pool_->Stats().last_start_error;
    return !start_error.empty() ||
           std::all_of(workers.begin(), workers.end(), [&former](const WorkerInfo& worker) {
             return worker.state == WorkerState::kReady && worker.pid != 0 &&
                    std::find(former.begin(), former.end(), worker.pid) == former.end();
           });
  });
  if (!start_error.empty()) return Verdict::Fail(expected, "a start failed: " + start_error);
  if (!replaced) return Verdict::Fail(expected, Describe(workers));
  return std::nullopt;
}

}  // namespace snakepit::conformance
