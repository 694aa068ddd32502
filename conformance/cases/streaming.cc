// Group str: streaming, by ping_stream.
#include "conformance/cases/streaming.h"

#include <thread>

#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Value PingStreamArgs(int count, milliseconds interval) {
  return Value::Map{{"count", count}, {"interval", interval.count() / 1000.0}};
}

namespace {

// An unknown command has a code in version 1 only if the text of the error begins as in 2.7.2.
bool IsMissing(const Error& error, bool is_version_1) {
  return error.code == ErrorCode::kUnimplemented ||
         (is_version_1 && error.code == ErrorCode::kHandlerFailed);
}

}  // namespace

std::optional<Verdict> NeedPingStream(const Testbed& testbed) {
  if (auto lacks = NeedStreams(testbed)) return lacks;
  const StreamReply reply = testbed.Stream("ping_stream", PingStreamArgs(1, milliseconds(0)));
  if (reply.count) return std::nullopt;
  const bool is_version_1 = testbed.Workers()[0].protocol_version < 2;
  if (!IsMissing(reply.count.error(), is_version_1)) return std::nullopt;
  return Verdict::NotApplicable(is_version_1 ? "protocol version 1, and no command ping_stream"
                                             : "no command ping_stream");
}

namespace {

constexpr int kManyChunks = 50;
constexpr int kTimedChunks = 5;
constexpr int kTimedAttempts = 3;
constexpr int kChunksBeforeError = 3;
constexpr int kUnreadChunks = 1000;
constexpr int kUnreadBytes = 32 << 10;
// Most chunks made of a stream that nobody reads: 8 MiB of 31 MiB. Transports and pools hold less.
constexpr int64_t kMaxAhead = (8 << 20) / kUnreadBytes;

std::optional<Verdict> ExpectChunks(const StreamReply& reply, int count) {
  if (reply.count && *reply.count == count && static_cast<int>(reply.chunks.size()) == count) {
    return std::nullopt;
  }
  return Verdict::Fail(std::to_string(count) + " chunks, and the end", reply.Describe());
}

Verdict Order(Testbed& testbed) {
  if (auto lacks = NeedPingStream(testbed)) return *lacks;
  const StreamReply reply =
      testbed.Stream("ping_stream", PingStreamArgs(kManyChunks, milliseconds(0)));
  if (auto wrong = ExpectChunks(reply, kManyChunks)) return *wrong;
  for (int i = 0; i < kManyChunks; ++i) {
    const Chunk& chunk = reply.chunks[i];
    const Value* const number = chunk.value.Find("ping_number");
    if (chunk.index != i || number == nullptr || *number != Value(i + 1)) {
      return Verdict::Fail(
          "chunk " + std::to_string(i) + " has `ping_number` " + std::to_string(i + 1),
          "chunk " + std::to_string(chunk.index) + " is " + chunk.value.ToJson());
    }
  }
  return Verdict::Pass();
}

Case OrderCase() {
  return {.id = "str/order",
          .title = "chunks come in order, without gaps",
          .clause = "0.3",
          .requirement = "a streaming call ends with its chunks, in order",
          .run = Order,
          .mutants = {{kWorker, "swaps-chunks", "is {\"message\""},
                      {kWorker, "drops-a-chunk", "49 chunks"}}};
}

Verdict Empty(Testbed& testbed) {
  if (auto lacks = NeedPingStream(testbed)) return *lacks;
  const StreamReply reply = testbed.Stream("ping_stream", PingStreamArgs(0, milliseconds(0)));
  if (auto wrong = ExpectChunks(reply, 0)) return *wrong;
  return Verdict::Pass();
}

Case EmptyCase() {
  return {.id = "str/empty",
          .title = "an empty stream ends without a chunk",
          .clause = "7.3.1",
          .requirement = "ping_stream of `count` 0 has no chunk",
          .run = Empty,
          .mutants = {{kWorker, "empty-has-a-chunk", "1 chunks"}}};
}

Verdict FinalOnceLast(Testbed& testbed) {
  if (auto lacks = NeedPingStream(testbed)) return *lacks;
  const StreamReply reply = testbed.Stream("ping_stream", PingStreamArgs(3, milliseconds(0)));
  if (auto wrong = ExpectChunks(reply, 3)) return *wrong;
  for (const Chunk& chunk : reply.chunks) {
    if (chunk.final && chunk.index != 2) {
      return Verdict::Fail("only chunk 2 is final",
                           "chunk " + std::to_string(chunk.index) + " is final");
    }
  }
  return Verdict::Pass();
}

Case FinalOnceLastCase() {
  return {.id = "str/final-once-last",
          .title = "only the last chunk is final",
          .clause = "6.3.3",
          .requirement = "`final` is true on the last message and on no other",
          .version_1_clause = "4.5.2",
          .run = FinalOnceLast,
          .mutants = {{kWorker, "early-final", "2 chunks"}}};
}

// A worker that collects its chunks fails every attempt. A good worker may be held up once. A
// worker that does not wait between its chunks proves nothing.
Verdict FirstChunkEarly(Testbed& testbed) {
  if (auto lacks = NeedPingStream(testbed)) return *lacks;
  const milliseconds interval = testbed.Scaled(milliseconds(60));
  std::string observed;
  for (int attempt = 0; attempt < kTimedAttempts; ++attempt) {
    const auto start = steady_clock::now();
    std::optional<steady_clock::time_point> first;
    const StreamReply reply = testbed.Stream("ping_stream", PingStreamArgs(kTimedChunks, interval),
                                             [&first](const Chunk&) {
                                               if (!first) first = steady_clock::now();
                                               return true;
                                             });
    const std::chrono::duration<double, std::milli> whole = steady_clock::now() - start;
    if (auto wrong = ExpectChunks(reply, kTimedChunks)) return *wrong;
    if (whole < interval * (kTimedChunks - 1) / 2) {
      return Verdict::NotApplicable(
          "ping_stream does not keep its `interval`: " + std::to_string(kTimedChunks) +
          " chunks, " + std::to_string(interval.count()) + " ms apart, came within " +
          std::to_string(static_cast<int>(whole.count())) + " ms");
    }
    const std::chrono::duration<double, std::milli> early = *first - start;
    if (early < whole / 4) return Verdict::Pass();
    observed += (attempt == 0 ? "chunk 0 after " : ", ") +
                std::to_string(static_cast<int>(early.count())) + " of " +
                std::to_string(static_cast<int>(whole.count())) + " ms";
  }
  return Verdict::Fail("the first of five chunks comes within a quarter of the whole", observed);
}

Case FirstChunkEarlyCase() {
  return {.id = "str/first-chunk-early",
          .title = "a chunk is sent as soon as it exists",
          .clause = "6.3.7",
          .requirement = "a worker does not hold chunks back",
          .version_1_clause = "4.5.6",
          .run = FirstChunkEarly,
          .mutants = {{kWorker, "collects-chunks", "chunk 0 after"}}};
}

Verdict UnaryAsStream(Testbed& testbed) {
  const StreamReply reply = testbed.Stream("ping", Value::Map{{"number", 7}});
  // A worker of version 1 MAY keep commands and streams apart.
  const bool is_version_1 = testbed.Workers()[0].protocol_version < 2;
  if (is_version_1 && !reply.count && reply.chunks.empty() &&
      IsMissing(reply.count.error(), is_version_1)) {
    return Verdict::NotApplicable("protocol version 1, and ping is no stream: " + reply.Describe());
  }
  if (auto wrong = ExpectChunks(reply, 1)) return *wrong;
  const Chunk& chunk = reply.chunks[0];
  if (chunk.index == 0 && chunk.value.TextAt("status") == "ok") return Verdict::Pass();
  return Verdict::Fail("chunk 0 is the result of ping, with the status 'ok'",
                       "chunk " + std::to_string(chunk.index) + " is " + chunk.value.ToJson());
}

Case UnaryAsStreamCase() {
  return {
      .id = "str/unary-as-stream",
      .title = "a command that does not stream gives one chunk",
      .clause = "6.3.6",
      .requirement = "called as a stream, it gives its result as the one chunk, index 0 and final",
      .version_1_clause = "4.5.5",
      .run = UnaryAsStream,
      .mutants = {{kWorker, "unary-gives-no-chunk", "0 chunks"},
                  {kWorker, "streams-nothing", "UNIMPLEMENTED"}}};
}

Verdict ReusableAfter(Testbed& testbed) {
  if (auto lacks = NeedPingStream(testbed)) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const StreamReply whole = testbed.Stream("ping_stream", PingStreamArgs(3, milliseconds(0)));
  if (auto wrong = ExpectChunks(whole, 3)) return *wrong;
  const Reply after_whole = testbed.Call("ping");
  if (!after_whole.result || after_whole.info.worker_pid != pid) {
    return Verdict::Fail("the same process serves a ping after a stream", after_whole.Describe());
  }
  // Any process will do, since the pool may replace the worker after a stream that was given up.
  const StreamReply given_up = testbed.Stream("ping_stream", PingStreamArgs(3, milliseconds(0)),
                                              [](const Chunk&) { return false; });
  if (given_up.count || given_up.count.error().code != ErrorCode::kCancelled) {
    return Verdict::Fail("a stream that its reader gives up ends with CANCELLED",
                         given_up.Describe());
  }
  const Reply after_given_up = testbed.Call("ping");
  if (!after_given_up.result) {
    return Verdict::Fail("a ping after a stream that was given up is served",
                         after_given_up.Describe());
  }
  return Verdict::Pass();
}

Case ReusableAfterCase() {
  return {.id = "str/reusable-after",
          .title = "a worker serves on after a stream",
          .clause = "6.3.8",
          .requirement = "after a stream, whole or given up, the worker serves the next call",
          .version_1_clause = "4.6.3",
          .run = ReusableAfter,
          .mutants = {{kWorker, "exits-after-stream", "WORKER_LOST"}}};
}

Verdict ErrorMid(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.stream"})) return *lacks;
  if (auto lacks = NeedStreams(testbed)) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const StreamReply reply = testbed.Stream(
      "conf.stream", Value::Map{{"count", kChunksBeforeError}, {"error", "no row 3"}});
  bool as_expected = reply.chunks.size() == kChunksBeforeError && !reply.count &&
                     reply.count.error().code == ErrorCode::kHandlerFailed &&
                     reply.count.error().message.find("no row 3") != std::string::npos;
  for (size_t i = 0; i < reply.chunks.size(); ++i) {
    const Value* const number = reply.chunks[i].value.Find("n");
    as_expected = as_expected && number != nullptr && *number == Value(i);
  }
  if (!as_expected) {
    return Verdict::Fail("3 chunks, then HANDLER_FAILED with the text 'no row 3'",
                         reply.Describe());
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case ErrorMidCase() {
  return {.id = "str/error-mid",
          .title = "an error after three chunks leaves the chunks",
          .clause = "6.3.4",
          .requirement = "the chunks before an error come, then the error, and the process stays",
          .run = ErrorMid,
          .mutants = {{kWorker, "swallows-stream-errors", "3 chunks"},
                      {kWorker, "runs-ahead", "0 chunks, then HANDLER_FAILED"}}};
}

Verdict Backpressure(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.stream", "conf.sent_count"})) return *lacks;
  if (auto lacks = NeedStreams(testbed)) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const milliseconds stall = testbed.Scaled(milliseconds(200));
  const StreamReply reply =
      testbed.Stream("conf.stream", StreamArgs(kUnreadChunks, kUnreadBytes), [stall](const Chunk&) {
        // Gives a handler without backpressure the time to run ahead. This is no synchronisation.
        std::this_thread::sleep_for(stall);
        return false;
      });
  if (reply.count || reply.count.error().code != ErrorCode::kCancelled) {
    return Verdict::Fail("a stream that its reader gives up ends with CANCELLED", reply.Describe());
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  const auto count = SentCount(testbed);
  if (auto* trouble = std::get_if<Verdict>(&count)) return *trouble;
  const int64_t made = std::get<int64_t>(count);
  if (made >= 1 && made <= kMaxAhead) return Verdict::Pass();
  return Verdict::Fail("the handler stops when its reader does, after " +
                           std::to_string(kMaxAhead) + " chunks at the latest",
                       "it has made " + std::to_string(made));
}

Case BackpressureCase() {
  return {.id = "str/backpressure",
          .title = "a handler does not run ahead of the reader of its stream",
          .clause = "6.7.3",
          .requirement =
              "without a reader the handler blocks, and the number of chunks made is bounded",
          .run = Backpressure,
          .mutants = {{kWorker, "runs-ahead", "it has made 1000"}}};
}

}  // namespace

std::vector<Case> StreamCases() {
  return {OrderCase(),         EmptyCase(),         FinalOnceLastCase(), FirstChunkEarlyCase(),
          UnaryAsStreamCase(), ReusableAfterCase(), ErrorMidCase(),      BackpressureCase()};
}

}  // namespace snakepit::conformance
