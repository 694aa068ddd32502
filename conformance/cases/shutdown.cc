// Group shu: the end of a worker over stdio.
#include <csignal>
#include <utility>

#include "conformance/cases/cases.h"
#include "conformance/cases/long_calls.h"
#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

// The reply to a call that waits for its turn while the worker gets SIGTERM, and its id.
std::pair<Json, int64_t> ReplyToWaitingCall(StdioPoolEnd& pool) {
  pool.Open();
  LongCalls calls(pool, pool.capacity(), std::chrono::milliseconds(300));
  const int64_t waiting = pool.NewId();
  pool.Send(StdioPoolEnd::Request(waiting, "ping"));
  pool.Query("health");  // it has read what came before
  pool.Signal(SIGTERM);
  return {pool.ReceiveFor(waiting), waiting};
}

}  // namespace

std::vector<Case> ShutdownCases() {
  return {
      {.id = "shu/eof-idle",
       .title = "an idle worker ends with its input",
       .clause = "1.4.1",
       .requirement = "at the end of input between frames an idle worker exits with 0",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.CloseInput();
             pool.ExpectExit(0);
           },
       .mutants = {{kWorker, "ignores-eof", "it goes on"},
                   {kWorker, "exit-1-at-eof", "exit code 1"}}},

      {.id = "shu/eof-busy",
       .title = "a busy worker replies before it ends with its input",
       .clause = "1.4.1",
       .requirement =
           "at the end of input a busy worker finishes its calls, including those that it "
           "has read and not begun, replies, and exits with 0",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedCommands({"conf.sleep"});
             std::vector<int64_t> ids;
             // The last one waits for its turn. PROTOCOL.md 6.8.3.
             for (int i = 0; i <= pool.capacity(); ++i) {
               ids.push_back(pool.NewId());
               pool.Send(StdioPoolEnd::Request(ids.back(), "conf.sleep", {{"ms", 50}}));
             }
             pool.CloseInput();
             for (const int64_t id : ids) ExpectSuccess(pool.ReceiveFor(id), id);
             pool.ExpectExit(0);
           },
       .mutants = {{kWorker, "drops-calls-at-eof", "ended with exit code 0"},
                   {kWorker, "forgets-queued-at-eof", "ended with exit code 0"}}},

      {.id = "shu/eof-stalled-stream",
       .title = "a stream that needs credit ends with the input",
       .clause = "6.7.6",
       .requirement =
           "after the end of input a worker ends a stream that needs credit as if it had "
           "been cancelled",
       .level = Level::kShould,
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedFeature("stream");
             pool.NeedCommands({"conf.stream"});
             const int64_t id = pool.NewId();
             pool.Send(StdioPoolEnd::Request(id, "conf.stream", {{"count", 10}, {"bytes", 100}},
                                             {{"stream", true}, {"credit", 1}}));
             ExpectChunk(pool.ReceiveFor(id), id, 0, false);
             pool.CloseInput();
             ExpectFailure(pool.ReceiveFor(id), id, "CANCELLED", 2);
             pool.ExpectExit(0);
           },
       .mutants = {{kWorker, "waits-for-credit-at-eof", "none came within"}}},

      {.id = "shu/sigterm-idle",
       .title = "an idle worker ends at SIGTERM",
       .clause = "1.4.2",
       .requirement = "on SIGTERM an idle worker exits with 0",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.Signal(SIGTERM);
             pool.ExpectExit(0);
           },
       .mutants = {{kWorker, "ignores-sigterm", "it goes on"}}},

      {.id = "shu/sigterm-busy",
       .title = "a busy worker replies before it ends at SIGTERM",
       .clause = "1.4.2",
       .requirement = "on SIGTERM a busy worker finishes its calls, replies, and exits with 0",
       .level = Level::kShould,
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             LongCalls calls(pool, 1, std::chrono::milliseconds(200));
             pool.Signal(SIGTERM);
             for (const int64_t id : calls.ids()) ExpectSuccess(pool.ReceiveFor(id), id);
             pool.ExpectExit(0);
           },
       .mutants = {{kWorker, "exits-at-sigterm", "ended with exit code 0"}}},

      {.id = "shu/sigterm-tells",
       .title = "a worker that ends leaves no call without a reply",
       .clause = "1.4.8",
       .requirement = "a worker of version 2 that is ending refuses each call that it has read and "
                      "does not begin, with CANCELLED and `did_not_run`",
       .judge =
           [](StdioPoolEnd& pool) {
             const auto [reply, id] = ReplyToWaitingCall(pool);
             if (reply.value("success", Json()) != true) ExpectRefusal(reply, id, "CANCELLED", 2);
           },
       .mutants = {{kWorker, "loses-queued-at-sigterm", "ended with exit code 0"}}},

      {.id = "shu/sigterm-begins-none",
       .title = "a worker that ends begins no call",
       .clause = "1.4.2",
       .requirement = "on SIGTERM a busy worker finishes its calls and begins no other",
       .level = Level::kShould,
       .judge =
           [](StdioPoolEnd& pool) {
             const auto [reply, id] = ReplyToWaitingCall(pool);
             ExpectRefusal(reply, id, "CANCELLED", 2);
           },
       .mutants = {{kWorker, "runs-queued-after-sigterm", "\"success\":true"}}},

      {.id = "shu/bad-environment",
       .title = "an invalid variable ends the worker with exit code 2",
       .clause = "1.2.7",
       .requirement = "a worker that finds an invalid value in a variable of the pool exits with 2",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.NeedVersion2();
             for (const char* value : {"many", "1023", "2147483648", "-1"}) {
               pool.Restart();
               const std::string variable = "SNAKEPIT_MAX_FRAME_BYTES=" + std::string(value);
               pool.Note(variable);
               pool.Start(StdioPoolEnd::Channel::kSocketPair, {variable});
               pool.ExpectExit(2);
             }
           },
       .mutants = {{kWorker, "ignores-environment", "it goes on"}}},
  };
}

}  // namespace snakepit::conformance
