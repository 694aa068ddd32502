// A process may do nothing with a pool that its parent started, and it is told so.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/testing/await.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

constexpr char kWorker[] = R"(
from snakepit_bridge import Worker

worker = Worker("forks", capacity=4)

@worker.command("echo")
def echo(n):
    return n

@worker.command("count")
def count(to):
    yield from range(to)

if __name__ == "__main__":
    worker.main()
)";

// A child that does not end by itself is ended by SIGALRM.
constexpr unsigned kChildSeconds = 30;

// Forks a process that runs `body`, and returns how it ended. The result of `body` is its exit
// status.
int WaitStatusOf(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(kChildSeconds);
    _exit(body());
  }
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

bool IsRefused(const Error& error) {
  return error.code == ErrorCode::kUnavailable && !error.may_have_run &&
         error.message.find("this process did not start the pool") != std::string::npos;
}

class ForkTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    options_.workers = 1;
    options_.adapter = testing::PythonWorker(kWorker, GetParam());
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  // The number of the first check that does not hold; 0: all do.
  int EveryMethodFails() {
    int check = 0;
    const auto refused = [&check](const auto& result) {
      ++check;
      return !result && IsRefused(result.error());
    };
    const ChunkCallback on_chunk = [](const Chunk&) { return true; };
    if (!refused(pool_->Execute("echo", Value::Map{{"n", 1}}))) return check;
    if (!refused(pool_->ExecuteStream("count", Value::Map{{"to", 1}}, on_chunk))) return check;
    if (!refused(pool_->Execute("echo", Value::Map{{"n", 1}}, {.session = "s"}))) return check;
    if (!refused(pool_->ExecuteStream("count", {}, on_chunk, {.session = "s"}))) return check;
    if (!refused(pool_->CheckHealth(0))) return check;
    if (!refused(pool_->Restart())) return check;
    if (!refused(pool_->Resize(2))) return check;
    int answers = 0;
    pool_->Submit("echo", {}, [&](Result<Value> result) { answers += refused(result); });
    if (answers != 1) return 100;
    pool_->EndSession("s");
    if (!pool_->Workers().empty()) return 101;
    if (pool_->Stats().last_start_error.find("did not start the pool") == std::string::npos) {
      return 102;
    }
    if (pool_->Drain(std::chrono::seconds(60))) return 103;
    pool_->Shutdown();
    pool_.reset();
    return 0;
  }

  PoolOptions options_;
  std::optional<Pool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Transports, ForkTest,
                         ::testing::Values("StdioJson", "StdioMsgpack", "Grpc"));

TEST_P(ForkTest, AForkedProcessIsRefusedByEveryMethod) {
  EXPECT_EQ(WaitStatusOf([this] { return EveryMethodFails(); }), 0);
  EXPECT_EQ(*pool_->Execute("echo", Value::Map{{"n", 2}}), Value(2));
}

TEST_P(ForkTest, AForkInTheMiddleOfCallsDisturbsNone) {
  std::atomic<bool> ends = false;
  std::atomic<int> calls = 0, wrong = 0;
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&, t] {
      for (int n = t; !ends; n += 3) {
        const auto result = pool_->Execute("echo", Value::Map{{"n", n}});
        if (!result || *result != Value(n)) ++wrong;
        ++calls;
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    const int before = calls;
    EXPECT_TRUE(testing::Await([&] { return calls >= before + 10; }));
    EXPECT_EQ(WaitStatusOf([this] { return EveryMethodFails(); }), 0);
  }
  ends = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(ForkTest, AForkedProcessThatExitsLeavesThePoolAlone) {
  const int status = WaitStatusOf([this] {
    pool_.reset();
    std::exit(7);  // with all destructors and handlers
    return 0;
  });
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(*pool_->Execute("echo", Value::Map{{"n", 3}}), Value(3));
}

TEST_P(ForkTest, AForkedProcessCanHaveAPoolOfItsOwn) {
  // gRPC itself does not go on in a forked process.
  const bool is_grpc = std::string_view(GetParam()) == "Grpc";
  EXPECT_EQ(WaitStatusOf([this, is_grpc] {
              pool_.reset();
              auto own = Pool::Start(options_);
              if (is_grpc) {
                return !own && own.error().message.find("used it before it forked this one") !=
                                   std::string::npos
                           ? 0
                           : 3;
              }
              if (!own) return 1;
              const auto result = own->Execute("echo", Value::Map{{"n", 4}});
              return result && *result == Value(4) ? 0 : 2;
            }),
            0);
  EXPECT_EQ(*pool_->Execute("echo", Value::Map{{"n", 5}}), Value(5));
}

TEST_P(ForkTest, AForkThatReturnsFromACallbackIsAborted) {
  pid_t child = -1;
  const auto count =
      pool_->ExecuteStream("count", Value::Map{{"to", 100}}, [&child](const Chunk& chunk) {
        if (chunk.index != 3) return true;
        child = fork();
        if (child == 0) {
          alarm(kChildSeconds);
          dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        }
        return true;
      });
  ASSERT_TRUE(count) << count.error().ToString();
  EXPECT_EQ(*count, 100);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
}

}  // namespace
}  // namespace snakepit
