#include "snakepit/worker.h"

#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "src/wire/limits.h"
#include "src/worker/command_service.h"
#include "src/worker/descriptors.h"
#include "src/worker/forked.h"
#include "src/worker/grpc/address.h"
#include "src/worker/grpc/pool_watch.h"
#include "src/worker/grpc/server.h"
#include "src/worker/stdio/server.h"

namespace snakepit {
namespace {

constexpr int kUsageError = 2;
// Longest time that calls in flight have to end after SIGTERM or a fault.
constexpr unsigned kDrainLimitSeconds = 2;

struct CommandLine {
  bool grpc = false;
  ListenAddress address;
  size_t max_frame_bytes = kDefaultMessageLimit;
};

std::string UsageError(const CommandService& commands, const std::string& problem) {
  return commands.name + ": " + problem + "\n" + commands.name + ": --help lists the options\n";
}

// Says so on stderr if it is false. The text is that of the Python SDK.
bool HasCapacity(const CommandService& commands) {
  const int capacity = commands.options.capacity;
  if (capacity >= 1 && capacity <= kMaxCapacity) return true;
  std::fprintf(stderr, "%s: capacity must be an integer from 1 to %d, not %d\n",
               commands.name.c_str(), kMaxCapacity, capacity);
  return false;
}

// PROTOCOL.md 1.2.3. Nothing when the value is invalid.
std::optional<size_t> MaxFrameBytes() {
  const char* text = std::getenv("SNAKEPIT_MAX_FRAME_BYTES");
  if (text == nullptr || *text == '\0') return kDefaultMessageLimit;
  int64_t bytes = 0;
  const char* end = text + strlen(text);
  const auto [rest, error] = std::from_chars(text, end, bytes);
  if (error != std::errc() || rest != end || bytes < kLeastMessageLimit ||
      bytes > kGreatestMessageLimit) {
    return std::nullopt;
  }
  return static_cast<size_t>(bytes);
}

// PROTOCOL.md 6.13.1.
bool IsToken(std::string_view text) {
  return text.size() >= 32 && text.size() <= 128 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
         });
}

// Returns the exit status when there is nothing to serve.
std::optional<int> Parse(const CommandService& commands, int argc, const char* const* argv,
                         CommandLine* parsed) {
  CLI::App app("The worker " + commands.name + ", which serves a Snakepit pool.", commands.name);
  std::string transport = "stdio", host = parsed->address.host, socket, mode;
  int port = 0;
  app.add_option("--transport", transport, "stdio (default) or grpc")
      ->check(CLI::IsMember({"stdio", "grpc"}));
  auto* port_option =
      app.add_option("--port", port, "gRPC: the TCP port; 0 (default) takes any free port")
          ->check(CLI::Range(0, 65535));
  app.add_option("--host", host, "gRPC: the port's address (default: 127.0.0.1)");
  auto* socket_option =
      app.add_option("--socket", socket, "gRPC: the path of a Unix socket instead of a port")
          ->excludes(port_option);
  app.add_option("--mode", mode, "ignored; older pools pass it")
      ->check(CLI::IsMember({"pool-worker"}));
  app.set_version_flag("--version", commands.name + " " + commands.options.version);
  const auto usage_error = [&](const std::string& problem) {
    std::fputs(UsageError(commands, problem).c_str(), stderr);
    return kUsageError;
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  parsed->grpc = transport == "grpc";
  if (!parsed->grpc && (*port_option || *socket_option)) {
    return usage_error("--port and --socket need --transport grpc");
  }
  if (*socket_option && socket.empty()) return usage_error("--socket: the path is empty");
  if (parsed->grpc && !commands.token.empty() && !IsToken(commands.token)) {
    return usage_error("SNAKEPIT_TOKEN must be 32 to 128 ASCII letters and digits");
  }
  const std::optional<size_t> limit = MaxFrameBytes();
  if (!limit) {
    return usage_error("SNAKEPIT_MAX_FRAME_BYTES must be an integer from " + MessageLimitRange() +
                       ", not '" + std::string(std::getenv("SNAKEPIT_MAX_FRAME_BYTES")) + "'");
  }
  parsed->max_frame_bytes = *limit;
  parsed->address = {.socket_path = socket, .host = host, .port = port};
  return std::nullopt;
}

// Takes the pool's secret, and leaves no trace of it in the environment or /proc/self/environ.
std::string TakeToken() {
  char* token = std::getenv("SNAKEPIT_TOKEN");
  if (token == nullptr) return "";
  std::string taken = token;
  explicit_bzero(token, taken.size());
  unsetenv("SNAKEPIT_TOKEN");
  return taken;
}

// The servers, for the signal handlers.
std::atomic<StdioServer*> stdio_server{nullptr};
std::atomic<GrpcServer*> grpc_server{nullptr};

// Exit status of a process whose time is over.
std::atomic<int> late_status{0};

void OnTerminate(int) {
  if (StdioServer* server = stdio_server.load()) {
    server->Terminate();
    alarm(kDrainLimitSeconds);
  } else if (GrpcServer* server = grpc_server.load()) {
    server->Terminate();
  } else {
    _exit(0);
  }
}

struct HandledSignal {
  int number;
  void (*handler)(int);
  struct sigaction before {};  // as it was before the worker served
};

// Handlers, because children inherit SIG_IGN. The pool decides about a terminal's ^C. A write to a
// pool that is gone reports that itself.
HandledSignal handled_signals[] = {
    {SIGINT, [](int) {}},
    {SIGPIPE, [](int) {}},
    {SIGTERM, OnTerminate},
    // The time that calls had after SIGTERM or a fault is over, or the time of Leave.
    {SIGALRM, [](int) { _exit(late_status); }},
};

// The descriptors and sockets that a forked child must not hold open.
struct Served {
  int input = -1;
  int output = -1;
  char socket_path[sizeof(sockaddr_un::sun_path)] = "";
  int port = -1;
};
Served served;

// Runs in such a child. A signal to the child is not for the worker, and its handler could wake the
// worker by their common descriptors.
void LetGoOfWorker() {
  for (const HandledSignal& handled : handled_signals) {
    sigaction(handled.number, &handled.before, nullptr);
  }
  close(served.input);
  close(served.output);
  if (served.port >= 0) CloseServedSockets(served.socket_path, served.port);
}

// From here on this process is the worker, and the processes that it forks are not.
void BeginToServe() {
  for (HandledSignal& handled : handled_signals) {
    struct sigaction action {};
    action.sa_handler = handled.handler;
    action.sa_flags = SA_RESTART;
    sigaction(handled.number, &action, &handled.before);
  }
  PrepareForForks(LetGoOfWorker);
}

// Ends the process while a handler runs that cannot be stopped. Leaves everything that it may use.
[[noreturn]] void Leave(int status) {
  late_status = status;
  alarm(1);  // the handler may hold a FILE
  std::fflush(nullptr);
  _exit(status);
}

// Ends the process if the main thread runs a handler and cannot. It is a second late, so that the
// server's own limit comes first if it can: after that one output is flushed.
void LimitTimeAfterFault() {
  late_status = 1;
  alarm(kDrainLimitSeconds + 1);
}

int ServeStdio(CommandService& commands, StdioDescriptors descriptors, size_t max_frame_bytes) {
  served.input = descriptors.input.get();
  served.output = descriptors.output.get();
  StdioServer server(commands, std::move(descriptors.input), std::move(descriptors.output),
                     max_frame_bytes, LimitTimeAfterFault);
  stdio_server = &server;
  BeginToServe();
  const int status = server.Run();
  if (!server.idle()) Leave(status);
  alarm(0);
  stdio_server = nullptr;
  served = {};
  return status;
}

int ServeGrpc(CommandService& commands, StdioDescriptors descriptors,
              const CommandLine& command_line) {
  // A pool that names its workers gives them no stdin, though a wrapper may.
  const char* id = std::getenv("SNAKEPIT_WORKER_ID");
  const bool is_named = id != nullptr && *id != '\0';
  PoolWatch watch(std::move(descriptors.input), std::move(descriptors.output), !is_named);
  GrpcServer server(commands, command_line.max_frame_bytes);
  const auto failed = [&](const Error& error) {
    std::fprintf(stderr, "%s: %s\n", commands.name.c_str(), error.message.c_str());
    grpc_server = nullptr;
    return 1;
  };
  served.input = watch.input();
  served.output = watch.output();
  grpc_server = &server;
  BeginToServe();
  const Result<std::string> address = server.Start(command_line.address);
  if (!address) return failed(address.error());
  const bool on_port = command_line.address.socket_path.empty();
  if (!on_port) address->copy(served.socket_path, sizeof served.socket_path - 1);
  served.port = on_port ? std::atoi(address->c_str()) : 0;
  if (on_port) {
    if (Result<void> written = WriteReadyFile(served.port); !written) {
      failed(written.error());
      Leave(1);
    }
  }
  if (Result<void> announced = Announce(watch.output(), *address); !announced) {
    // A pool that connects without an announcement may have closed its end.
    std::fprintf(stderr, "%s: cannot announce %s on stdout: %s\n", commands.name.c_str(),
                 address->c_str(), announced.error().message.c_str());
  }
  server.Run(watch);
  if (watch.pool_is_gone()) std::fprintf(stderr, "%s: the pool is gone\n", commands.name.c_str());
  if (!server.idle()) Leave(0);
  grpc_server = nullptr;
  served = {};
  return 0;
}

}  // namespace

Worker::Worker(std::string name, WorkerOptions options) {
  commands_ = std::make_unique<CommandService>(std::move(name), std::move(options));
  commands_->token = TakeToken();
}

Worker::~Worker() = default;

void Worker::Command(std::string name, CommandHandler handler) {
  commands_->registry.Add(std::move(name), std::move(handler));
}

void Worker::AddStream(std::string name, StreamHandler handler) {
  commands_->registry.AddStream(std::move(name), std::move(handler));
}

void Worker::set_healthy(bool healthy) { commands_->set_healthy(healthy); }

int Worker::Main(int argc, const char* const* argv) {
  if (IsForkedChild()) {
    std::fprintf(stderr, "%s: Worker::Main in process %d, which a handler has forked\n",
                 commands_->name.c_str(), getpid());
    return 1;
  }
  if (!HasCapacity(*commands_)) return kUsageError;
  CommandLine command_line;
  if (const auto status = Parse(*commands_, argc, argv, &command_line)) return *status;
  if (command_line.grpc) OpenClosedStdio();
  Result<StdioDescriptors> descriptors = TakeStdio();
  if (!descriptors) {
    std::fprintf(stderr, "%s: %s\n", commands_->name.c_str(), descriptors.error().message.c_str());
    return 1;
  }
  return command_line.grpc
             ? ServeGrpc(*commands_, std::move(*descriptors), command_line)
             : ServeStdio(*commands_, std::move(*descriptors), command_line.max_frame_bytes);
}

}  // namespace snakepit
