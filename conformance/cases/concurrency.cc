// Groups ver and con: the agreement with the worker, and several calls in flight on it.
#include <algorithm>
#include <memory>
#include <thread>

#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

using std::chrono::milliseconds;

constexpr int kEchoes = 20;
// More than two calls at a time prove nothing more.
constexpr int kMaxThreads = 4;
// Most calls that a case keeps in flight, each on a thread of its own.
constexpr int kMaxHeld = 64;
constexpr int kStalledChunks = 600;
constexpr int kStalledBytes = 32 << 10;
// Most chunks made of a stream that nobody reads: 8 MiB of 19 MiB. Transports and pools hold less.
constexpr int64_t kMaxAhead = (8 << 20) / kStalledBytes;

Verdict Agreed(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {})) return *lacks;
  // On stdio the pool itself has made the first call, a ping. PROTOCOL.md 2.5.
  int64_t calls = std::holds_alternative<StdioTransport>(testbed.adapter().transport) ? 1 : 0;
  for (const int64_t last = calls + 1; calls <= last; ++calls) {
    const auto health = AwaitCallsEnded(testbed, calls);
    if (!health || !health->healthy || health->calls_in_flight != 0 ||
        health->total_requests != calls) {
      return Verdict::Fail(
          "an idle worker is healthy, 0 calls in flight, " + std::to_string(calls) + " calls ended",
          Describe(health));
    }
    const Reply reply = testbed.Call("ping");
    if (!reply.result) return Verdict::Fail("a ping is answered", reply.Describe());
  }
  return Verdict::Pass();
}

Case AgreedCase() {
  return {
      .id = "ver/agreed",
      .title = "a worker that agrees to version 2 answers for its health",
      .clause = "6.1.2",
      .requirement = "a worker that agrees to version 2 has all of it but the optional features",
      .run = Agreed,
      .mutants = {{kWorker, "health-without-figures", "0 calls ended"},
                  {kWorker, "counts-twice", "2 calls ended"}}};
}

// Each value comes back to its own caller: nothing, or the failure.
std::optional<Verdict> ExpectEchoes(const Testbed& testbed, int from) {
  CallOptions options;
  options.timeout = testbed.Scaled(milliseconds(3'000));
  for (int i = from; i < from + kEchoes; ++i) {
    const Reply reply = testbed.Call("conf.echo", Value::Map{{"value", i}}, options);
    if (reply.result && *reply.result == Value(i)) continue;
    return Verdict::Fail("conf.echo of " + std::to_string(i) + " ends with it", reply.Describe());
  }
  return std::nullopt;
}

Verdict OutOfOrder(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep", "conf.echo"})) return *lacks;
  if (auto lacks = NeedCapacity(testbed)) return *lacks;
  const WorkerInfo worker = testbed.Workers()[0];
  LongCall slow(testbed);
  if (auto trouble = slow.AwaitBegun()) return *trouble;
  std::vector<std::future<std::optional<Verdict>>> quick;
  for (int i = 0; i < std::min(kMaxThreads, worker.capacity - 1); ++i) {
    quick.push_back(std::async(std::launch::async, ExpectEchoes, std::cref(testbed), i * kEchoes));
  }
  std::optional<Verdict> wrong;
  for (auto& calls : quick) {
    auto trouble = calls.get();
    if (!wrong) wrong = std::move(trouble);
  }
  if (wrong) return *wrong;
  if (slow.HasEnded()) {
    return Verdict::Fail("the slow call goes on meanwhile", slow.GiveUp().Describe());
  }
  if (auto trouble = ExpectError(slow.GiveUp(), ErrorCode::kCancelled)) return *trouble;
  if (auto trouble = ExpectSameProcess(testbed, worker.pid)) return *trouble;
  return Verdict::Pass();
}

Case OutOfOrderCase() {
  return {.id = "con/out-of-order",
          .title = "a slow call does not hold up quick ones on the same worker",
          .clause = "6.8.2",
          .requirement = "replies come in any order, each to its own call",
          .run = OutOfOrder,
          .mutants = {{kWorker, "one-at-a-time", "DEADLINE_EXCEEDED"},
                      {kWorker, "swaps-replies", "the result"}}};
}

using LongCalls = std::vector<std::unique_ptr<LongCall>>;

// Fills the worker's capacity with calls that have begun; or the reason why it could not.
std::variant<LongCalls, Verdict> FillWorker(const Testbed& testbed) {
  const WorkerInfo worker = testbed.Workers()[0];
  if (worker.capacity > kMaxHeld) {
    return Verdict::NotApplicable("the worker takes over " + std::to_string(kMaxHeld) + " calls");
  }
  LongCalls calls;
  for (int i = 0; i < worker.capacity; ++i) {
    calls.push_back(std::make_unique<LongCall>(testbed));
    if (auto trouble = calls.back()->AwaitBegun()) {
      trouble->observed += ", for call " + std::to_string(i + 1) + " of " +
                           std::to_string(worker.capacity) + " that the worker takes";
      return *trouble;
    }
  }
  return calls;
}

Verdict Capacity(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep"})) return *lacks;
  const WorkerInfo worker = testbed.Workers()[0];
  auto filled = FillWorker(testbed);
  if (auto* verdict = std::get_if<Verdict>(&filled)) return *verdict;
  LongCalls& calls = std::get<LongCalls>(filled);
  calls.push_back(std::make_unique<LongCall>(testbed));
  if (auto trouble = testbed.AwaitAccepted(calls.size())) return *trouble;
  const PoolStats stats = testbed.Stats();
  if (stats.calls_queued != 1 || stats.calls_in_flight != worker.capacity) {
    return Verdict::Fail("one call more than the capacity waits in the pool",
                         std::to_string(stats.calls_queued) + " wait, and " +
                             std::to_string(stats.calls_in_flight) + " are in flight");
  }
  for (auto& call : calls) {
    const Reply reply = call->GiveUp();
    if (reply.result || reply.result.error().code != ErrorCode::kCancelled) {
      return Verdict::Fail("CANCELLED", reply.Describe());
    }
  }
  if (auto wrong = ExpectSameProcess(testbed, worker.pid)) return *wrong;
  return Verdict::Pass();
}

Case CapacityCase() {
  return {.id = "con/capacity",
          .title = "a worker has as many calls in flight as its capacity, and no more",
          .clause = "6.8.2",
          .requirement = "the pool fills the capacity and does not exceed it",
          .run = Capacity,
          .mutants = {{kWorker, "one-at-a-time", "for call 2 of 4"},
                      {kPool, "one-call-a-worker", "for call 2 of 4"}}};
}

Verdict HealthWhileBusy(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.sleep"})) return *lacks;
  if (auto lacks = NeedCapacity(testbed)) return *lacks;
  const WorkerInfo worker = testbed.Workers()[0];
  auto filled = FillWorker(testbed);
  if (auto* verdict = std::get_if<Verdict>(&filled)) return *verdict;
  LongCalls& calls = std::get<LongCalls>(filled);
  const auto health = testbed.CheckHealth(0, testbed.Scaled(milliseconds(2'000)));
  if (!health || !health->healthy || health->calls_in_flight != worker.capacity) {
    return Verdict::Fail("a worker that is busy with all that it takes is healthy, and has " +
                             std::to_string(worker.capacity) + " calls in flight",
                         Describe(health));
  }
  calls.clear();
  if (auto wrong = ExpectSameProcess(testbed, worker.pid)) return *wrong;
  return Verdict::Pass();
}

Case HealthWhileBusyCase() {
  return {
      .id = "con/health-while-busy",
      .title = "a worker answers for its health while all its handlers are busy",
      .clause = "6.10.2",
      .requirement = "a worker with a capacity over 1 answers `health` however many calls it has",
      .run = HealthWhileBusy,
      .mutants = {{kWorker, "silent-while-busy", "DEADLINE_EXCEEDED"}}};
}

// A reader of a stream that stops at chunk 0, until GoOn().
class StalledReader {
 public:
  explicit StalledReader(const Testbed& testbed)
      : stream_(std::async(std::launch::async, [this, &testbed] {
          return testbed.Stream("conf.stream", StreamArgs(kStalledChunks, kStalledBytes),
                                [this](const Chunk& chunk) {
                                  if (chunk.index == 0) {
                                    stalled_.set_value();
                                    go_on_.get_future().wait();
                                  }
                                  return true;
                                });
        })) {}
  ~StalledReader() {
    if (stream_.valid()) GoOn();
  }

  bool AwaitStalled(milliseconds limit) {
    return stalled_.get_future().wait_for(limit) == std::future_status::ready;
  }

  // Once.
  StreamReply GoOn() {
    go_on_.set_value();
    return stream_.get();
  }

 private:
  std::promise<void> stalled_;
  std::promise<void> go_on_;
  std::future<StreamReply> stream_;
};

Verdict StalledStream(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.stream", "conf.sent_count", "conf.echo"})) {
    return *lacks;
  }
  if (auto lacks = NeedStreams(testbed)) return *lacks;
  if (auto lacks = NeedCapacity(testbed)) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  StalledReader reader(testbed);
  if (!reader.AwaitStalled(testbed.Patience())) {
    return Verdict::Fail("chunk 0 comes", reader.GoOn().Describe());
  }
  // While nobody reads, other calls are served, and the handler stops.
  const auto deadline = std::chrono::steady_clock::now() + testbed.Patience();
  int64_t made = -1;
  for (int same = 0; same < 3;) {
    if (auto wrong = ExpectEchoes(testbed, 0)) return *wrong;
    const auto count = SentCount(testbed);
    if (auto* trouble = std::get_if<Verdict>(&count)) return *trouble;
    same = std::get<int64_t>(count) == made ? same + 1 : 0;
    made = std::get<int64_t>(count);
    if (made > kMaxAhead || std::chrono::steady_clock::now() > deadline) {
      return Verdict::Fail("the handler stops when its reader does, at " +
                               std::to_string(kMaxAhead) + " chunks at the latest",
                           "it has made " + std::to_string(made));
    }
  }
  const StreamReply reply = reader.GoOn();
  if (!reply.count || *reply.count != kStalledChunks) {
    return Verdict::Fail(
        "the rest of " + std::to_string(kStalledChunks) + " chunks comes when the reader goes on",
        reply.Describe());
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case StalledStreamCase() {
  return {
      .id = "con/stalled-stream",
      .title = "a stream whose reader stops holds up no other call",
      .clause = "6.7.5",
      .requirement = "other calls on the worker are served, and the handler of the stream waits",
      .run = StalledStream,
      .mutants = {{kWorker, "one-at-a-time", "DEADLINE_EXCEEDED"},
                  {kWorker, "runs-ahead", "it has made 600"}}};
}

}  // namespace

std::vector<Case> VersionCases() { return {AgreedCase()}; }

std::vector<Case> ConcurrencyCases() {
  return {OutOfOrderCase(), CapacityCase(), HealthWhileBusyCase(), StalledStreamCase()};
}

}  // namespace snakepit::conformance
