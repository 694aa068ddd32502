// Group cra: workers that crash or are killed.
#include <signal.h>

#include <algorithm>
#include <set>

#include "conformance/cases/cases.h"
#include "conformance/cases/streaming.h"
#include "conformance/harness/processes.h"
#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

using std::chrono::milliseconds;

constexpr int kKillRounds = 10;  // each kills two workers
constexpr int kExitCode = 7;

std::vector<pid_t> Pids(const std::vector<WorkerInfo>& workers) {
  std::vector<pid_t> pids;
  for (const WorkerInfo& worker : workers) pids.push_back(worker.pid);
  return pids;
}

// The failure unless the call ended with WORKER_LOST and may have run. `seen`: the observation.
std::optional<Verdict> ExpectLost(const Result<void>& outcome, const std::string& seen) {
  const std::string expected = "WORKER_LOST, which may have run";
  if (outcome) return Verdict::Fail(expected, seen);
  const Error& error = outcome.error();
  if (error.code != ErrorCode::kWorkerLost) return Verdict::Fail(expected, seen);
  if (error.may_have_run) return std::nullopt;
  return Verdict::Fail(expected, seen + ", said not to have run");
}

Result<void> OutcomeOf(const Reply& reply) {
  if (reply.result) return {};
  return Fail(reply.result.error());
}

// Ends a worker's process with `end` while it has a ping. Returns the ping's reply.
template <typename End>
std::variant<Reply, Verdict> EndWithPing(Testbed& testbed, const WorkerInfo& worker, End end) {
  if (auto trouble = testbed.Stop(worker)) return *trouble;
  std::future<Reply> ping = testbed.StartCall("ping");
  auto trouble = testbed.AwaitInFlight(worker.id);
  end();
  Reply reply = ping.get();
  if (trouble) return *trouble;
  return reply;
}

Verdict Kill9Idle(Testbed& testbed) {
  const WorkerInfo worker = testbed.Workers()[0];
  testbed.Kill(worker.pid);
  // Made at once: a call between the loss and the replacement must succeed, too.
  if (auto wrong = testbed.AwaitGone(worker.pid)) return *wrong;
  const Reply reply = testbed.Call("ping");
  if (!reply.result || reply.info.worker_pid == worker.pid) {
    return Verdict::Fail("a call made when the process is gone is served by the new one",
                         reply.Describe());
  }
  if (auto wrong = testbed.AwaitReplaced({worker.pid})) return *wrong;
  return Verdict::Pass();
}

Case Kill9IdleCase() {
  return {
      .id = "cra/kill9-idle",
      .title = "an idle worker that is killed is replaced",
      .clause = "1.4.7",
      .requirement = "an end that the pool did not request is a loss, and the worker is replaced",
      .run = Kill9Idle,
      .mutants = {{kWorker, "starts-once", "did not start"},
                  {kPool, "stale-figures", "worker 0 ready"}}};
}

Verdict Kill9MidRequest(Testbed& testbed) {
  const WorkerInfo worker = testbed.Workers()[0];
  auto ended = EndWithPing(testbed, worker, [&] { testbed.Kill(worker.pid); });
  if (auto* trouble = std::get_if<Verdict>(&ended)) return *trouble;
  const Reply& lost = std::get<Reply>(ended);
  if (auto wrong = ExpectLost(OutcomeOf(lost), lost.Describe())) return *wrong;
  if (auto wrong = testbed.AwaitReplaced({worker.pid})) return *wrong;
  const Reply next = testbed.Call("ping");
  if (next.result) return Verdict::Pass();
  return Verdict::Fail("the new process serves the next call", next.Describe());
}

Case Kill9MidRequestCase() {
  return {.id = "cra/kill9-mid-request",
          .title = "a call whose worker is killed ends with WORKER_LOST",
          .clause = "5.1.11",
          .requirement = "the call ends at once with WORKER_LOST, and is not executed again",
          .run = Kill9MidRequest,
          .mutants = {{kPool, "repeats-lost-calls", "the result"},
                      {kPool, "lost-is-internal", "INTERNAL"},
                      {kPool, "lost-has-not-run", "said not to have run"}}};
}

Verdict Kill9MidStream(Testbed& testbed) {
  if (auto lacks = NeedPingStream(testbed)) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const StreamReply reply =
      testbed.Stream("ping_stream", PingStreamArgs(100, milliseconds(50)), [&](const Chunk& chunk) {
        if (chunk.index == 1) testbed.Kill(pid);
        return true;
      });
  const Result<void> outcome = reply.count ? Result<void>() : Fail(reply.count.error());
  if (auto wrong = ExpectLost(outcome, reply.Describe())) return *wrong;
  for (size_t i = 0; i < reply.chunks.size(); ++i) {
    if (reply.chunks[i].index != static_cast<int64_t>(i)) {
      return Verdict::Fail(
          "the chunks before the loss come in order",
          "chunk " + std::to_string(reply.chunks[i].index) + " at place " + std::to_string(i));
    }
  }
  if (auto wrong = testbed.AwaitReplaced({pid})) return *wrong;
  return Verdict::Pass();
}

Case Kill9MidStreamCase() {
  return {.id = "cra/kill9-mid-stream",
          .title = "a stream whose worker is killed ends with WORKER_LOST",
          .clause = "5.1.15",
          .requirement = "the chunks before the loss stay, and the stream ends with WORKER_LOST",
          .run = Kill9MidStream,
          .mutants = {{kPool, "lost-streams-succeed", "2 chunks"}}};
}

Verdict ExpectExit(const Reply& reply, const ExitStatus& status) {
  if (auto wrong = ExpectLost(OutcomeOf(reply), reply.Describe())) return *wrong;
  const auto& exit = reply.result.error().exit;
  if (exit && *exit == status) return Verdict::Pass();
  return Verdict::Fail("the error reports " + Describe(status),
                       exit ? "it tells of " + Describe(*exit) : "it tells of no exit status");
}

Verdict SignalAndCodeReported(Testbed& testbed) {
  const WorkerInfo worker = testbed.Workers()[0];
  auto ended = EndWithPing(testbed, worker, [&] { testbed.Kill(worker.pid); });
  if (auto* trouble = std::get_if<Verdict>(&ended)) return *trouble;
  const Verdict by_signal = ExpectExit(std::get<Reply>(ended), ExitStatus{.signal = SIGKILL});
  if (by_signal.status != Status::kPass) return by_signal;

  // A worker cannot be made to exit with a code, but a shell around it exits when it is killed.
  const std::string script = "\"$@\"; exit " + std::to_string(kExitCode);
  if (auto started = testbed.StartPool(1, {"/bin/sh", "-c", script, "sh"}); !started) {
    return Verdict::HarnessError("the worker did not start inside a shell: " +
                                 started.error().ToString());
  }
  const WorkerInfo shell = testbed.Workers()[0];
  ended = EndWithPing(testbed, shell, [&] {
    for (const Process& process : ListGroup(shell.pid)) {
      if (process.pid != shell.pid) testbed.KillProcess(process.pid);
    }
    testbed.Continue(shell.pid);
  });
  if (auto* trouble = std::get_if<Verdict>(&ended)) return *trouble;
  return ExpectExit(std::get<Reply>(ended), ExitStatus{.code = kExitCode});
}

Case SignalAndCodeReportedCase() {
  return {.id = "cra/signal-and-code-reported",
          .title = "the error reports the signal or the exit code",
          .clause = "1.4.6",
          .requirement = "the exit status of a lost worker is reported unchanged",
          .run = SignalAndCodeReported,
          .mutants = {{kPool, "hides-exit-status", "no exit status"},
                      {kPool, "exit-code-is-a-signal", "exit code"}}};
}

// Makes a call for each worker. Each has to succeed, and on another process.
std::optional<Verdict> ExpectAllServe(Testbed& testbed) {
  const size_t count = testbed.Workers().size();
  std::set<pid_t> pids;
  for (size_t i = 0; i < count; ++i) {
    const Reply reply = testbed.Call("ping");
    if (!reply.result) return Verdict::Fail("every worker serves", reply.Describe());
    pids.insert(reply.info.worker_pid);
  }
  if (pids.size() == count) return std::nullopt;
  return Verdict::Fail("each of " + std::to_string(count) + " idle workers serves in turn",
                       std::to_string(pids.size()) + " processes served");
}

Verdict PoolSizeInvariant(Testbed& testbed) {
  const size_t wanted = testbed.Workers().size();
  for (int round = 1; round <= kKillRounds; ++round) {
    if (auto wrong = ExpectAllServe(testbed)) return *wrong;
    const std::vector<pid_t> pids = Pids(testbed.Workers());
    for (const pid_t pid : pids) testbed.Kill(pid);
    const std::vector<WorkerInfo> after = testbed.Workers();
    const bool gone = std::any_of(after.begin(), after.end(), [](const WorkerInfo& worker) {
      return worker.state == WorkerState::kGone;
    });
    if (after.size() != wanted || gone) {
      return Verdict::Fail(
          "live, starting and backing off are " + std::to_string(wanted) + " workers",
          Describe(after) + " in round " + std::to_string(round));
    }
    if (auto wrong = testbed.AwaitReplaced(pids)) {
      wrong->observed += " in round " + std::to_string(round);
      return *wrong;
    }
  }
  if (auto wrong = ExpectAllServe(testbed)) return *wrong;
  return Verdict::Pass();
}

Case PoolSizeInvariantCase() {
  return {
      .id = "cra/pool-size-invariant",
      .title = "after 20 kills the pool has as many workers as before",
      .clause = "1.4.7",
      .requirement = "live, starting and backing-off workers together are always as many as wanted",
      .workers = 2,
      .run = PoolSizeInvariant,
      .mutants = {{kWorker, "starts-five-times", "did not start"},
                  {kPool, "gives-up-workers", "gone"}}};
}

// All workers have a call, and one is killed. The calls of the others must not notice.
Verdict NeighboursUntouched(Testbed& testbed) {
  const std::vector<WorkerInfo> workers = testbed.Workers();
  std::optional<Verdict> trouble;
  std::vector<std::future<Reply>> calls;
  for (const WorkerInfo& worker : workers) {
    if (!trouble) trouble = testbed.Stop(worker);
  }
  for (const WorkerInfo& worker : workers) {
    if (!trouble) calls.push_back(testbed.StartCall("ping"));
    (void)worker;
  }
  for (const WorkerInfo& worker : workers) {
    if (!trouble) trouble = testbed.AwaitInFlight(worker.id);
  }
  const pid_t victim = workers[0].pid;
  testbed.Kill(victim);
  std::optional<Verdict> not_replaced;
  if (!trouble) not_replaced = testbed.AwaitReplaced({victim});
  for (const WorkerInfo& worker : workers) {
    if (worker.pid != victim) testbed.Continue(worker.pid);
  }
  std::vector<Reply> replies;
  for (auto& call : calls) replies.push_back(call.get());
  if (trouble) return *trouble;
  for (const Reply& reply : replies) {
    if (reply.info.worker_pid == victim || reply.result) continue;
    return Verdict::Fail(
        "the calls of the other workers succeed",
        "process " + std::to_string(reply.info.worker_pid) + ": " + reply.Describe());
  }
  if (not_replaced) return *not_replaced;
  const std::vector<WorkerInfo> after = testbed.Workers();
  for (size_t i = 1; i < workers.size(); ++i) {
    if (after[i].pid != workers[i].pid) {
      return Verdict::Fail("the other workers keep their processes", Describe(after));
    }
  }
  return Verdict::Pass();
}

Case NeighboursUntouchedCase() {
  return {.id = "cra/neighbours-untouched",
          .title = "the loss of a worker does not affect the others",
          .clause = "5.1.11",
          .requirement = "only the calls that the lost worker had are lost",
          .workers = 3,
          .run = NeighboursUntouched,
          .mutants = {{kPool, "kills-neighbours", "WORKER_LOST"}}};
}

}  // namespace

std::vector<Case> CrashCases() {
  return {Kill9IdleCase(),           Kill9MidRequestCase(),
          Kill9MidStreamCase(),      SignalAndCodeReportedCase(),
          NeighboursUntouchedCase(), PoolSizeInvariantCase()};
}

}  // namespace snakepit::conformance
