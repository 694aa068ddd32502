// Groups can and dl: calls that end by their caller's cancellation or by their deadline.
#include <thread>

#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr int kRaces = 300;
constexpr int kRacedMs = 1;
constexpr int kChunksBeforeStop = 3;
constexpr int kEndlessChunks = 1'000'000'000;

CallOptions WithStop(const std::stop_source& source) {
  CallOptions options;
  options.stop = source.get_token();
  return options;
}

CallOptions WithTimeout(milliseconds timeout) {
  CallOptions options;
  options.timeout = timeout;
  return options;
}

Verdict CancelUnary(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep"})) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  LongCall call(testbed);
  if (auto trouble = call.AwaitBegun()) return *trouble;
  if (auto wrong = ExpectError(call.GiveUp(), ErrorCode::kCancelled)) return *wrong;
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case CancelUnaryCase() {
  return {.id = "can/unary",
          .title = "a call that its caller cancels ends, and its worker serves on",
          .clause = "6.6.2",
          .requirement = "the caller gets CANCELLED, the handler sees it, and the process stays",
          .run = CancelUnary,
          .mutants = {{kWorker, "tells-no-handler", "replaced by process"},
                      {kPool, "kills-cancelled", "replaced by process"},
                      {kPool, "cancelled-has-not-run", "said not to have run"}}};
}

Verdict CancelMidStream(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.stream", "conf.sent_count"})) return *lacks;
  if (auto lacks = NeedStreams(testbed)) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  std::stop_source stop;
  const StreamReply reply = testbed.Stream(
      "conf.stream", StreamArgs(kEndlessChunks, 0),
      [&stop](const Chunk& chunk) {
        if (chunk.index + 1 == kChunksBeforeStop) stop.request_stop();
        return true;
      },
      WithStop(stop));
  if (reply.count || reply.count.error().code != ErrorCode::kCancelled ||
      reply.chunks.size() != kChunksBeforeStop) {
    return Verdict::Fail(std::to_string(kChunksBeforeStop) + " chunks, then CANCELLED",
                         reply.Describe());
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  const auto first = SentCount(testbed);
  if (auto* trouble = std::get_if<Verdict>(&first)) return *trouble;
  const auto second = SentCount(testbed);
  if (auto* trouble = std::get_if<Verdict>(&second)) return *trouble;
  const int64_t before = std::get<int64_t>(first);
  const int64_t after = std::get<int64_t>(second);
  if (before == after) return Verdict::Pass();
  return Verdict::Fail(
      "the handler makes no more chunks",
      "it had made " + std::to_string(before) + ", and a call later " + std::to_string(after));
}

Case CancelMidStreamCase() {
  return {
      .id = "can/mid-stream",
      .title = "a stream that its caller cancels ends, and its worker serves on",
      .clause = "6.6.3",
      .requirement = "no chunk comes after the stop, the handler makes no more, the process stays",
      .run = CancelMidStream,
      .mutants = {{kWorker, "tells-no-handler", "replaced by process"},
                  {kPool, "reads-on", "5 chunks"}}};
}

// The stop comes before or after the end of a call. Either way the call has one outcome, its own,
// and the next call is not affected. Every other call lasts longer, so that some stops come while
// it runs.
Verdict OneTerminal(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.echo", "conf.sleep"})) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  nanoseconds whole{0};  // the time of a conf.echo
  for (int i = 0; i < kRaces; ++i) {
    const bool lasts = i % 2 == 1;
    std::stop_source stop;
    // From 0 to twice the time of the call.
    const auto when =
        steady_clock::now() + (whole + milliseconds(lasts ? kRacedMs : 0)) * (i % 20) / 10;
    std::jthread stopper([&stop, when] {
      while (steady_clock::now() < when) std::this_thread::yield();
      stop.request_stop();
    });
    const Reply raced =
        lasts ? testbed.Call("conf.sleep", Value::Map{{"ms", kRacedMs}}, WithStop(stop))
              : testbed.Call("conf.echo", Value::Map{{"value", i}}, WithStop(stop));
    const bool is_own = raced.result && (lasts ? raced.result->Find("left_ms") != nullptr
                                               : *raced.result == Value(i));
    if (!is_own && (raced.result || raced.result.error().code != ErrorCode::kCancelled)) {
      return Verdict::Fail(
          "call " + std::to_string(i) + " ends with its own result or with " + "CANCELLED",
          raced.Describe());
    }
    const auto start = steady_clock::now();
    const Reply next = testbed.Call("conf.echo", Value::Map{{"value", -i}});
    whole = steady_clock::now() - start;
    if (!next.result || *next.result != Value(-i)) {
      return Verdict::Fail(
          "the call after call " + std::to_string(i) + " ends with " + std::to_string(-i),
          next.Describe());
    }
    if (next.info.worker_pid != pid) {
      return Verdict::Fail("process " + std::to_string(pid) + " serves all",
                           "after call " + std::to_string(i) + " it was replaced by process " +
                               std::to_string(next.info.worker_pid));
    }
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case OneTerminalCase() {
  return {.id = "can/one-terminal",
          .title = "a stop that races the end of a call leaves one outcome",
          .clause = "6.6.5",
          .requirement =
              "each of 300 calls ends with its own result or with CANCELLED, and so does the next",
          .run = OneTerminal,
          .mutants = {{kWorker, "never-ends-cancelled", "replaced by process"},
                      {kPool, "late-replies-reach-the-next", "the result"}}};
}

Verdict Ignored(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep"})) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  LongCall call(testbed, /*ignore=*/true);
  if (auto trouble = call.AwaitBegun()) return *trouble;
  if (auto wrong = ExpectError(call.GiveUp(), ErrorCode::kCancelled)) return *wrong;
  if (auto wrong = testbed.AwaitReplaced({pid})) return *wrong;
  const Reply next = testbed.Call("ping");
  if (next.result) return Verdict::Pass();
  return Verdict::Fail("the new process serves the next call", next.Describe());
}

Case IgnoredCase() {
  return {.id = "can/ignored",
          .title = "a worker that goes on with a cancelled call is replaced",
          .clause = "6.6.5",
          .requirement =
              "the caller gets CANCELLED at once; after the pool's grace the worker is replaced",
          .run = Ignored,
          .mutants = {{kPool, "grace-without-end", "worker 0 ready"}}};
}

Verdict DeadlineUnary(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep"})) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const Reply reply = testbed.Call("conf.sleep", Value::Map{{"ms", 600'000}},
                                   WithTimeout(testbed.Scaled(milliseconds(200))));
  if (auto wrong = ExpectError(reply, ErrorCode::kDeadlineExceeded)) return *wrong;
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case DeadlineUnaryCase() {
  return {
      .id = "dl/unary",
      .title = "a call whose deadline passes ends, and its worker serves on",
      .clause = "6.2.2",
      .requirement = "the caller gets DEADLINE_EXCEEDED, the handler ends, and the process stays",
      .run = DeadlineUnary,
      .mutants = {{kWorker, "tells-no-handler", "replaced by process"},
                  {kPool, "deadline-is-cancelled", "CANCELLED"}}};
}

Verdict DeadlineVisible(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep"})) return *lacks;
  for (const milliseconds timeout : {testbed.Scaled(milliseconds(4'000)), milliseconds(60'000)}) {
    const Reply reply = testbed.Call("conf.sleep", Value::Map{{"ms", 0}}, WithTimeout(timeout));
    const Value* left = reply.result ? reply.result->Find("left_ms") : nullptr;
    const int64_t* left_ms = left == nullptr ? nullptr : left->get_if<int64_t>();
    // If less than half of the longer limit is left, it looks like the shorter one.
    if (left_ms != nullptr && *left_ms > timeout.count() / 2 && *left_ms <= timeout.count()) {
      continue;
    }
    return Verdict::Fail("`left_ms` is " + std::to_string(timeout.count()) +
                             ", the call's time limit, or a little less",
                         reply.Describe());
  }
  return Verdict::Pass();
}

Case DeadlineVisibleCase() {
  return {.id = "dl/visible",
          .title = "a handler sees the time left for its call",
          .clause = "6.2.2",
          .requirement = "the time left is the call's time limit less the time that has passed",
          .run = DeadlineVisible,
          .mutants = {{kWorker, "hides-deadline", "\"left_ms\":null"},
                      {kWorker, "deadline-in-seconds", "\"left_ms\":"}}};
}

}  // namespace

std::vector<Case> CancelCases() {
  return {CancelUnaryCase(), CancelMidStreamCase(), OneTerminalCase(), IgnoredCase()};
}

std::vector<Case> DeadlineCases() { return {DeadlineUnaryCase(), DeadlineVisibleCase()}; }

}  // namespace snakepit::conformance
