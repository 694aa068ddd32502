// Groups msg, crd and qry: the messages of streams, credit, cancellation and queries over stdio, as
// they are on the wire.
#include "conformance/cases/cases.h"
#include "conformance/cases/long_calls.h"
#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

constexpr int kFences = 10;

// A stream of conf.stream: chunks of that many bytes of text.
int64_t BeginStream(StdioPoolEnd& pool, int count, int bytes, const Json& extra = Json::object()) {
  pool.NeedFeature("stream");
  pool.NeedCommands({"conf.stream"});
  Json members = {{"stream", true}};
  members.update(extra);
  const int64_t id = pool.NewId();
  pool.Send(
      StdioPoolEnd::Request(id, "conf.stream", {{"count", count}, {"bytes", bytes}}, members));
  return id;
}

// A message that is sent nevertheless may be a moment late.
void ExpectSilence(StdioPoolEnd& pool) {
  for (int i = 0; i < kFences; ++i) pool.ExpectNothingElse();
}

void ExpectEndOfStream(StdioPoolEnd& pool, int64_t id, int64_t index) {
  ExpectChunk(pool.ReceiveFor(id), id, index, true);
}

Json Cancel(int64_t id) { return {{"type", "cancel"}, {"id", id}}; }
Json Credit(int64_t id, int64_t bytes) {
  return {{"type", "credit"}, {"id", id}, {"bytes", bytes}};
}

// conf.stream may mark its last chunk, or the end apart. True if there is a message after it.
bool ExpectLastChunk(StdioPoolEnd& pool, int64_t id, int64_t index) {
  const Json message = pool.ReceiveFor(id);
  const bool is_final = message.value("final", Json()) == true;
  ExpectChunk(message, id, index, is_final);
  return !is_final;
}

}  // namespace

std::vector<Case> MessageCases() {
  return {
      {.id = "msg/chunks",
       .title = "each chunk has its members",
       .clause = "6.3.1",
       .requirement =
           "chunks are maps of `id`, `type`, `index` from 0 without gaps, `final` on the "
           "last message alone, and `chunk`",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             constexpr int kChunks = 5;
             const int64_t id = BeginStream(pool, kChunks, 10);
             for (int i = 0; i < kChunks - 1; ++i) ExpectChunk(pool.Receive(), id, i, false);
             if (ExpectLastChunk(pool, id, kChunks - 1)) ExpectEndOfStream(pool, id, kChunks);
           },
       .mutants = {{kWorker, "wrong-chunk-id", "\"index\":2"},
                   {kWorker, "success-on-chunks", "\"success\":true"},
                   {kWorker, "index-from-1", "\"index\":1"}}},

      {.id = "msg/nothing-after-final",
       .title = "nothing comes after the last message of a stream",
       .clause = "6.3.3",
       .requirement = "`final` is true on the last message",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             const int64_t id = BeginStream(pool, 2, 10);
             ExpectChunk(pool.Receive(), id, 0, false);
             if (ExpectLastChunk(pool, id, 1)) ExpectEndOfStream(pool, id, 2);
             ExpectSilence(pool);
           },
       .mutants = {{kWorker, "chunk-after-final", "the worker sent"}}},

      {.id = "msg/stream-error",
       .title = "the error of a stream says after how many chunks it came",
       .clause = "6.3.4",
       .requirement = "an error after k chunks is the last message, with `index` k, `final` true, "
                      "`success` false, `error` and `code`",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedFeature("stream");
             pool.NeedCommands({"conf.stream"});
             const Json args = {{"count", 3}, {"bytes", 10}, {"error", "no row 4"}};
             const int64_t id = pool.NewId();
             pool.Send(StdioPoolEnd::Request(id, "conf.stream", args, {{"stream", true}}));
             for (int i = 0; i < 3; ++i) ExpectChunk(pool.ReceiveFor(id), id, i, false);
             const Json failure = pool.ReceiveFor(id);
             ExpectFailure(failure, id, "HANDLER_FAILED", 2);
             if (failure.value("type", Json()) == "chunk" &&
                 (failure.value("index", Json()) != 3 || failure.value("final", Json()) != true)) {
               Fail("`index` 3 and `final` true", Show(failure));
             }
             ExpectSilence(pool);
           },
       .mutants = {{kWorker, "error-index-0", "\"index\":0"}}},

      {.id = "msg/unary-as-stream",
       .title = "a command that does not stream gives one chunk",
       .clause = "6.3.6",
       .requirement =
           "a command that does not stream gives its result as the one chunk, index 0 and "
           "final",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedFeature("stream");
             const int64_t id = pool.NewId();
             pool.Send(StdioPoolEnd::Request(id, "ping", Json::object(), {{"stream", true}}));
             const Json chunk = ExpectChunk(pool.ReceiveFor(id), id, 0, true);
             if (!chunk.is_object()) Fail("the result of ping as the chunk", Show(chunk));
           },
       .mutants = {{kWorker, "unary-success", "\"success\":true"}}},

      {.id = "msg/late-cancel",
       .title = "a cancellation of a call that has ended is ignored",
       .clause = "6.6.4",
       .requirement = "a worker ignores a `cancel` for a call that has ended, or that it does not "
                      "know",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedVersion2();
             pool.ResultOf("ping");
             for (const int64_t id : {pool.last_id(), int64_t{1'000'000}}) pool.Send(Cancel(id));
             ExpectSilence(pool);
           },
       .mutants = {{kWorker, "answers-late-cancel", "the worker sent"}}},

      {.id = "msg/cancelled-once",
       .title = "a call that is cancelled ends once",
       .clause = "6.6.3",
       .requirement = "a cancelled call ends with exactly one last message",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             LongCalls calls(pool, 1, std::chrono::minutes(1));
             const int64_t id = calls.ids().front();
             pool.Send(Cancel(id));
             pool.Send(Cancel(id));
             ExpectFailure(pool.ReceiveFor(id), id, "CANCELLED", 2);
             ExpectSilence(pool);
           },
       .mutants = {{kWorker, "two-last-messages", "the worker sent"}}},

      {.id = "msg/cancelled-stream",
       .title = "no chunk comes after a cancellation",
       .clause = "6.6.3",
       .requirement =
           "after a worker has read the `cancel`, it sends no chunk of that stream except "
           "the last one",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             // It waits for credit, so no chunk is on its way.
             const int64_t id = BeginStream(pool, 100, 100, {{"credit", 1}});
             ExpectChunk(pool.ReceiveFor(id), id, 0, false);
             pool.Send(Cancel(id));
             const Json last = pool.ReceiveFor(id);
             ExpectFailure(last, id, "CANCELLED", 2);
             ExpectSilence(pool);
           },
       .mutants = {{kWorker, "chunk-after-cancel", "\"late\""}}},

      {.id = "msg/cancelled-in-queue",
       .title = "a call that is cancelled before its turn is not begun",
       .clause = "6.6.3",
       .requirement =
           "a call whose handler was not begun when it is cancelled is not begun, and is a "
           "failure with CANCELLED and `did_not_run`",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             LongCalls calls(pool, pool.capacity(), std::chrono::minutes(1));
             const int64_t waiting = pool.NewId();
             pool.Send(StdioPoolEnd::Request(waiting, "ping"));
             pool.Send(Cancel(waiting));
             pool.Query("health");
             for (const int64_t id : calls.ids()) pool.Send(Cancel(id));
             ExpectRefusal(pool.ReceiveFor(waiting), waiting, "CANCELLED", 2);
             for (const int64_t id : calls.ids()) {
               ExpectFailure(pool.ReceiveFor(id), id, "CANCELLED", 2);
             }
           },
       .mutants = {{kWorker, "runs-cancelled-queue", "\"status\":\"ok\""}}},

      {.id = "crd/bytes",
       .title = "credit counts the bytes of the payloads of chunks",
       .clause = "6.7.2",
       .requirement = "each chunk takes the size of its payload off the credit, and none is sent "
                      "while the credit is 0 or below",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             const int64_t id = BeginStream(pool, 10, 1000, {{"credit", 1}});
             ExpectChunk(pool.ReceiveFor(id), id, 0, false);
             const auto size = static_cast<int64_t>(pool.last_size());
             ExpectSilence(pool);
             // The credit is 1 - size: with this it is 0, and with one more a chunk may come.
             pool.Send(Credit(id, size - 1));
             ExpectSilence(pool);
             pool.Send(Credit(id, 1));
             ExpectChunk(pool.ReceiveFor(id), id, 1, false);
             ExpectSilence(pool);
             pool.Send(Cancel(id));
             ExpectFailure(pool.ReceiveFor(id), id, "CANCELLED", 2);
           },
       .mutants = {{kWorker, "ignores-credit", "the worker sent {\"chunk\""},
                   {kWorker, "credit-in-chunks", "the worker sent {\"chunk\""}}},

      {.id = "crd/end-needs-none",
       .title = "the end of a stream needs no credit",
       .clause = "6.7.2",
       .requirement = "a last message that holds no `chunk` needs no credit",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             const int64_t id = BeginStream(pool, 1, 1000, {{"credit", 1}});
             if (ExpectLastChunk(pool, id, 0)) ExpectEndOfStream(pool, id, 1);
           },
       .mutants = {{kWorker, "final-needs-credit", "none came within"}}},

      {.id = "crd/one-chunk-ahead",
       .title = "a handler without credit is at most one chunk ahead",
       .clause = "6.7.3",
       .requirement =
           "without credit the worker makes the handler wait, and holds at most one chunk",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedCommands({"conf.sent_count"});
             if (pool.capacity() < 2) NotApplicable("the worker takes one call at a time");
             const int64_t id = BeginStream(pool, 1000, 100, {{"credit", 1}});
             ExpectChunk(pool.ReceiveFor(id), id, 0, false);
             ExpectSilence(pool);
             const Json made = pool.ResultOf("conf.sent_count");
             if (!made.is_number_integer() || made > 2) {
               Fail("at most 2 chunks made: one sent, and one held", Show(made));
             }
             pool.Send(Cancel(id));
             ExpectFailure(pool.ReceiveFor(id), id, "CANCELLED", 2);
           },
       .mutants = {{kWorker, "runs-ahead", "1000"}}},

      {.id = "crd/late",
       .title = "credit for a call that has ended is ignored",
       .clause = "6.7.4",
       .requirement = "a worker ignores credit for a call that has ended, or that it does not know",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             const int64_t id = BeginStream(pool, 1, 10, {{"credit", 1000}});
             if (ExpectLastChunk(pool, id, 0)) ExpectEndOfStream(pool, id, 1);
             for (const int64_t late : {id, int64_t{1'000'000}}) pool.Send(Credit(late, 1000));
             ExpectSilence(pool);
           },
       .mutants = {{kWorker, "answers-late-credit", "the worker sent"}}},

      {.id = "qry/bad-id",
       .title = "a query with a bad id is answered by a failure",
       .clause = "6.10.1",
       .requirement = "a query has an `id`, to which 2.3.1 and 6.8.4 apply",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedVersion2();
             const auto expect_refused = [&](const Json& query, const Json& id) {
               pool.Send(query);
               ExpectRefusal(pool.Receive(), id, "INVALID_ARGUMENT", 2);
             };
             expect_refused({{"type", "health"}}, Json());
             expect_refused({{"type", "info"}, {"id", "x"}}, Json());
             expect_refused({{"type", "health"}, {"id", 0}}, 0);
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "ignores-bad-queries", "none came within"}}},

      {.id = "qry/counts",
       .title = "the totals of health count calls, and nothing else",
       .clause = "4.8.1",
       .requirement =
           "`total_requests` and `total_errors` count the calls that have ended, refused "
           "ones too, and no queries",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedVersion2();
             const auto totals = [&] {
               const Json health = pool.Query("health");
               if (!health.is_object()) Fail("a map", Show(health));
               return std::pair(health.value("total_requests", Json(-1)),
                                health.value("total_errors", Json(-1)));
             };
             const auto [calls, errors] = totals();
             for (int i = 0; i < 3; ++i) pool.ResultOf("ping");
             for (int i = 0; i < 2; ++i) {
               const Json reply = pool.Call("conf.there_is_no_such_command");
               ExpectFailure(reply, pool.last_id(), "UNIMPLEMENTED", 2);
             }
             const auto [calls_now, errors_now] = totals();
             if (!calls.is_number_integer() || calls != 1 || errors != 0 || calls_now != 6 ||
                 errors_now != 2) {
               Fail("1 call and 0 errors after the first ping, then 6 and 2",
                    Show(Json{calls, errors, calls_now, errors_now}));
             }
           },
       .mutants = {{kWorker, "counts-queries", "[2,0,8,2]"},
                   {kWorker, "counts-no-refusals", "[1,0,4,0]"}}},

      {.id = "qry/uptime",
       .title = "the uptime is in milliseconds",
       .clause = "4.8.1",
       .requirement = "`uptime_ms` is the time since the start of the worker",
       .judge =
           [](StdioPoolEnd& pool) {
             using std::chrono::steady_clock;
             const auto start = steady_clock::now();
             pool.Open();
             pool.NeedVersion2();
             const auto ready = steady_clock::now();
             const auto since = [](steady_clock::time_point time) {
               return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() -
                                                                            time)
                   .count();
             };
             while (since(ready) < 50) pool.ResultOf("ping");
             const int64_t least = since(ready);
             const Json uptime = pool.Query("health").value("uptime_ms", Json());
             const int64_t most = since(start);
             if (!uptime.is_number_integer() || uptime < least || uptime > most) {
               Fail("`uptime_ms` from " + std::to_string(least) + " to " + std::to_string(most),
                    Show(uptime));
             }
           },
       .mutants = {{kWorker, "uptime-in-seconds", "0"}}},
  };
}

}  // namespace snakepit::conformance
