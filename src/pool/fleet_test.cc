// The fleet alone: real processes, which mostly sleep, and connections that the test plays.
#include "src/pool/fleet.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "src/pool/testing/parts.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class FleetTest : public testing::EngineFixture {
 protected:
  explicit FleetTest(milliseconds backoff = milliseconds(1))
      : EngineFixture(OneWorkerWith(backoff)) {}

  void SetUp() override { ASSERT_TRUE(fleet_.EnsureGuardian()); }
  // Ends as a pool does: else a worker would be started again, and a guardian with it.
  void TearDown() override {
    Tell([](Core& core, Core::Time now) { core.Stop(now); });
    EXPECT_TRUE(Await([](const Core& core) { return core.roster().AllGone(); }));
    fleet_.EndGuardian();
    engine_.End();
  }

  void Begin() {
    engine_.Begin({.apply = [this](const Effect& effect) { Apply(effect); }, .settled = [] {}},
                  [] { ADD_FAILURE() << "an exception"; });
  }
  void Start() {
    Begin();
    Tell([](Core& core, Core::Time now) { core.Start(now); });
  }
  // Starts, and returns the process of the worker when that is ready, and with it the pool.
  Fleet::ProcessPtr StartAndAwait() {
    Start();
    EXPECT_TRUE(Await([](const Core& core) { return core.roster().AllReady(); }));
    const EngineLock lock(engine_);
    engine_.starts().pool_started = true;
    return fleet_.Find(1);
  }

  void Apply(const Effect& effect) {
    if (const auto* spawn = std::get_if<SpawnWorker>(&effect)) fleet_.Spawn(*spawn);
    if (const auto* ask = std::get_if<AskWorkerToEnd>(&effect)) fleet_.AskToEnd(*ask);
    if (const auto* kill = std::get_if<KillWorker>(&effect)) fleet_.Kill(*kill);
    if (const auto* disown = std::get_if<DisownProcess>(&effect)) fleet_.Disown(*disown);
    disowned_ += std::holds_alternative<DisownProcess>(effect);
    if (const auto* late = std::get_if<ReportStartTimeout>(&effect)) fleet_.TimeOutStart(*late);
  }

  bool Await(const std::function<bool(const Core&)>& condition) {
    EngineLock lock(engine_);
    return lock.WaitUntil(engine_.changed, steady_clock::now() + kLimit,
                          [&] { return condition(engine_.core()); });
  }
  Fleet::ProcessPtr Find(ProcessNumber number) {
    const EngineLock lock(engine_);
    return fleet_.Find(number);
  }
  // The first line of the log with that text, or none.
  std::string LineWith(std::string_view text) {
    RunPosted();
    const auto line = std::find_if(log_.begin(), log_.end(), [text](const std::string& line) {
      return line.find(text) != std::string::npos;
    });
    return line == log_.end() ? "" : *line;
  }

  StartRecord Starts() {
    const EngineLock lock(engine_);
    return engine_.starts();
  }

  LaunchFactory Launches() {
    LaunchFactory launches = fake_.launches();
    launches.prepare = [this, prepare = launches.prepare](
                           const Adapter& adapter,
                           LaunchContext context) -> Result<std::unique_ptr<Launch>> {
      if (auto may_launch = on_launch_(++launched_); !may_launch) {
        return Fail(std::move(may_launch.error()));
      }
      return prepare(adapter, std::move(context));
    };
    return launches;
  }

  static PoolOptions OneWorkerWith(milliseconds backoff) {
    PoolOptions options = OneWorker();
    options.restart.initial_backoff = options.restart.max_backoff = backoff;
    options.stop_grace = milliseconds(20);
    return options;
  }

  // Runs on the engine's thread before each launch, with its number. An error: it fails.
  std::function<Result<void>(int)> on_launch_ = [](int) { return Result<void>(); };
  std::atomic<int> launched_ = 0;
  int disowned_ = 0;  // with the lock
  Fleet fleet_{engine_, options_, callbacks_, Launches()};
};

// No start follows one that failed.
class FailedStartTest : public FleetTest {
 protected:
  FailedStartTest() : FleetTest(std::chrono::hours(1)) {}
};

bool HasBootFailure(const Core& core) { return core.roster().counts().boot_failures >= 1; }

// --- Starts --------------------------------------------------------------------------------------

TEST_F(FleetTest, AProcessIsFoundFromItsStartToItsExit) {
  const auto process = StartAndAwait();
  ASSERT_NE(process, nullptr);
  EXPECT_GT(process->pid, 0);
  EXPECT_NE(process->connection, nullptr);
  EXPECT_EQ(Find(2), nullptr);
  kill(process->pid, SIGKILL);
  EXPECT_TRUE(Await([](const Core& core) { return core.roster().counts().crashes == 1; }));
  EXPECT_EQ(Find(1), nullptr);
  EXPECT_NE(LineWith(process->Name() + " ended by signal 9"), "");
}

TEST_F(FleetTest, AStartThatIsGivenUpInTimeLaunchesNothing) {
  Begin();
  Tell([](Core& core, Core::Time now) {
    core.Start(now);
    core.Stop(now);
  });
  EXPECT_TRUE(Await([](const Core& core) { return core.roster().AllGone(); }));
  EXPECT_EQ(launched_, 0);
  EXPECT_EQ(Find(1), nullptr);
}

TEST_F(FleetTest, FailedLaunchesAreRecordedTheFirstAndTheLast) {
  on_launch_ = [](int number) -> Result<void> {
    if (number > 2) return {};
    return Fail(ErrorCode::kInternal, "reason " + std::to_string(number));
  };
  Start();
  EXPECT_TRUE(Await([](const Core& core) { return core.roster().AllReady(); }));
  const StartRecord starts = Starts();
  EXPECT_EQ(starts.failures, 2);
  EXPECT_EQ(starts.first_error->message, "worker 0 did not start: reason 1");
  EXPECT_EQ(starts.first_error->worker_id, 0);
  EXPECT_EQ(starts.last_error->message, "worker 0 did not start: reason 2");
}

TEST_F(FailedStartTest, AConnectionThatFailsIsToldWithoutTheToken) {
  fake_.secret = kSecret;
  fake_.connect = [](const auto& ready) {
    ready(Fail(ErrorCode::kStartFailed, std::string("it said ") + kSecret));
  };
  Start();
  EXPECT_TRUE(Await(HasBootFailure));
  const std::string message = Starts().first_error->message;
  EXPECT_NE(message.find(" did not start: it said "), std::string::npos) << message;
  EXPECT_EQ(message.find(kSecret), std::string::npos) << message;
}

TEST_F(FailedStartTest, AnExitBeforeItIsReadyIsToldWithTheWorkersOwnWords) {
  fake_.argv = {"/bin/sh", "-c", "echo trouble >&2; exit 3"};
  fake_.connect = [](const auto&) {};
  Start();
  EXPECT_TRUE(Await(HasBootFailure));
  const Error error = *Starts().first_error;
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_EQ(error.exit->code, 3);
  EXPECT_EQ(error.stderr_tail, "trouble");
}

TEST_F(FailedStartTest, AConnectionThatClosesInTheStartIsToldOnceWithTheExit) {
  fake_.connect = [](const auto& ready) { ready(Fail(ErrorCode::kWorkerLost, "it closed")); };
  Start();
  EXPECT_TRUE(Await(HasBootFailure));
  const StartRecord starts = Starts();
  EXPECT_EQ(starts.failures, 1);
  EXPECT_EQ(starts.first_error->exit->signal, SIGKILL) << "after the grace";
  EXPECT_NE(starts.first_error->message.find("it closed"), std::string::npos);
}

// --- Ends ----------------------------------------------------------------------------------------

TEST_F(FailedStartTest, AKillBeforeTheProcessIsSpawnedFollowsIt) {
  on_launch_ = [this](int number) -> Result<void> {
    if (number == 1) Tell([](Core& core, Core::Time now) { core.Unusable(1, now); });
    return {};
  };
  Start();
  EXPECT_TRUE(Await(HasBootFailure));
  const EngineLock lock(engine_);
  EXPECT_EQ(disowned_, 0) << "nobody killed it";
}

TEST_F(FleetTest, AWorkerIsAskedToEndByItsConnectionAndBySigterm) {
  std::atomic<bool> asked = false;
  fake_.ask_to_end = [&asked] { asked = true; };
  StartAndAwait();
  Tell([](Core& core, Core::Time now) { core.Stop(now); });
  EXPECT_TRUE(Await([](const Core& core) { return core.roster().AllGone(); }));
  EXPECT_TRUE(asked);
  EXPECT_NE(LineWith("ended by signal 15"), "");
}

TEST_F(FleetTest, ADisownedProcessIsLetGo) {
  std::atomic<int> aborted = 0;
  fake_.abort = [&aborted] { ++aborted; };
  StartAndAwait();
  {
    const EngineLock lock(engine_);
    fleet_.Disown({.process = 1});
  }
  EXPECT_EQ(Find(1), nullptr);
  EXPECT_NE(LineWith("the pool goes on without it"), "");
  EXPECT_EQ(aborted, 1) << "its calls end";
  Tell([](Core& core, Core::Time now) { core.Exited(1, {}, now); });
}

TEST_F(FleetTest, AllAreKilledWhateverTheCoreThinks) {
  StartAndAwait();
  fleet_.KillAll();
  EXPECT_TRUE(Await([](const Core& core) { return core.roster().counts().crashes == 1; }));
}

}  // namespace
}  // namespace snakepit
