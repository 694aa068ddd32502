#include "src/cli/demo_steps.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "src/base/quote.h"
#include "src/cli/duration.h"
#include "src/cli/latencies.h"
#include "src/cli/load.h"
#include "src/process/proc_figures.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr int kWarmUpPings = 100;
constexpr int kPings = 3'000;
constexpr int kShortStreams = 100;
constexpr int kShownChunks = 5;
constexpr milliseconds kChunkInterval{200};
constexpr int kSessionRounds = 6;
constexpr int64_t kCallsAroundKill = 300;
constexpr milliseconds kReplacementLimit{20'000};

std::string WorkerName(const CallInfo& info) {
  return fmt::format("worker {} (pid {})", info.worker_id, info.worker_pid);
}

std::string Count(int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

double Milliseconds(nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

bool DemoSteps::DidNotHold(std::string_view text) {
  // A failure because the user wants to stop is not a failure of the pool.
  if (!interrupts_.requested()) console_.DidNotHold(text);
  return false;
}

// --- Ping --------------------------------------------------------------------------------------

bool DemoSteps::Ping() {
  console_.Step("ping", "A call goes to a worker that is free, and its result comes back.");
  CallInfo info;
  const Result<Value> pong = pool_.Execute("ping", {}, {.info = &info});
  if (!pong) return DidNotHold(pong.error().ToString());
  if (pong->TextAt("status") != "ok") return DidNotHold("the answer was " + pong->ToJson());
  console_.Detail(fmt::format("{} answered: status \"ok\", Python {}", WorkerName(info),
                              pong->TextAt("python_version", "?")));
  return MeasureRoundTrips() && MeasureMemory();
}

bool DemoSteps::MeasureRoundTrips() {
  Latencies latencies;
  std::map<int, int> calls_by_worker;
  CallInfo info;
  for (int i = 0; i < kWarmUpPings + kPings && !interrupts_.requested(); ++i) {
    const auto start = steady_clock::now();
    const Result<Value> pong = pool_.Execute("ping", {}, {.info = &info});
    if (!pong) return DidNotHold(pong.error().ToString());
    if (i < kWarmUpPings) continue;
    latencies.Add(steady_clock::now() - start);
    ++calls_by_worker[info.worker_id];
    console_.Progress(fmt::format("{} of {} pings", latencies.count(), kPings));
  }
  figures_.round_trip_p50 = latencies.Percentile(50);
  figures_.round_trip_p99 = latencies.Percentile(99);
  std::string shares;
  for (const auto& [worker, calls] : calls_by_worker) {
    shares += fmt::format("{}{} by worker {}", shares.empty() ? "" : ", ", calls, worker);
  }
  console_.Detail(fmt::format("{} more, one after another: {}", kPings, shares));
  console_.Held(fmt::format("round trip p50 {}, p99 {}", FormatDuration(figures_.round_trip_p50),
                            FormatDuration(figures_.round_trip_p99)));
  return true;
}

bool DemoSteps::MeasureMemory() {
  const std::vector<WorkerInfo> workers = pool_.Workers();
  for (const WorkerInfo& worker : workers) figures_.worker_rss_bytes += worker.rss_bytes;
  figures_.worker_rss_bytes /= static_cast<int64_t>(workers.size());
  const Result<ProcFigures> own = ReadProcFigures(getpid());
  if (!own) return DidNotHold(own.error().ToString());
  figures_.pool_rss_bytes = own->rss_bytes;
  return true;
}

// --- Stream ------------------------------------------------------------------------------------

bool DemoSteps::Stream() {
  console_.Step("stream", fmt::format("ping_stream answers in chunks, one every {}; each is shown "
                                      "as it arrives.",
                                      FormatDuration(kChunkInterval)));
  const Value args(Value::Map{{"count", kShownChunks}, {"interval", kChunkInterval.count() / 1e3}});
  const auto start = steady_clock::now();
  std::vector<nanoseconds> arrivals;
  const Result<int64_t> chunks = pool_.ExecuteStream("ping_stream", args, [&](const Chunk& chunk) {
    arrivals.push_back(steady_clock::now() - start);
    console_.Detail(fmt::format("after {:>6.1f} ms  {}", Milliseconds(arrivals.back()),
                                Printable(chunk.value.TextAt("message", "?"))));
    return !interrupts_.requested();
  });
  if (!chunks) return DidNotHold(chunks.error().ToString());
  if (*chunks != kShownChunks) return DidNotHold(Count(*chunks, "chunk") + " came");
  // Chunks that were held back and sent all at once would arrive together.
  if (arrivals.back() - arrivals.front() < (kShownChunks - 1) * kChunkInterval / 2) {
    return DidNotHold("the chunks arrived together, not as they were made");
  }
  return MeasureFirstChunk();
}

bool DemoSteps::MeasureFirstChunk() {
  Latencies first_chunks;
  const Value args(Value::Map{{"count", 1}, {"interval", 0}});
  for (int i = 0; i < kShortStreams && !interrupts_.requested(); ++i) {
    const auto start = steady_clock::now();
    const Result<int64_t> chunks = pool_.ExecuteStream("ping_stream", args, [&](const Chunk&) {
      first_chunks.Add(steady_clock::now() - start);
      return true;
    });
    if (!chunks) return DidNotHold(chunks.error().ToString());
    console_.Progress(fmt::format("{} of {} short streams", i + 1, kShortStreams));
  }
  figures_.first_chunk = first_chunks.Percentile(50);
  console_.Held(fmt::format("the first chunk of {} short streams came after {} (p50)",
                            kShortStreams, FormatDuration(figures_.first_chunk)));
  return true;
}

// --- Session -----------------------------------------------------------------------------------

bool DemoSteps::Session() {
  console_.Step("session",
                "Calls with a session id go to one worker, which may keep state for them.");
  // Each round makes a call in every session, and two calls without one.
  const std::vector<std::string> callers = {"alice", "bob", "", ""};
  std::map<std::string, std::vector<CallInfo>> served;
  for (int round = 0; round < kSessionRounds && !interrupts_.requested(); ++round) {
    for (const std::string& session : callers) {
      CallInfo info;
      CallOptions options{.info = &info};
      if (!session.empty()) options.session = session;
      const Result<Value> result = pool_.Execute("echo", {}, options);
      if (!result) return DidNotHold(result.error().ToString());
      served[session].push_back(info);
    }
  }
  if (interrupts_.requested()) return false;
  bool stayed = true;
  for (const std::string session : {"alice", "bob", ""}) {
    std::string ids;
    std::set<pid_t> pids;
    for (const CallInfo& info : served[session]) {
      ids += fmt::format(" {}", info.worker_id);
      pids.insert(info.worker_pid);
    }
    const std::string name = session.empty() ? "no session" : "session " + session;
    console_.Detail(fmt::format("{:<13}  its calls went to worker{}", name, ids));
    if (!session.empty() && pids.size() != 1) stayed = false;
  }
  if (!stayed) return DidNotHold("a session moved while its worker was free");
  console_.Held("each session stayed on its worker");
  return true;
}

// --- Kill --------------------------------------------------------------------------------------

bool DemoSteps::Kill() {
  const std::vector<WorkerInfo> before = pool_.Workers();
  std::vector<pid_t> pids;
  for (const WorkerInfo& worker : before) pids.push_back(worker.pid);
  const auto threads = static_cast<int>(before.size());
  console_.Step("crash", fmt::format("{} threads make calls without a pause; one worker is killed.",
                                     threads));
  const auto on_progress = [this](int64_t calls) {
    console_.Progress(fmt::format("{} calls", calls));
  };
  Load load(pool_, interrupts_, threads, pids);
  if (!load.AwaitCalls(kCallsAroundKill, kReplacementLimit, on_progress)) {
    return DidNotHold("the calls do not go on");
  }

  // The victim has a call, so that there is something to lose.
  WorkerInfo victim = before.front();
  for (const WorkerInfo& worker : pool_.Workers()) {
    if (worker.calls_in_flight > 0) victim = worker;
  }
  const auto killed_at = steady_clock::now();
  if (kill(victim.pid, SIGKILL) != 0) return DidNotHold("the worker could not be killed");
  console_.Detail(fmt::format("kill -9 {}: that is worker {}", victim.pid, victim.id));
  const bool is_replaced = load.AwaitNewWorker(kReplacementLimit, on_progress) &&
                           load.AwaitCalls(kCallsAroundKill, kReplacementLimit, on_progress);
  const Load::Outcome outcome = load.Stop();
  if (!is_replaced) {
    return DidNotHold(outcome.failed.empty() ? "the killed worker was not replaced in time"
                                             : outcome.failed.back().error.ToString());
  }

  const WorkerInfo after = pool_.Workers()[victim.id];
  if (after.state != WorkerState::kReady || after.pid != outcome.new_pid) {
    return DidNotHold(fmt::format("worker {} is {}, as pid {}", victim.id,
                                  WorkerStateName(after.state), after.pid));
  }
  figures_.replacement = *outcome.new_answered_at - killed_at;
  console_.Detail(
      fmt::format("worker {} is pid {} now; it answered its first call {} after the "
                  "kill",
                  after.id, after.pid, FormatDuration(figures_.replacement)));
  for (const Load::FailedCall& failed : outcome.failed) {
    console_.Detail(fmt::format("failed: {}: {}", ErrorCodeName(failed.error.code),
                                failed.error.exit
                                    ? "the worker ended by " + Describe(*failed.error.exit)
                                    : failed.error.message));
    if (failed.error.code != ErrorCode::kWorkerLost || failed.pid != victim.pid) {
      return DidNotHold("a call failed that the killed worker did not have");
    }
  }
  if (outcome.failed.size() > 1) {
    return DidNotHold("more calls failed than the killed worker had");
  }
  console_.Held(fmt::format("{} calls went well meanwhile, {}", outcome.ok,
                            outcome.failed.empty()
                                ? "none failed: the worker had none at that moment"
                                : "1 failed: the one that the killed worker had"));
  return true;
}

// --- Stop --------------------------------------------------------------------------------------

bool DemoSteps::Stop() {
  console_.Step("stop", "The workers are asked to end; those that do not are killed.");
  const std::vector<WorkerInfo> workers = pool_.Workers();
  const auto start = steady_clock::now();
  pool_.Shutdown();
  const auto time = steady_clock::now() - start;
  for (const WorkerInfo& worker : workers) {
    if (worker.pid != 0 && (kill(worker.pid, 0) == 0 || errno != ESRCH)) {
      return DidNotHold(fmt::format("worker {} (pid {}) is still there", worker.id, worker.pid));
    }
  }
  console_.Held(fmt::format("no process is left, after {}", FormatDuration(time)));
  return true;
}

}  // namespace snakepit
