// Group ses: which worker a session's calls go to, with the affinity `hint`.
#include "conformance/cases/cases.h"
#include "conformance/harness/testbed.h"

namespace snakepit::conformance {
namespace {

constexpr int kSequentialCalls = 10;
constexpr int kConcurrentCalls = 8;

std::string Worker(const Reply& reply) {
  return reply.result ? "worker " + std::to_string(reply.info.worker_id) : reply.Describe();
}

Verdict HintPrefers(Testbed& testbed) {
  const Reply first = testbed.Call("ping", {}, "conformance-s");
  for (int i = 0; i < kSequentialCalls; ++i) {
    const Reply other = testbed.Call("ping");  // so that another worker's turn comes
    const Reply next = testbed.Call("ping", {}, "conformance-s");
    if (first.result && other.result && next.result &&
        next.info.worker_id == first.info.worker_id) {
      continue;
    }
    return Verdict::Fail("all calls of the session are served by one worker",
                         "call 0 by " + Worker(first) + ", call " + std::to_string(i + 1) + " by " +
                             Worker(next) + ", and one without a session by " + Worker(other));
  }
  return Verdict::Pass();
}

// All are made before the first one ends: the workers are stopped meanwhile.
Verdict FirstCallsAgree(Testbed& testbed) {
  const std::vector<WorkerInfo> workers = testbed.Workers();
  std::optional<Verdict> trouble;
  for (const WorkerInfo& worker : workers) {
    if (!trouble) trouble = testbed.Stop(worker);
  }
  std::vector<std::future<Reply>> calls;
  for (int i = 0; i < kConcurrentCalls && !trouble; ++i) {
    calls.push_back(testbed.StartPing("conformance-new"));
  }
  if (!trouble) trouble = testbed.AwaitAccepted(kConcurrentCalls);
  for (const WorkerInfo& worker : workers) testbed.Continue(worker.pid);
  std::vector<Reply> replies;
  for (auto& call : calls) replies.push_back(call.get());
  if (trouble) return *trouble;
  for (const Reply& reply : replies) {
    if (reply.result && reply.info.worker_id == replies[0].info.worker_id) continue;
    return Verdict::Fail("the concurrent first calls of a session are served by one worker",
                         "one by " + Worker(replies[0]) + ", another by " + Worker(reply));
  }
  return Verdict::Pass();
}

Verdict HintFallsBack(Testbed& testbed) {
  const Reply first = testbed.Call("ping", {}, "conformance-s");
  if (!first.result) return Verdict::Fail("a result", first.Describe());
  const int home = first.info.worker_id;
  if (auto trouble = testbed.Stop(testbed.Workers()[home])) return *trouble;
  std::future<Reply> held = testbed.StartPing("conformance-s");
  auto trouble = testbed.AwaitInFlight(home);
  std::optional<Reply> second;
  if (!trouble) second = testbed.Call("ping", {}, "conformance-s");
  testbed.Continue(first.info.worker_pid);
  const Reply held_reply = held.get();
  if (trouble) return *trouble;
  if (!second->result || second->info.worker_id == home) {
    return Verdict::Fail(
        "while worker " + std::to_string(home) + " is busy, another serves the session's call",
        Worker(*second));
  }
  if (!held_reply.result || held_reply.info.worker_id != home) {
    return Verdict::Fail("the call that kept worker " + std::to_string(home) + " busy ends there",
                         Worker(held_reply));
  }
  return Verdict::Pass();
}

}  // namespace

std::vector<Case> SessionCases() {
  using enum Mutant::Kind;
  return {
      {.id = "ses/hint-prefers",
       .title = "a session stays on its worker",
       .clause = "6.5.2",
       .requirement = "a session's calls go to one worker as long as that is free",
       .workers = 3,
       .run = HintPrefers,
       .mutants = {{kPool, "ignores-sessions", "call 0 by worker"}}},
      {.id = "ses/first-calls-agree",
       .title = "the concurrent first calls of a session go to one worker",
       .clause = "6.5.2",
       .requirement =
           "the calls made before a new session's first one ends are served by one worker",
       .workers = 3,
       .run = FirstCallsAgree,
       .mutants = {{kPool, "binds-sessions-late", "one by worker"}}},
      {.id = "ses/hint-falls-back",
       .title = "a session's call goes elsewhere while its worker is busy",
       .clause = "6.5.2",
       .requirement = "affinity is a hint: a session's call does not wait for a busy worker",
       .workers = 2,
       .run = HintFallsBack,
       .mutants = {{kPool, "waits-for-session-worker", "QUEUE_TIMEOUT"}}},
  };
}

}  // namespace snakepit::conformance
