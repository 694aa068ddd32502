#include "src/cli/hints.h"

#include <algorithm>

#include "src/base/quote.h"
#include "src/cli/duration.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

std::string Twice(milliseconds limit) {
  return DurationFlag(std::min<milliseconds>(2 * limit, std::chrono::hours(24)));
}

bool IsBundled(const CallArguments& call) { return call.worker.empty(); }

bool HasAddress(const CallArguments& call) {
  return std::any_of(call.worker.begin(), call.worker.end(), [](const std::string& argument) {
    return argument.find("{port}") != std::string::npos ||
           argument.find("{socket}") != std::string::npos;
  });
}

// Values of --codec.
std::string CodecFlag(Codec codec) { return codec == Codec::kJson ? "json" : "msgpack"; }
std::string OtherCodec(Codec codec) { return codec == Codec::kJson ? "msgpack" : "json"; }

bool Says(const Error& error, std::string_view part) {
  return error.message.find(part) != std::string::npos;
}

std::string AfterStartFailed(const Error& error, const CallArguments& call) {
  if (const auto hint = CodecHint(error, call.codec, call.handshake); !hint.empty()) return hint;
  if (!error.exit) return {};  // the program did not run, and the message is a hint itself
  if (IsBundled(call)) return "see its stderr";
  const std::string command = ShellCommand(call.worker);
  if (call.transport == TransportKind::kGrpc && *error.exit == ExitStatus{}) {
    return "does it serve gRPC? a worker of the Python SDK needs --transport grpc; else run it by "
           "itself to see why it ends: " +
           command;
  }
  if (call.transport == TransportKind::kGrpc && HasAddress(call)) {
    return "run it by itself, with a port of your choice, to see why it ends: " + command;
  }
  return "a worker inherits few of your variables (see --env); run it by itself to see why it "
         "ends: " +
         command;
}

std::string AfterStartTimeout(const CallArguments& call) {
  const std::string more_time = "give it more time: --start-timeout " + Twice(call.start_timeout);
  if (IsBundled(call)) return more_time;
  if (call.transport == TransportKind::kGrpc) {
    return (HasAddress(call) ? "does it listen on {port} or {socket}? else "
                             : "tell it where to listen, with {port} or {socket}; or ") +
           more_time;
  }
  if (!call.handshake) {
    return "if it waits for a handshake, leave --no-handshake out; if it speaks another codec, use "
           "--codec " +
           OtherCodec(*call.codec) + "; else " + more_time;
  }
  return "if it expects no handshake, use --no-handshake with its --codec; if it speaks gRPC, use "
         "--transport grpc; else " +
         more_time;
}

std::string AfterProtocolError(const Error& error, const CallArguments& call) {
  if (call.transport == TransportKind::kGrpc) {
    return "check the worker's replies against proto/snakepit.proto";
  }
  if (const auto hint = CodecHint(error, call.codec, call.handshake); !hint.empty()) return hint;
  return "a stdio worker's stdout carries frames only: let it print to stderr";
}

std::string AfterUnimplemented(const Error& error, const CallArguments& call) {
  // Many workers answer with the list of their commands.
  if (error.message.find("supported commands") != std::string::npos) {
    return "check the name against the supported commands";
  }
  std::string ask = "snakepit exec info";
  if (call.transport == TransportKind::kGrpc) ask += " --transport grpc";
  if (!IsBundled(call)) ask += " -- " + ShellCommand(call.worker);
  return "most workers list their commands: " + ask;
}

std::string AfterDeadline(const CallArguments& call) {
  const milliseconds limit = call.timeout.value_or(milliseconds(call.stream ? 300'000 : 30'000));
  return "allow more time: --timeout " + Twice(limit);
}

}  // namespace

std::string HintFor(const Error& error, const CallArguments& call) {
  switch (error.code) {
    case ErrorCode::kStartFailed:
      return AfterStartFailed(error, call);
    case ErrorCode::kStartTimeout:
      return AfterStartTimeout(call);
    case ErrorCode::kUnimplemented:
      return AfterUnimplemented(error, call);
    case ErrorCode::kInvalidArgument:
      return "check ARGS_JSON: the command does not accept it";
    case ErrorCode::kHandlerFailed:
      return "the command itself failed: check its arguments and the worker's stderr";
    case ErrorCode::kDeadlineExceeded:
      return AfterDeadline(call);
    case ErrorCode::kQueueFull:
    case ErrorCode::kQueueTimeout:
      return "use more workers (--workers " + std::to_string(std::min(1'000, 2 * call.workers)) +
             ") or fewer calls at once (--parallel)";
    case ErrorCode::kWorkerLost:
      return error.may_have_run
                 ? "the command may have run, wholly or in part: retry it only if that is safe"
                 : "the command did not run: it is safe to retry";
    case ErrorCode::kProtocolError:
      return AfterProtocolError(error, call);
    case ErrorCode::kMessageTooLarge:
      return "send or return less at once, or return chunks: snakepit stream";
    case ErrorCode::kCancelled:
    case ErrorCode::kUnavailable:
    case ErrorCode::kSessionBusy:
    case ErrorCode::kSessionLost:
    case ErrorCode::kInternal:
      return {};
  }
  return {};
}

std::string CodecHint(const Error& error, std::optional<Codec> codec, bool handshake) {
  const bool is_start =
      error.code == ErrorCode::kProtocolError || error.code == ErrorCode::kStartFailed;
  if (!is_start || !codec) return {};
  // The words of the handshake (src/wire/handshake.h).
  if (Says(error, "was offered") || Says(error, "refused the handshake")) {
    return "the worker does not speak " + CodecFlag(*codec) +
           ", the only codec offered: leave --codec out, or use --codec " + OtherCodec(*codec);
  }
  if (handshake || !Says(error, "did not start")) return {};
  return "if the worker speaks another codec, use --codec " + OtherCodec(*codec) +
         "; else check its stdout, which carries frames only: let it print to stderr";
}

std::string ShellCommand(const std::vector<std::string>& argv) {
  std::string line;
  for (const std::string& argument : argv) line += (line.empty() ? "" : " ") + ShellQuote(argument);
  return line;
}

}  // namespace snakepit
