// A pool of workers whose health, starts and memory the test controls by files in a folder.
#ifndef SNAKEPIT_POOL_TESTING_OPERATIONS_FIXTURE_H_
#define SNAKEPIT_POOL_TESTING_OPERATIONS_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "snakepit/pool.h"
#include "src/base/testing/await.h"
#include "src/base/testing/temp_folder.h"
#include "src/testing/workers.h"

namespace snakepit::testing {

inline constexpr std::chrono::seconds kOperationsLimit{30};

// A worker of the Python SDK. DIR is a folder of the test. No worker starts while it has a file
// `broken`. The file `unwell` holds the pid of a worker that is not well. `journal` gets a line for
// each execution. A start goes on as long as there is a file `slow`.
inline constexpr char kOperationsWorker[] = R"(
import os, signal, sys, threading, time
from snakepit_bridge import Worker

DIR = os.environ["DIR"]
if os.path.exists(DIR + "/broken"):
    sys.exit("the model is broken")

if os.path.exists(DIR + "/slow"):
    print("starts slowly", file=sys.stderr, flush=True)
while os.path.exists(DIR + "/slow"):
    time.sleep(0.01)

class Health:
    def __bool__(self):
        try:
            return open(DIR + "/unwell").read() != str(os.getpid())
        except FileNotFoundError:
            return True

worker = Worker("test", capacity=int(os.environ.get("CAPACITY", "1")))
worker.healthy = Health()
journal = os.open(DIR + "/journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
kept = []

@worker.command("record")
def record(id):
    os.write(journal, f"{id}\n".encode())
    return os.getpid()

@worker.command("pid")
def pid():
    return os.getpid()

@worker.command("sleep")
def sleep(context, ms):
    print("sleeps", file=sys.stderr, flush=True)
    context.wait(ms / 1000)
    return os.getpid()

@worker.command("grow")
def grow(bytes):
    kept.append(bytearray(os.urandom(1024)) * (bytes // 1024))

@worker.command("stop_yourself")
def stop_yourself():
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()  # this thread may go on for a moment

@worker.command("ignore")
def ignore():
    print("ignores", file=sys.stderr, flush=True)
    threading.Event().wait()

@worker.command("count")
def count(context):
    context.session["count"] = context.session.get("count", 0) + 1
    return context.session["count"]

worker.main()
)";

class OperationsTest : public ::testing::TestWithParam<const char*> {
 protected:
  Adapter WorkerOf(const std::string& transport) const {
    Adapter adapter = PythonWorker(kOperationsWorker, transport);
    adapter.environment["DIR"] = folder_;
    adapter.environment["CAPACITY"] = std::to_string(capacity_);
    return adapter;
  }

  void Begin(int workers) {
    options_.workers = workers;
    options_.adapter = WorkerOf(GetParam());
    options_.log = log_.sink();
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  void Write(const std::string& name, const std::string& text) const {
    // A rename: nobody reads half of it.
    std::ofstream(folder_ + "/new") << text;
    std::filesystem::rename(folder_ + "/new", folder_ + "/" + name);
  }
  void Remove(const std::string& name) const { std::filesystem::remove(folder_ + "/" + name); }

  bool AwaitFullStrength() {
    return Await([this] {
      const PoolStats stats = pool_->Stats();
      return stats.workers_ready == stats.workers &&
             static_cast<int>(pool_->Workers().size()) == stats.workers;
    });
  }

  pid_t PidOf(int id) const { return pool_->Workers()[id].pid; }

  pid_t ServedBy(const CallOptions& options = {}) {
    auto result = pool_->Execute("pid", {}, options);
    EXPECT_TRUE(result) << result.error().ToString() << "\n" << log_.Text();
    return result ? static_cast<pid_t>(result->Get<int64_t>().value_or(0)) : 0;
  }

  int capacity_ = 1;
  const TempFolder temp_{"operations"};
  const std::string folder_ = temp_.path();
  LogWatcher log_;
  PoolOptions options_;
  std::optional<Pool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Transports, OperationsTest,
                         ::testing::Values("StdioJson", "StdioMsgpack", "Grpc"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace snakepit::testing

#endif  // SNAKEPIT_POOL_TESTING_OPERATIONS_FIXTURE_H_
