// Engines for the tests of one part of the pool.
#ifndef SNAKEPIT_POOL_TESTING_PARTS_H_
#define SNAKEPIT_POOL_TESTING_PARTS_H_

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "src/pool/engine.h"
#include "src/pool/testing/fake_transport.h"
#include "src/pool/user_callbacks.h"
#include "src/pool/worker_process.h"

namespace snakepit::testing {

// An engine that is yet to begin, and a transport that the test plays.
class EngineFixture : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kLimit{20};
  static constexpr char kSecret[] = "0123456789abcdef";

  static PoolOptions OneWorker() {
    PoolOptions options;
    options.workers = 1;
    options.max_starting = 1;
    options.health.interval = std::chrono::milliseconds(0);
    return options;
  }

  explicit EngineFixture(PoolOptions options = OneWorker()) : options_(std::move(options)) {
    options_.log = [this](LogLevel, std::string_view text) { log_.emplace_back(text); };
  }

  // Tells the core of an event, and carries out what follows.
  template <typename Event>
  void Tell(Event event) {
    const EngineLock lock(engine_);
    event(engine_.core(), std::chrono::steady_clock::now());
    engine_.Settle();
  }
  // Returns when the engine's thread has run all that was posted before.
  void RunPosted() {
    std::promise<void> ran;
    engine_.Post([&ran] { ran.set_value(); });
    ran.get_future().wait();
  }

  PoolOptions options_;
  FakeTransport fake_;
  std::vector<std::string> log_;  // only used on the engine's thread, and after RunPosted
  const UserCallbacks callbacks_{options_};
  Engine engine_{options_, /*seed=*/1};
};

// The engine's workers are connections that the test plays, without processes.
class PartsTest : public EngineFixture {
 protected:
  // Worker 0 is ready: process 1.
  void SetUp() override {
    engine_.Begin({.apply = [this](const Effect& effect) { Apply(effect); },
                   .settled = [this] { OnSettled(); }},
                  [this] { ++faults_; });
    Tell([](Core& core, Core::Time now) { core.Start(now); });
    Tell([this](Core& core, Core::Time now) { core.Ready(1, 1, checks_while_busy_, now); });
  }
  void TearDown() override {
    if (engine_.has_thread()) engine_.End();
  }

  // Carries out an effect that the part takes. With the lock, like OnSettled.
  virtual void Apply(const Effect& effect) {
    if (const auto* spawn = std::get_if<SpawnWorker>(&effect)) {
      auto process = std::make_shared<WorkerProcess>();
      process->number = spawn->process;
      process->pid = kPid;
      process->secret = kSecret;
      process->connection = fake_.Connect();
      processes_[spawn->process] = std::move(process);
    } else if (const auto* kill = std::get_if<KillWorker>(&effect)) {
      killed_for_.push_back(processes_.at(kill->process)->fault);
    }
  }
  virtual void OnSettled() {}

  WorkerView Worker() {
    const EngineLock lock(engine_);
    return engine_.core().workers()[WorkerIndex{0}];
  }

  static constexpr pid_t kPid = 77;

  bool checks_while_busy_ = true;
  std::map<ProcessNumber, std::shared_ptr<WorkerProcess>> processes_;
  std::vector<std::string> killed_for_;  // the faults of the processes that were killed
  std::atomic<int> faults_ = 0;          // exceptions that reached the engine's thread
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_POOL_TESTING_PARTS_H_
