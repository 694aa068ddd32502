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

// As --codec has them.
std::string CodecFlag(Codec codec) { return codec == Codec::kJson ? "json" : "msgpack"; }
std::string OtherCodec(Codec codec) { return codec == Codec::kJson ? "msgpack" : "json"; }

bool Says(const Error& error, std::string_view part) {
  return error.message.find(part) != std::string::npos;
}

std::string AfterStartFailed(const Error& error, const CallArguments& call) {
  if (const auto hint = CodecHint(error, call.codec, call.handshake); !hint.empty()) return hint;
  if (!error.exit) return {};  // the program did not run, and the message says what would help
  if (IsBundled(call)) return "see what it wrote to stderr";
  if (call.transport == TransportKind::kGrpc && *error.exit == ExitStatus{}) {
    return "does it serve gRPC? a worker of the Python SDK does with --transport grpc; else run it "
           "by "
           "itself and see why it ends: " +
           ShellCommand(call.worker);
  }
  if (call.transport == TransportKind::kGrpc && HasAddress(call)) {
    return "run it by itself, with a port of your choice, and see why it ends: " +
           ShellCommand(call.worker);
  }
  return "run it by itself (with all of your variables, of which a worker has few: --env) and see "
         "why it ends: " +
         ShellCommand(call.worker);
}

std::string AfterStartTimeout(const CallArguments& call) {
  const std::string more_time = "give it more time: --start-timeout " + Twice(call.start_timeout);
  if (IsBundled(call)) return more_time;
  if (call.transport == TransportKind::kGrpc) {
    return (HasAddress(call) ? "does it listen where {port} or {socket} says? else "
                             : "tell it where to listen, by {port} or {socket}; or ") +
           more_time;
  }
  if (!call.handshake) {
    return "does it wait for a handshake? then leave --no-handshake out; does it speak another "
           "codec? then --codec " +
           OtherCodec(*call.codec) + "; else " + more_time;
  }
  return "does it expect no handshake? then --no-handshake, with its --codec; does it speak gRPC? "
         "then --transport grpc; else " +
         more_time;
}

std::string AfterProtocolError(const Error& error, const CallArguments& call) {
  if (call.transport == TransportKind::kGrpc) {
    return "see how the worker makes its replies: they are to be as proto/snakepit.proto says";
  }
  if (const auto hint = CodecHint(error, call.codec, call.handshake); !hint.empty()) return hint;
  return "on stdio a worker's stdout carries nothing but frames: have it print to stderr";
}

std::string AfterUnimplemented(const Error& error, const CallArguments& call) {
  // Many workers answer with what they can do.
  if (error.message.find("supported commands") != std::string::npos) {
    return "one of the supported commands may be meant";
  }
  std::string ask = "snakepit exec info";
  if (call.transport == TransportKind::kGrpc) ask += " --transport grpc";
  if (!IsBundled(call)) ask += " -- " + ShellCommand(call.worker);
  return "most workers tell what they can do: " + ask;
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
      return "check ARGS_JSON: the worker's command does not take it";
    case ErrorCode::kHandlerFailed:
      return "the command itself failed: see its arguments, and what the worker wrote to stderr";
    case ErrorCode::kDeadlineExceeded:
      return AfterDeadline(call);
    case ErrorCode::kQueueFull:
    case ErrorCode::kQueueTimeout:
      return "have more workers, --workers " + std::to_string(std::min(1'000, 2 * call.workers)) +
             ", or fewer calls at once, --parallel";
    case ErrorCode::kWorkerLost:
      return error.may_have_run
                 ? "the command may have run, wholly or in part: repeat it only if that is safe"
                 : "the command did not run: it is safe to repeat it";
    case ErrorCode::kProtocolError:
      return AfterProtocolError(error, call);
    case ErrorCode::kMessageTooLarge:
      return "send or return less at once, or in chunks: snakepit stream";
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
           ", which is all that --codec offers: leave --codec out, or --codec " +
           OtherCodec(*codec);
  }
  if (handshake || !Says(error, "did not start")) return {};
  return "does the worker speak another codec? then --codec " + OtherCodec(*codec) +
         "; else, a worker's stdout carries nothing but frames: have it print to stderr";
}

std::string ShellCommand(const std::vector<std::string>& argv) {
  std::string line;
  for (const std::string& argument : argv) line += (line.empty() ? "" : " ") + ShellQuote(argument);
  return line;
}

}  // namespace snakepit
