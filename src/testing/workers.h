// Adapters of workers for tests of the pool, and helpers to watch them.
#ifndef SNAKEPIT_TESTING_WORKERS_H_
#define SNAKEPIT_TESTING_WORKERS_H_

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/pool.h"

namespace snakepit::testing {

// The workers that every scenario runs against.
enum class WorkerKind { kBundledStdioJson, kBundledStdioMsgpack, kBundledGrpc, kLegacyGrpc };

std::string_view WorkerKindName(WorkerKind kind);
Adapter WorkerOfKind(WorkerKind kind);

// The fixture workers of both SDKs, over each transport and encoding. Their commands are in
// python/tests/fixture_worker.py and src/worker/testing/fixture_worker.cc.
enum class FixtureKind {
  kPythonJson,
  kPythonMsgpack,
  kPythonGrpc,
  kCppJson,
  kCppMsgpack,
  kCppGrpc
};

inline constexpr FixtureKind kFixtureKinds[] = {
    FixtureKind::kPythonJson, FixtureKind::kPythonMsgpack, FixtureKind::kPythonGrpc,
    FixtureKind::kCppJson,    FixtureKind::kCppMsgpack,    FixtureKind::kCppGrpc};

std::string_view FixtureKindName(FixtureKind kind);
Adapter FixtureOfKind(FixtureKind kind, int capacity = 1);

// A worker of the Python SDK that runs `program`. `transport`: "StdioJson", "StdioMsgpack" or
// "Grpc".
Adapter PythonWorker(std::string program, std::string_view transport);

// A script of src/testing/legacy on stdio.
Adapter LegacyStdioWorker(std::string script, std::vector<std::string> arguments,
                          StdioTransport transport);
// legacy/grpc_bridge.py --port {port}.
Adapter LegacyGrpcWorker(std::vector<std::string> arguments);
// legacy/misbehaving_worker.py --fault NAME: fixed JSON, no handshake.
Adapter MisbehavingWorker(std::string fault, std::vector<std::string> arguments = {});

// A sink for PoolOptions::log that a test can wait on.
class LogWatcher {
 public:
  // The value for PoolOptions::log. The watcher must outlive the pool.
  std::function<void(LogLevel, std::string_view)> sink();

  // Waits until `count` lines with the text have come since the start. False after a minute.
  bool WaitFor(std::string_view text, int count = 1);

  std::string Text() const;

 private:
  int CountLocked(std::string_view text) const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

// Waits for the end of a process, which need not be a child of this one. False after 10 s.
bool WaitUntilGone(pid_t pid);

// The parent's pid; 0 if there is no such process.
pid_t ParentOf(pid_t pid);

// True if there is such a process, and it is no zombie.
bool IsAlive(pid_t pid);

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TESTING_WORKERS_H_
