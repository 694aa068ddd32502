#include "src/testing/workers.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/adapters/bundled_worker.h"
#include "src/base/fd.h"
#include "src/base/proc.h"

namespace snakepit::testing {
namespace {

constexpr char kPython[] = "/usr/bin/python3";

// The project's folder among the files of a test: Bazel runs the test there.
std::string Here() {
  std::string path(4096, '\0');
  return getcwd(path.data(), path.size()) == nullptr ? "." : std::string(path.c_str());
}

Adapter Script(std::string script, std::vector<std::string> arguments) {
  Adapter adapter;
  adapter.argv = {kPython, "-B", Here() + "/src/testing/legacy/" + std::move(script)};
  adapter.argv.insert(adapter.argv.end(), arguments.begin(), arguments.end());
  return adapter;
}

// The end of the name of a kind: Grpc, Json or Msgpack.
TransportKind TransportIn(std::string_view name) {
  return name.ends_with("Grpc") ? TransportKind::kGrpc : TransportKind::kStdio;
}

std::vector<Codec> CodecsIn(std::string_view name) {
  return {name.ends_with("Json") ? Codec::kJson : Codec::kMessagePack};
}

}  // namespace

std::string_view WorkerKindName(WorkerKind kind) {
  switch (kind) {
    case WorkerKind::kBundledStdioJson:
      return "BundledStdioJson";
    case WorkerKind::kBundledStdioMsgpack:
      return "BundledStdioMsgpack";
    case WorkerKind::kBundledGrpc:
      return "BundledGrpc";
    case WorkerKind::kLegacyGrpc:
      return "LegacyGrpc";
  }
  return "";
}

Adapter WorkerOfKind(WorkerKind kind) {
  if (kind == WorkerKind::kLegacyGrpc) return LegacyGrpcWorker({});
  const std::string_view name = WorkerKindName(kind);
  return BundledWorker(TransportIn(name), CodecsIn(name)).value();
}

std::string_view FixtureKindName(FixtureKind kind) {
  constexpr std::string_view kNames[] = {"PythonJson", "PythonMsgpack", "PythonGrpc",
                                         "CppJson",    "CppMsgpack",    "CppGrpc"};
  return kNames[static_cast<int>(kind)];
}

Adapter FixtureOfKind(FixtureKind kind, int capacity) {
  const std::string_view name = FixtureKindName(kind);
  Adapter adapter;
  if (name.starts_with("Python")) {
    adapter.argv = {kPython, "-B", Here() + "/python/tests/fixture_worker.py"};
    adapter.environment["PYTHONPATH"] = Here() + "/python";
  } else {
    adapter.argv = {Here() + "/src/worker/testing/fixture_worker"};
  }
  adapter.argv.insert(adapter.argv.end(), {"--capacity", std::to_string(capacity)});
  ServeOver(TransportIn(name), adapter, CodecsIn(name));
  return adapter;
}

Adapter PythonWorker(std::string program, std::string_view transport) {
  Adapter adapter;
  adapter.argv = {kPython, "-B", "-P", "-c", std::move(program)};
  adapter.environment["PYTHONPATH"] = Here() + "/python";
  ServeOver(TransportIn(transport), adapter, CodecsIn(transport));
  return adapter;
}

Adapter LegacyStdioWorker(std::string script, std::vector<std::string> arguments,
                          StdioTransport transport) {
  Adapter adapter = Script(std::move(script), std::move(arguments));
  adapter.transport = std::move(transport);
  return adapter;
}

Adapter LegacyGrpcWorker(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--port", "{port}"});
  Adapter adapter = Script("grpc_bridge.py", std::move(arguments));
  adapter.transport = GrpcTransport{};
  return adapter;
}

Adapter MisbehavingWorker(std::string fault, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--fault", std::move(fault)});
  return LegacyStdioWorker("misbehaving_worker.py", std::move(arguments),
                           {.codecs = {Codec::kJson}, .negotiate = false});
}

std::function<void(LogLevel, std::string_view)> LogWatcher::sink() {
  return [this](LogLevel, std::string_view line) {
    std::lock_guard lock(mutex_);
    lines_.emplace_back(line);
    changed_.notify_all();
  };
}

int LogWatcher::CountLocked(std::string_view text) const {
  return static_cast<int>(std::count_if(
      lines_.begin(), lines_.end(),
      [text](const std::string& line) { return line.find(text) != std::string::npos; }));
}

bool LogWatcher::WaitFor(std::string_view text, int count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::minutes(1),
                           [&] { return CountLocked(text) >= count; });
}

std::string LogWatcher::Text() const {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return text;
}

bool WaitUntilGone(pid_t pid) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return true;
  pollfd entry{.fd = process.get(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 10'000) == 1;
}

pid_t ParentOf(pid_t pid) {
  const auto process = ReadProcStat(pid);
  return process ? process->parent : 0;
}

bool IsAlive(pid_t pid) {
  const auto process = ReadProcStat(pid);
  return process && process->state != 'Z';
}

}  // namespace snakepit::testing
