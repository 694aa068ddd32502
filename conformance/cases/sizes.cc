// Group siz: messages about the size of the limits, over stdio.
#include "conformance/cases/cases.h"
#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

// Less than any result below, and more than any other message of a worker.
constexpr int64_t kPoolLimit = 4096;
constexpr int64_t kWorkerLimit = 65536;

void OpenWithPoolLimit(StdioPoolEnd& pool) {
  pool.NeedHandshake();
  Json offer = pool.Offer();
  offer["max_frame_bytes"] = kPoolLimit;
  pool.OpenWith(offer);
  pool.NeedVersion2();
}

void ExpectWithinLimit(const StdioPoolEnd& pool) {
  if (pool.last_size() > kPoolLimit) {
    Fail("a message of at most " + std::to_string(kPoolLimit) + " bytes",
         "one of " + std::to_string(pool.last_size()) + " bytes");
  }
}

}  // namespace

std::vector<Case> SizeCases() {
  return {
      {.id = "siz/large-result",
       .title = "a result over the pool's limit is MESSAGE_TOO_LARGE",
       .clause = "3.2.9",
       .requirement = "neither side sends a payload over the other's limit: the call fails with "
                      "MESSAGE_TOO_LARGE, and the worker goes on serving",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenWithPoolLimit(pool);
             pool.NeedCommands({"conf.echo"});
             const Json reply =
                 pool.Call("conf.echo", {{"value", std::string(2 * kPoolLimit, 'x')}});
             ExpectWithinLimit(pool);
             ExpectFailure(reply, pool.last_id(), "MESSAGE_TOO_LARGE", 2);
             pool.ResultOf("ping");
           },
       .mutants = {{kWorker, "ignores-pool-limit", "one of "}}},

      {.id = "siz/long-error",
       .title = "the text of an error is cut to the pool's limit",
       .clause = "2.1.5",
       .requirement =
           "a text of an error that is too long is cut, between characters, and the error "
           "keeps its code",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenWithPoolLimit(pool);
             pool.NeedCommands({"conf.raise"});
             std::string text;
             for (int i = 0; i < 2 * kPoolLimit; ++i) text += "ü";
             const Json reply = pool.Call("conf.raise", {{"text", text}});
             ExpectWithinLimit(pool);
             ExpectFailure(reply, pool.last_id(), "HANDLER_FAILED", 2);
           },
       .mutants = {{kWorker, "error-over-limit", "one of "}}},

      {.id = "siz/limit-itself",
       .title = "a frame of exactly the limit is served",
       .clause = "2.1.2",
       .requirement =
           "a payload has at most the number of bytes that SNAKEPIT_MAX_FRAME_BYTES says",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.NeedHandshake();
             pool.Open();
             pool.NeedVersion2();
             pool.Restart();
             pool.Start(StdioPoolEnd::Channel::kSocketPair,
                        {"SNAKEPIT_MAX_FRAME_BYTES=" + std::to_string(kWorkerLimit)});
             const Json answer = pool.Negotiate(pool.Offer());
             if (answer.value("max_frame_bytes", Json(kWorkerLimit)) != Json(kWorkerLimit)) {
               Fail("`max_frame_bytes` " + std::to_string(kWorkerLimit) +
                        ", as the environment says, or none",
                    Show(answer));
             }
             // A command that echoes its args would have a result over the limit.
             const int64_t id = pool.NewId();
             Json request =
                 StdioPoolEnd::Request(id, "conf.there_is_no_such_command", {{"text", ""}});
             // With a text of that many bytes MessagePack writes its length in two more.
             request["args"]["text"] = std::string(300, 'x');
             const size_t rest = pool.Frame(request).size() - 4 - 300;
             request["args"]["text"] = std::string(kWorkerLimit - rest, 'x');
             pool.Send(request);
             ExpectFailure(pool.ReceiveFor(id), id, "UNIMPLEMENTED", 2);
           },
       .mutants = {{kWorker, "limit-off-by-one", "ended with exit code 1"}}},
  };
}

}  // namespace snakepit::conformance
