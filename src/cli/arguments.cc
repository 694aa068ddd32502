#include "src/cli/arguments.h"

#include <sched.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <utility>

#include "src/base/quote.h"
#include "src/cli/duration.h"
#include "src/cli/help.h"
#include "src/wire/limits.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxParallel = 1'000;
constexpr int64_t kMaxRepeat = 1'000'000'000;

// The flags as they were given, before they are judged together.
struct RawCall {
  std::string command;
  std::string args_json;
  std::string transport = "stdio";
  std::string codec = "auto";
  bool no_handshake = false;
  int workers = 0;  // 0: not given
  std::string session;
  std::string timeout;
  std::string start_timeout;
  int64_t repeat = 0;  // 0: not given
  int parallel = 1;
  bool verbose = false;
  bool raw = false;
  std::vector<std::string> variables;
  std::vector<std::string> worker;
};

// What is wrong with the command line.
struct UsageError {
  std::string message;
};

int UsableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

// CLI11's help, with a usage line that names the parts as users write them.
class HelpFormatter : public CLI::Formatter {
 public:
  explicit HelpFormatter(std::string usage) : usage_(std::move(usage)) { column_width(27); }

  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: " + usage_ + "\n";
  }

 private:
  const std::string usage_;
};

PrintAndExit Usage(std::string_view command, std::string message) {
  std::string name = "snakepit";
  if (!command.empty()) (name += ' ') += command;
  std::replace(message.begin(), message.end(), '\n', ' ');
  return {.text = name + ": " + Printable(message) + "\nSee: " + name + " --help\n",
          .exit_code = kUsageExitCode};
}

// CLI11 says "INI was not able to parse NAME", and of a section "SECTION.++".
std::string ConfigErrorMessage(const CLI::ConfigError& error) {
  std::string message = error.what();
  constexpr std::string_view kUnknown = "INI was not able to parse ";
  if (!message.starts_with(kUnknown)) return message;
  std::string name = message.substr(kUnknown.size());
  if (name.ends_with(".++")) {
    name.resize(name.size() - 3);
    return "--config: the file has no sections, such as [" + name + "]";
  }
  return "--config: there is no flag '" + name + "'";
}

milliseconds DurationOf(const std::string& flag, const std::string& text) {
  if (auto duration = ParseDuration(text)) return *duration;
  throw UsageError{flag + ": a duration is a number with the unit ms, s or m, from 1ms to 1440m, " +
                   "not '" + text + "'"};
}

void AddCallFlags(CLI::App& app, RawCall& raw) {
  app.add_option("COMMAND", raw.command, "The command to run, such as ping")
      ->type_name("")
      ->required()
      ->configurable(false);
  app.add_option("ARGS_JSON", raw.args_json, "Its arguments: a JSON object")
      ->type_name("")
      ->configurable(false);
  app.add_option("--transport", raw.transport, "How to talk to the workers; stdio by default")
      ->check(CLI::IsMember({"stdio", "grpc"}).description(""))
      ->type_name("stdio|grpc");
  app.add_option("--codec", raw.codec,
                 "The encodings that are offered on stdio; auto, the default, is both,\n"
                 "MessagePack first")
      ->check(CLI::IsMember({"auto", "json", "msgpack"}).description(""))
      ->type_name("auto|json|msgpack");
  app.add_flag("--no-handshake", raw.no_handshake,
               "With --codec: speak it from the first frame on, to a worker that expects\n"
               "no handshake");
  app.add_option("--workers", raw.workers,
                 "Worker processes, 1 to 1000; by default as many as --parallel, but at\n"
                 "most two a processor")
      ->check(CLI::Range(1, 1'000).description(""))
      ->type_name("N");
  app.add_option("--session", raw.session, "Run the calls in this session")->type_name("ID");
  app.add_option("--timeout", raw.timeout,
                 "The limit of each call, and of the start of the workers: 500ms, 30s, 2m;\n"
                 "a plain number is seconds. By default a call has 30s, a stream 5m and the\n"
                 "start 20s")
      ->type_name("TIME");
  app.add_option("--start-timeout", raw.start_timeout,
                 "The limit of the start, where it is not to be that of --timeout")
      ->type_name("TIME");
  app.add_option("--repeat", raw.repeat,
                 "Run the command N times, and end with a summary; by default as many times\n"
                 "as --parallel")
      ->check(CLI::Range(int64_t{1}, kMaxRepeat).description(""))
      ->type_name("N");
  app.add_option("--parallel", raw.parallel, "Calls in flight at once, 1 (the default) to 1000")
      ->check(CLI::Range(1, kMaxParallel).description(""))
      ->type_name("N");
  app.add_option("--env", raw.variables,
                 "A variable for the workers, beside those named below: NAME passes yours\n"
                 "on, NAME* all that begin so, NAME=VALUE sets it; repeatable")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  app.add_flag("--verbose", raw.verbose, "Tell on stderr what the pool does");
  app.add_flag("--raw", raw.raw,
               "Print what workers write and return as it is, with the characters that a\n"
               "terminal obeys: see Output below");
  app.set_config("--config", "", "Read flags from a file; see below")->type_name("FILE");
  app.allow_config_extras(CLI::config_extras_mode::error);
  // Only for the config file: on the command line the worker stands after "--".
  app.add_option("--worker", raw.worker)->expected(1, 10'000)->group("");
}

Value ArgsOf(const std::string& json) {
  if (json.empty()) return {};
  Result<Value> value = Value::FromJson(json);
  if (!value) throw UsageError{"ARGS_JSON: " + value.error().message};
  if (!value->is_map()) {
    throw UsageError{"ARGS_JSON must be an object, {\"name\": value}, not " + value->ToJson()};
  }
  return std::move(*value);
}

CallArguments Judge(bool stream, RawCall raw) {
  CallArguments call{.stream = stream, .command = std::move(raw.command)};
  call.args = ArgsOf(raw.args_json);
  call.transport = raw.transport == "grpc" ? TransportKind::kGrpc : TransportKind::kStdio;
  if (raw.codec != "auto") {
    if (call.transport == TransportKind::kGrpc) {
      throw UsageError{"--codec is for stdio; gRPC has an encoding of its own"};
    }
    call.codec = raw.codec == "json" ? Codec::kJson : Codec::kMessagePack;
  }
  if (raw.no_handshake) {
    if (!call.codec) {
      throw UsageError{
          "--no-handshake needs --codec json or --codec msgpack: there is nobody to "
          "agree with"};
    }
    call.handshake = false;
  }
  if (raw.session.size() > kMaxSessionIdBytes) {
    throw UsageError{"--session: an id has 1 to 256 bytes"};
  }
  call.session = std::move(raw.session);
  call.start_timeout = Adapter().start_timeout;
  if (!raw.timeout.empty()) {
    call.timeout = DurationOf("--timeout", raw.timeout);
    call.start_timeout = std::min(call.start_timeout, *call.timeout);
  }
  if (!raw.start_timeout.empty()) {
    call.start_timeout = DurationOf("--start-timeout", raw.start_timeout);
  }
  call.parallel = raw.parallel;
  call.repeat = raw.repeat > 0 ? raw.repeat : raw.parallel;
  call.workers = raw.workers > 0 ? raw.workers : std::min(raw.parallel, 2 * UsableProcessors());
  call.verbose = raw.verbose;
  call.raw = raw.raw;
  call.worker = std::move(raw.worker);
  Result<WorkerVariables> variables = ParseWorkerVariables(raw.variables);
  if (!variables) throw UsageError{variables.error().message};
  if (call.worker.empty() && variables->environment.contains("PYTHONPATH")) {
    throw UsageError{"--env PYTHONPATH=... is for a worker after --; the bundled one has its own"};
  }
  call.variables = std::move(*variables);
  return call;
}

// CLI11 wants them last first.
std::vector<std::string> Reversed(std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

ParsedArguments ParseCall(bool stream, std::vector<std::string> arguments) {
  const std::string name = stream ? "stream" : "exec";
  // The worker's own command line is not CLI11's to look at.
  std::vector<std::string> worker;
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  const bool has_worker = dashes != arguments.end();
  if (has_worker) worker.assign(dashes + 1, arguments.end());
  arguments.erase(dashes, arguments.end());

  RawCall raw;
  CLI::App app(stream ? "Runs a command that answers in chunks, and prints each as it arrives."
                      : "Runs a command of a worker and prints its result.");
  app.formatter(std::make_shared<HelpFormatter>(
      "snakepit " + name + " COMMAND [ARGS_JSON] [FLAGS] [-- WORKER ARGV...]"));
  app.footer(CallHelpFooter(stream));
  AddCallFlags(app, raw);
  try {
    for (const std::string& argument : arguments) {
      if (argument == "--worker" || argument.starts_with("--worker=")) {
        throw UsageError{"the worker stands last, after --: -- python3 my_worker.py"};
      }
    }
    if (has_worker && (worker.empty() || worker.front().empty())) {
      throw UsageError{"after -- comes the command line of the worker"};
    }
    app.parse(Reversed(std::move(arguments)));
    if (raw.session.empty() && app.count("--session") > 0) {
      throw UsageError{"--session: an id has 1 to 256 bytes"};
    }
    if (raw.command.empty()) throw UsageError{"COMMAND is empty"};
    if (has_worker) raw.worker = std::move(worker);
    return Judge(stream, std::move(raw));
  } catch (const CLI::CallForHelp&) {
    return PrintAndExit{.text = app.help()};
  } catch (const CLI::ConfigError& error) {
    return Usage(name, ConfigErrorMessage(error));
  } catch (const CLI::ParseError& error) {
    return Usage(name, error.what());
  } catch (const UsageError& error) {
    return Usage(name, error.message);
  }
}

ParsedArguments ParseDemo(std::vector<std::string> arguments) {
  DemoArguments demo;
  CLI::App app("Shows what a pool does, over stdio and over gRPC, and measures the two.");
  app.formatter(std::make_shared<HelpFormatter>("snakepit demo [--workers N]"));
  app.footer(kDemoHelpFooter);
  app.add_option("--workers", demo.workers, "Worker processes of each pool, 2 to 16; 3 by default")
      ->check(CLI::Range(2, 16).description(""))
      ->type_name("N");
  try {
    app.parse(Reversed(std::move(arguments)));
    return demo;
  } catch (const CLI::CallForHelp&) {
    return PrintAndExit{.text = app.help()};
  } catch (const CLI::ParseError& error) {
    return Usage("demo", error.what());
  }
}

}  // namespace

const char* TransportName(TransportKind transport) {
  return transport == TransportKind::kGrpc ? "gRPC" : "stdio";
}

ParsedArguments ParseArguments(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    return PrintAndExit{.text = kMainHelp, .exit_code = kUsageExitCode};
  }
  const std::string& command = arguments.front();
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (command == "--help" || command == "-h" || command == "help") return PrintAndExit{kMainHelp};
  if (command == "--version") return PrintAndExit{kVersionText};
  if (command == "exec") return ParseCall(false, rest);
  if (command == "stream") return ParseCall(true, rest);
  if (command == "demo") return ParseDemo(rest);
  return Usage("", (command.starts_with('-') ? "unknown flag '" : "unknown command '") + command +
                       "'; the commands are exec, stream and demo");
}

}  // namespace snakepit
