// Group ses: the worker of a session with the affinity `hint`, and the state that it keeps.
#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"
#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

constexpr int kSequentialCalls = 10;
constexpr int kConcurrentCalls = 8;

std::string Worker(const Reply& reply) {
  return reply.result ? "worker " + std::to_string(reply.info.worker_id) : reply.Describe();
}

Verdict HintPrefers(Testbed& testbed) {
  const Reply first = testbed.Call("ping", {}, {.session = "conformance-s"});
  for (int i = 0; i < kSequentialCalls; ++i) {
    const Reply other = testbed.Call("ping");  // moves the turn to another worker
    const Reply next = testbed.Call("ping", {}, {.session = "conformance-s"});
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

Case HintPrefersCase() {
  return {.id = "ses/hint-prefers",
          .title = "a session stays on its worker",
          .clause = "6.5.2",
          .requirement = "a session's calls go to one worker while that worker is free",
          .version_1_clause = "0.5",
          .workers = 3,
          .run = HintPrefers,
          .mutants = {{kPool, "ignores-sessions", "call 0 by worker"}}};
}

// All calls are made before the first one ends, since the workers are stopped meanwhile.
Verdict FirstCallsAgree(Testbed& testbed) {
  const std::vector<WorkerInfo> workers = testbed.Workers();
  std::optional<Verdict> trouble;
  for (const WorkerInfo& worker : workers) {
    if (!trouble) trouble = testbed.Stop(worker);
  }
  std::vector<std::future<Reply>> calls;
  for (int i = 0; i < kConcurrentCalls && !trouble; ++i) {
    calls.push_back(testbed.StartCall("ping", {}, {.session = "conformance-new"}));
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

Case FirstCallsAgreeCase() {
  return {.id = "ses/first-calls-agree",
          .title = "the concurrent first calls of a session go to one worker",
          .clause = "6.5.2",
          .requirement =
              "the calls made before a new session's first one ends are served by one worker",
          .version_1_clause = "0.5",
          .workers = 3,
          .run = FirstCallsAgree,
          .mutants = {{kPool, "binds-sessions-late", "one by worker"}}};
}

Verdict HintFallsBack(Testbed& testbed) {
  const Reply first = testbed.Call("ping", {}, {.session = "conformance-s"});
  if (!first.result) return Verdict::Fail("a result", first.Describe());
  const int home = first.info.worker_id;
  const WorkerInfo worker = testbed.Workers()[home];
  if (auto trouble = testbed.Stop(worker)) return *trouble;
  std::vector<std::future<Reply>> held;
  std::optional<Verdict> trouble;
  for (int calls = 1; calls <= worker.capacity && !trouble; ++calls) {
    held.push_back(testbed.StartCall("ping", {}, {.session = "conformance-s"}));
    trouble = testbed.AwaitInFlight(home, calls);
  }
  std::optional<Reply> second;
  if (!trouble) second = testbed.Call("ping", {}, {.session = "conformance-s"});
  testbed.Continue(first.info.worker_pid);
  std::vector<Reply> held_replies;
  for (auto& call : held) held_replies.push_back(call.get());
  if (trouble) return *trouble;
  if (!second->result || second->info.worker_id == home) {
    return Verdict::Fail(
        "while worker " + std::to_string(home) + " is busy, another serves the session's call",
        Worker(*second));
  }
  for (const Reply& reply : held_replies) {
    if (reply.result && reply.info.worker_id == home) continue;
    return Verdict::Fail("the calls that kept worker " + std::to_string(home) + " busy end there",
                         Worker(reply));
  }
  return Verdict::Pass();
}

Case HintFallsBackCase() {
  return {.id = "ses/hint-falls-back",
          .title = "a session's call goes elsewhere while its worker is busy",
          .clause = "6.5.2",
          .requirement = "affinity is a hint: a session's call does not wait for a busy worker",
          .version_1_clause = "0.5",
          .workers = 2,
          .run = HintFallsBack,
          .mutants = {{kPool, "waits-for-session-worker", "QUEUE_TIMEOUT"}}};
}

// An empty name is no session.
CallOptions InSession(std::string_view session) {
  CallOptions options;
  if (!session.empty()) options.session = session;
  return options;
}

// A call of conf.incr: its session and its expected result.
struct Increment {
  std::string_view session;
  int result;
};

std::optional<Verdict> ExpectIncrements(const Testbed& testbed,
                                        std::initializer_list<Increment> increments) {
  int calls = 0;
  for (const Increment& increment : increments) {
    const Reply reply = testbed.Call("conf.incr", {}, InSession(increment.session));
    ++calls;
    if (reply.result && *reply.result == Value(increment.result)) continue;
    return Verdict::Fail("call " + std::to_string(calls) + ", of session '" +
                             std::string(increment.session) + "', ends with " +
                             std::to_string(increment.result),
                         reply.Describe());
  }
  return std::nullopt;
}

Verdict StateKept(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.incr"})) return *lacks;
  if (auto lacks = NeedSessions(testbed)) return *lacks;
  if (auto wrong = ExpectIncrements(testbed, {{"a", 1}, {"a", 2}, {"a", 3}})) return *wrong;
  return Verdict::Pass();
}

Case StateKeptCase() {
  return {.id = "ses/state-kept",
          .title = "a worker keeps a session's state from call to call",
          .clause = "6.5.1",
          .requirement = "the state that a handler keeps for a session is there in its next call",
          .run = StateKept,
          .mutants = {{kWorker, "keeps-no-state", "the result 1"},
                      {kPool, "ignores-sessions", "the result 1"}}};
}

Verdict Isolation(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.incr"})) return *lacks;
  if (auto lacks = NeedSessions(testbed)) return *lacks;
  const auto wrong =
      ExpectIncrements(testbed, {{"a", 1}, {"b", 1}, {"", 1}, {"a", 2}, {"", 1}, {"b", 2}});
  return wrong ? *wrong : Verdict::Pass();
}

Case IsolationCase() {
  return {.id = "ses/isolation",
          .title = "a session's state is its own",
          .clause = "6.5.3",
          .requirement = "only the calls of a session see its state",
          .run = Isolation,
          .mutants = {{kWorker, "shares-state", "the result 2"}}};
}

Verdict End(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.incr"})) return *lacks;
  if (auto lacks = NeedSessions(testbed)) return *lacks;
  if (auto wrong = ExpectIncrements(testbed, {{"a", 1}, {"a", 2}, {"b", 1}})) return *wrong;
  testbed.EndSession("a");
  if (auto wrong = ExpectIncrements(testbed, {{"a", 1}, {"a", 2}, {"b", 2}})) return *wrong;
  return Verdict::Pass();
}

Case EndCase() {
  return {
      .id = "ses/end",
      .title = "an ended session is forgotten",
      .clause = "6.9.2",
      .requirement =
          "after its end a session of that name begins anew, and other sessions are not affected",
      .run = End,
      .mutants = {{kWorker, "never-forgets", "the result 3"},
                  {kWorker, "forgets-all", "the result 1"}}};
}

}  // namespace

std::vector<Case> SessionCases() {
  return {HintPrefersCase(), FirstCallsAgreeCase(), HintFallsBackCase(),
          StateKeptCase(),   IsolationCase(),       EndCase()};
}

}  // namespace snakepit::conformance
