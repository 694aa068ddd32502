// Group ver: the worker's claims about itself are true. concurrency.cc has the agreement.
#include <algorithm>
#include <variant>

#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"
#include "conformance/cases/secrets.h"
#include "conformance/cases/streaming.h"
#include "conformance/harness/raw_grpc.h"
#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

using std::chrono::milliseconds;

Verdict ExpectedVersion(Testbed& testbed) {
  const int expected = testbed.expected_version();
  if (expected == 0) return Verdict::NotApplicable("no --expect-version");
  const int version = testbed.Workers()[0].protocol_version;
  if (version == expected) return Verdict::Pass();
  return Verdict::Fail("the worker agrees to protocol version " + std::to_string(expected) +
                           ", as --expect-version says",
                       "it agreed to protocol version " + std::to_string(version));
}

Case ExpectedVersionCase() {
  return {.id = std::string_view(kExpectedVersionCase),
          .title = "the worker agrees to the expected version",
          .clause = "3.2.3",
          .requirement = "the agreed version is that of --expect-version",
          .run = ExpectedVersion,
          .mutants = {{kWorker, "loses-version", "it agreed to protocol version 1"}}};
}

// The texts of an array, without its other elements; none without an array.
std::vector<std::string> TextsOf(const Value* value) {
  std::vector<std::string> texts;
  const Value::Array* array = value == nullptr ? nullptr : value->get_if<Value::Array>();
  if (array == nullptr) return texts;
  for (const Value& item : *array) {
    if (const auto* text = item.get_if<std::string>()) texts.push_back(*text);
  }
  return texts;
}

// The commands that the worker claims to have: over gRPC by GetInfo, on stdio by the query `info`
// of version 2, or else by the command `info`. Starts the pool.
std::variant<std::vector<std::string>, Verdict> ListedCommands(Testbed& testbed) {
  if (std::holds_alternative<GrpcTransport>(testbed.adapter().transport)) {
    const auto taken = StartAndTakeSecrets(testbed);
    if (auto* verdict = std::get_if<Verdict>(&taken)) return *verdict;
    const Secrets& secrets = std::get<Secrets>(taken);
    return GetSupportedCommands(secrets.target, secrets.token, testbed.Patience());
  }
  if (auto started = testbed.StartPool(1); !started) {
    return Verdict{Status::kNotRun, "the worker starts", started.error().ToString()};
  }
  if (testbed.Workers()[0].protocol_version >= 2) {
    Transcript transcript;
    StdioPoolEnd pool({.adapter = testbed.adapter(), .slowdown = testbed.slowdown()}, transcript);
    try {
      pool.Open();
      return pool.SupportedCommands();
    } catch (const CaseEnd& end) {
      return end.verdict;
    }
  }
  const Reply reply = testbed.Call("info");
  const Value* info = reply.result ? reply.result->Find("bridge_info") : nullptr;
  return TextsOf(info == nullptr ? nullptr : info->Find("supported_commands"));
}

// A command of README.md or PROTOCOL.md 7.
struct KnownCommand {
  const char* name;
  Value args;             // let it end soon
  bool succeeds = false;  // with these args, in every worker
  bool is_stream = false;
};

std::vector<KnownCommand> KnownCommands() {
  std::vector<KnownCommand> commands = {
      {"ping", {}, true},
      {"echo", {}, true},
      {"compute", Value::Map{{"operation", "add"}, {"a", 1}, {"b", 2}}, true},
      {"info", {}, true},
      {"ping_stream", PingStreamArgs(1, milliseconds(0)), true, true},
      {"batch_inference", Value::Map{{"batch_items", Value::Array{"a"}}}, false, true},
      {"process_large_dataset", Value::Map{{"total_rows", 1}, {"chunk_size", 1}}, false, true},
      {"tail_and_analyze", {}, false, true},
      {"conf.stream", {}, false, true},
  };
  for (const char* name : {"conf.echo", "conf.sleep", "conf.sent_count", "conf.raise",
                           "conf.bad_value", "conf.incr"}) {
    commands.push_back({name, {}});
  }
  return commands;
}

Verdict ClaimedCommands(Testbed& testbed) {
  const auto listed = ListedCommands(testbed);
  if (auto* verdict = std::get_if<Verdict>(&listed)) return *verdict;
  const auto& names = std::get<std::vector<std::string>>(listed);
  if (names.empty()) return Verdict::NotApplicable("the worker lists no commands");
  CallOptions options;
  options.timeout = testbed.Scaled(milliseconds(1'000));
  for (const KnownCommand& command : KnownCommands()) {
    if (std::find(names.begin(), names.end(), command.name) == names.end()) continue;
    Result<void> outcome;
    std::string seen;
    if (command.is_stream) {
      // One chunk is enough, and some streams have no end.
      bool has_chunk = false;
      const auto take = [&has_chunk](const Chunk&) {
        has_chunk = true;
        return false;
      };
      const StreamReply reply = testbed.Stream(command.name, command.args, take, options);
      seen = reply.Describe();
      if (!reply.count && !has_chunk) outcome = Fail(reply.count.error());
    } else {
      const Reply reply = testbed.Call(command.name, command.args, options);
      seen = reply.Describe();
      if (!reply.result) outcome = Fail(reply.result.error());
    }
    if (outcome) continue;
    if (command.succeeds || outcome.error().code == ErrorCode::kUnimplemented) {
      return Verdict::Fail("each command that the worker lists exists",
                           std::string(command.name) + ": " + seen);
    }
  }
  return Verdict::Pass();
}

Case ClaimedCommandsCase() {
  return {.id = "ver/claimed-commands",
          .title = "a command that the worker lists exists",
          .clause = "4.8.3",
          .requirement = "no command of PROTOCOL.md 7 that the worker lists is UNIMPLEMENTED",
          .workers = 0,
          .run = ClaimedCommands,
          .mutants = {{kWorker, "lists-what-it-lacks", "ping_stream: "}}};
}

}  // namespace

std::vector<Case> ClaimCases() { return {ExpectedVersionCase(), ClaimedCommandsCase()}; }

}  // namespace snakepit::conformance
