// The promises of a pool, on real workers, the same on every transport.
#include "snakepit/pool.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>

#include "src/base/testing/await.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::WorkerKind;

// True if all threads of a process are stopped, or it has ended.
bool IsStopped(pid_t pid) {
  std::error_code ended;
  const std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task",
                                                    ended);
  return std::all_of(begin(threads), end(threads), [](const auto& thread) {
    std::ifstream file(thread.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    return stat.find(") T ") != std::string::npos || stat.empty();
  });
}

// A thread other than the one that gets the signal may go on for a while, and answer a call.
void StopProcess(pid_t pid) {
  kill(pid, SIGSTOP);
  EXPECT_TRUE(testing::Await([pid] { return IsStopped(pid); }));
}

class PoolTest : public ::testing::TestWithParam<WorkerKind> {
 protected:
  void Begin(int workers) {
    options_.workers = workers;
    options_.adapter = testing::WorkerOfKind(GetParam());
    options_.log = log_.sink();
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  Result<Value> Ping(CallInfo* info = nullptr) {
    return pool_->Execute("ping", {}, {.info = info});
  }

  pid_t PidOf(int worker) { return pool_->Workers()[worker].pid; }

  // A stream that goes on for a minute, unless its worker is lost.
  Result<int64_t> LongStream(const ChunkCallback& on_chunk, const CallOptions& options = {}) {
    return pool_->ExecuteStream("ping_stream", Value::Map{{"count", 6000}, {"interval", 0.01}},
                                on_chunk, options);
  }

  testing::LogWatcher log_;
  PoolOptions options_;
  std::optional<Pool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Workers, PoolTest,
                         ::testing::Values(WorkerKind::kBundledStdioJson,
                                           WorkerKind::kBundledStdioMsgpack,
                                           WorkerKind::kBundledGrpc, WorkerKind::kLegacyGrpc),
                         [](const auto& info) {
                           return std::string(testing::WorkerKindName(info.param));
                         });

TEST_P(PoolTest, AllWorkersAreReadyAfterTheStart) {
  Begin(2);
  std::set<pid_t> pids;
  for (const WorkerInfo& worker : pool_->Workers()) {
    EXPECT_EQ(worker.state, WorkerState::kReady);
    EXPECT_GT(worker.start_time.count(), 0);
    EXPECT_GT(worker.rss_bytes, 1 << 20);
    EXPECT_EQ(worker.capacity, 1);
    EXPECT_EQ(worker.protocol_version, GetParam() == WorkerKind::kLegacyGrpc ? 1 : 2);
    EXPECT_TRUE(worker.streams);
    EXPECT_EQ(worker.sessions, worker.protocol_version == 2);
    pids.insert(worker.pid);
  }
  EXPECT_EQ(pids.size(), 2u);
  EXPECT_EQ(pool_->Stats().workers_ready, 2);
}

TEST_P(PoolTest, ACommandReturnsItsResult) {
  Begin(1);
  const Value::Map args{{"text", "héllo"},
                        {"number", 42},
                        {"list", Value::Array{1, 2.5, nullptr, true}},
                        {"map", Value::Map{{"k", "v"}}}};
  auto result = pool_->Execute("echo", args);
  ASSERT_TRUE(result) << result.error().ToString();
  ASSERT_NE(result->Find("echoed"), nullptr) << result->ToJson();
  EXPECT_EQ(*result->Find("echoed"), Value(args));
  auto sum = pool_->Execute("compute", Value::Map{{"operation", "add"}, {"a", 2}, {"b", 3}});
  ASSERT_TRUE(sum) << sum.error().ToString();
  EXPECT_EQ(sum->Find("result")->ToJson().substr(0, 1), "5");
}

TEST_P(PoolTest, AnUnknownCommandIsUnimplementedAndTheWorkerServesOn) {
  Begin(1);
  const pid_t pid = PidOf(0);
  auto result = pool_->Execute("no_such_command", {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnimplemented) << result.error().ToString();
  EXPECT_FALSE(result.error().may_have_run);
  EXPECT_TRUE(Ping());
  EXPECT_EQ(PidOf(0), pid);
}

TEST_P(PoolTest, AFailedCommandIsItsOwnErrorOnly) {
  Begin(1);
  auto result = pool_->Execute("compute", Value::Map{{"operation", "divide"}, {"a", 1}, {"b", 0}});
  ASSERT_FALSE(result) << result->ToJson();
  EXPECT_EQ(result.error().code, ErrorCode::kHandlerFailed) << result.error().ToString();
  EXPECT_EQ(result.error().worker_id, 0);
  EXPECT_TRUE(Ping());
}

TEST_P(PoolTest, AStreamArrivesChunkByChunkWhileItIsMade) {
  Begin(1);
  // Each chunk is made only when the one before has had time to arrive: all but the last must come
  // well before the end.
  std::vector<std::chrono::steady_clock::time_point> arrivals;
  std::vector<int64_t> indexes;
  std::vector<std::string> messages;
  auto chunks = pool_->ExecuteStream("ping_stream", Value::Map{{"count", 5}, {"interval", 0.2}},
                                     [&](const Chunk& chunk) {
                                       arrivals.push_back(std::chrono::steady_clock::now());
                                       indexes.push_back(chunk.index);
                                       messages.emplace_back(chunk.value.TextAt("message"));
                                       EXPECT_EQ(chunk.final, chunk.index == 4);
                                       return true;
                                     });
  ASSERT_TRUE(chunks) << chunks.error().ToString();
  EXPECT_EQ(*chunks, 5);
  EXPECT_EQ(indexes, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(messages.back(), "Ping 5 of 5");
  EXPECT_GT(arrivals.back() - arrivals.front(), milliseconds(400));
}

TEST_P(PoolTest, ACommandThatDoesNotStreamGivesItsOneResultAsTheFinalChunk) {
  Begin(1);
  std::vector<Chunk> chunks;
  auto count = pool_->ExecuteStream("ping", {}, [&chunks](const Chunk& chunk) {
    chunks.push_back(chunk);
    return true;
  });
  ASSERT_TRUE(count) << count.error().ToString();
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_TRUE(chunks[0].final);
  EXPECT_EQ(chunks[0].value.TextAt("status"), "ok");
}

TEST_P(PoolTest, AnUnknownCommandIsUnimplementedAsAStreamToo) {
  Begin(1);
  auto count = pool_->ExecuteStream("no_such_command", {}, [](const Chunk&) { return true; });
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().code, ErrorCode::kUnimplemented) << count.error().ToString();
}

TEST_P(PoolTest, AStreamThatIsGivenUpEndsAsCancelledAndThePoolServesOn) {
  Begin(1);
  int seen = 0;
  auto count = LongStream([&seen](const Chunk&) { return ++seen < 3; });
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(seen, 3);
  EXPECT_TRUE(Ping());
}

TEST_P(PoolTest, WhatAChunkCallbackThrowsComesOutAndThePoolServesOn) {
  Begin(1);
  EXPECT_THROW((void)LongStream([](const Chunk&) -> bool { throw std::runtime_error("enough"); }),
               std::runtime_error);
  EXPECT_TRUE(Ping());
  EXPECT_EQ(pool_->Stats().calls_in_flight, 0);
}

TEST_P(PoolTest, ASessionStaysOnItsWorker) {
  Begin(3);
  std::set<int> workers;
  for (int i = 0; i < 12; ++i) {
    CallInfo info;
    ASSERT_TRUE(pool_->Execute("ping", {}, {.session = "s", .info = &info}));
    workers.insert(info.worker_id);
    ASSERT_TRUE(Ping());
  }
  EXPECT_EQ(workers.size(), 1u);
  EXPECT_EQ(pool_->Stats().sessions, 1u);
}

// Breakage 6 of pools in the field.
TEST_P(PoolTest, ConcurrentFirstCallsOfASessionAgreeOnOneWorker) {
  Begin(3);
  // Stopped workers answer none of the calls before all of them are there.
  for (const WorkerInfo& worker : pool_->Workers()) StopProcess(worker.pid);
  std::vector<CallInfo> infos(3);
  std::vector<std::thread> threads;
  for (CallInfo& info : infos) {
    threads.emplace_back([this, &info] {
      EXPECT_TRUE(pool_->Execute("ping", {}, {.session = "s", .info = &info}));
    });
  }
  EXPECT_TRUE(testing::Await([this] { return pool_->Stats().calls_accepted >= 3; }));
  for (const WorkerInfo& worker : pool_->Workers()) kill(worker.pid, SIGCONT);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(infos[0].worker_id, infos[1].worker_id);
  EXPECT_EQ(infos[1].worker_id, infos[2].worker_id);
}

// Breakage 7.
TEST_P(PoolTest, SequentialCallsReachAllWorkers) {
  Begin(3);
  std::vector<int> calls(3);
  for (int i = 0; i < 21; ++i) {
    CallInfo info;
    ASSERT_TRUE(Ping(&info));
    ++calls[info.worker_id];
  }
  EXPECT_EQ(calls, (std::vector<int>{7, 7, 7}));
}

TEST_P(PoolTest, AKilledWorkerIsReplacedWhileCallsGoOn) {
  Begin(2);
  const pid_t victim = PidOf(0);
  std::atomic<bool> stop = false;
  std::atomic<int> ok = 0;
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        auto result = Ping();
        ++(result ? ok : failed);
        if (!result) {
          EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
          EXPECT_EQ(result.error().exit->signal, SIGKILL);
        }
      }
    });
  }
  kill(victim, SIGKILL);
  EXPECT_TRUE(log_.WaitFor("is ready", 3)) << log_.Text();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(ok, 0);
  EXPECT_LE(failed, 1) << "only the call that the worker had";
  EXPECT_NE(PidOf(0), victim);
  EXPECT_FALSE(testing::IsAlive(victim));
  EXPECT_EQ(pool_->Stats().restarts, 1);
  EXPECT_EQ(pool_->Stats().workers_ready, 2);
}

TEST_P(PoolTest, AWorkerKilledInTheMiddleOfAStreamEndsTheStreamByName) {
  Begin(1);
  const pid_t victim = PidOf(0);
  auto count = LongStream([victim](const Chunk& chunk) {
    if (chunk.index == 1) kill(victim, SIGKILL);
    return true;
  });
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().code, ErrorCode::kWorkerLost) << count.error().ToString();
  EXPECT_TRUE(count.error().may_have_run);
  ASSERT_TRUE(count.error().exit);
  EXPECT_EQ(count.error().exit->signal, SIGKILL);
  EXPECT_TRUE(Ping());
}

// Breakage 4: what is sent right after a restart must not get lost in the start.
// Breakage 5: after many rounds of kill -9 the figures are true.
TEST_P(PoolTest, ThePoolIsAtFullStrengthAfterTwelveKills) {
  Begin(2);
  for (int round = 0; round < 12; ++round) {
    kill(PidOf(round % 2), SIGKILL);
    ASSERT_TRUE(log_.WaitFor("is ready", 3 + round)) << log_.Text();
    auto result = Ping();
    ASSERT_TRUE(result) << result.error().ToString();
  }
  const PoolStats stats = pool_->Stats();
  EXPECT_EQ(stats.workers_ready, 2);
  EXPECT_EQ(stats.restarts, 12);
  for (const WorkerInfo& worker : pool_->Workers()) {
    EXPECT_EQ(worker.state, WorkerState::kReady);
    EXPECT_TRUE(testing::IsAlive(worker.pid));
  }
}

// Breakage 3.
TEST_P(PoolTest, AfterACallOverranItsDeadlineTheWorkerServesAgain) {
  Begin(1);
  auto late = pool_->Execute("ping_stream", Value::Map{{"count", 600}, {"interval", 0.1}},
                             {.timeout = milliseconds(100)});
  ASSERT_FALSE(late) << late->ToJson().substr(0, 200);
  // A legacy gRPC worker streams on ExecuteStream only.
  if (GetParam() == WorkerKind::kLegacyGrpc) return;
  EXPECT_EQ(late.error().code, ErrorCode::kDeadlineExceeded) << late.error().ToString();
  EXPECT_TRUE(late.error().may_have_run);
  for (int i = 0; i < 3; ++i) {
    auto result = Ping();
    EXPECT_TRUE(result) << result.error().ToString();
  }
}

TEST_P(PoolTest, AStreamEndsAtItsDeadline) {
  Begin(1);
  auto count = LongStream([](const Chunk&) { return true; }, {.timeout = milliseconds(200)});
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().code, ErrorCode::kDeadlineExceeded) << count.error().ToString();
  EXPECT_TRUE(Ping());
}

TEST_P(PoolTest, SubmittedStreamsEndAsThoseOfThreadsDo) {
  Begin(1);
  const auto stream = [this](int chunks, double interval, ChunkCallback on_chunk,
                             const CallOptions& options) {
    std::promise<Result<int64_t>> ended;
    pool_->SubmitStream(
        "ping_stream", Value::Map{{"count", chunks}, {"interval", interval}}, std::move(on_chunk),
        [&ended](Result<int64_t> result) { ended.set_value(std::move(result)); }, options);
    return ended.get_future().get();
  };
  std::vector<int64_t> indexes;
  const auto all = stream(5, 0,
                          [&indexes](const Chunk& chunk) {
                            indexes.push_back(chunk.index);
                            return true;
                          },
                          {});
  ASSERT_TRUE(all) << all.error().ToString();
  EXPECT_EQ(*all, 5);
  EXPECT_EQ(indexes, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  const auto on = [](const Chunk&) { return true; };
  const auto late = stream(1'000, 0.02, on, {.timeout = milliseconds(200)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kDeadlineExceeded) << late.error().ToString();
  const auto given_up = stream(1'000, 0.02, [](const Chunk&) { return false; }, {});
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, ErrorCode::kCancelled) << given_up.error().ToString();
  std::stop_source source;
  const auto stopped =
      stream(1'000, 0.02, [&source](const Chunk&) { return source.request_stop() || true; },
             {.stop = source.get_token()});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled) << stopped.error().ToString();
  EXPECT_TRUE(Ping());
}

// Breakage 2.
TEST_P(PoolTest, ACallThatRunsLongerThanTheQueueTimeIsNotTakenForQueued) {
  Begin(1);
  auto count =
      pool_->ExecuteStream("ping_stream", Value::Map{{"count", 4}, {"interval", 0.05}},
                           [](const Chunk&) { return true; }, {.queue_timeout = milliseconds(20)});
  EXPECT_TRUE(count) << count.error().ToString();
}

TEST_P(PoolTest, ACallThatFindsNoWorkerInTimeEndsWithAQueueTimeout) {
  Begin(1);
  std::promise<void> started;
  std::promise<void> enough;
  std::thread busy([&] {
    LongStream([&, first = true](const Chunk&) mutable {
      if (std::exchange(first, false)) {
        started.set_value();
        enough.get_future().wait();
      }
      return false;
    });
  });
  started.get_future().wait();
  auto result = pool_->Execute("ping", {}, {.queue_timeout = milliseconds(50)});
  enough.set_value();
  busy.join();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kQueueTimeout);
  EXPECT_FALSE(result.error().may_have_run);
  EXPECT_NE(result.error().message.find("1 ready (1 in flight, capacity 1)"), std::string::npos)
      << result.error().message;
  EXPECT_TRUE(Ping());
}

TEST_P(PoolTest, SubmittedCallsEndByTheirCallbacks) {
  Begin(2);
  constexpr int kCalls = 200;
  std::atomic<int> left = kCalls;
  std::promise<void> all;
  std::vector<int64_t> results(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    pool_->Submit("echo", Value::Map{{"i", i}}, [&, i](Result<Value> result) {
      ASSERT_TRUE(result) << result.error().ToString();
      results[i] = result->Find("echoed")->IntegerAt("i", -1);
      if (--left == 0) all.set_value();
    });
  }
  ASSERT_EQ(all.get_future().wait_for(seconds(60)), std::future_status::ready);
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(results[i], i);
}

TEST_P(PoolTest, ASubmittedCallWhoseWorkerIsKilledEndsByName) {
  Begin(1);
  StopProcess(PidOf(0));
  std::promise<Result<Value>> ended;
  pool_->Submit("ping", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); });
  kill(PidOf(0), SIGKILL);
  const Result<Value> result = ended.get_future().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  EXPECT_EQ(result.error().exit->signal, SIGKILL);
}

TEST_P(PoolTest, ASubmittedCallKeepsItsDeadline) {
  Begin(1);
  StopProcess(PidOf(0));
  std::promise<Result<Value>> ended;
  pool_->Submit("ping", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); },
                {.timeout = milliseconds(100)});
  const Result<Value> result = ended.get_future().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDeadlineExceeded) << result.error().ToString();
  EXPECT_TRUE(Ping()) << "the stopped worker is replaced";
}

TEST_P(PoolTest, DrainWaitsForWhatWasAcceptedAndRefusesTheRest) {
  Begin(1);
  std::promise<Result<int64_t>> ended;
  std::promise<void> started;
  std::thread stream([&] {
    ended.set_value(pool_->ExecuteStream(
        "ping_stream", Value::Map{{"count", 10}, {"interval", 0.02}}, [&](const Chunk& chunk) {
          if (chunk.index == 0) started.set_value();
          return true;
        }));
  });
  started.get_future().wait();
  EXPECT_TRUE(pool_->Drain(seconds(60)));
  auto refused = Ping();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  auto count = ended.get_future().get();
  stream.join();
  EXPECT_TRUE(count) << count.error().ToString();
  EXPECT_EQ(pool_->Stats().calls_refused, 1);
}

TEST_P(PoolTest, ShutdownLeavesNoProcess) {
  Begin(3);
  std::vector<pid_t> pids;
  for (const WorkerInfo& worker : pool_->Workers()) pids.push_back(worker.pid);
  pool_->Shutdown();
  for (pid_t pid : pids) EXPECT_FALSE(testing::IsAlive(pid));
  for (const WorkerInfo& worker : pool_->Workers()) EXPECT_EQ(worker.state, WorkerState::kGone);
  pool_->Shutdown();
}

TEST_P(PoolTest, ShutdownGivesACallInFlightItsGraceAndThenKills) {
  options_.stop_grace = milliseconds(100);
  Begin(1);
  std::promise<void> started;
  std::promise<Result<int64_t>> ended;
  std::thread stream([&] {
    ended.set_value(LongStream([&](const Chunk& chunk) {
      if (chunk.index == 0) started.set_value();
      return true;
    }));
  });
  started.get_future().wait();
  pool_->Shutdown();
  auto count = ended.get_future().get();
  stream.join();
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().code, ErrorCode::kWorkerLost) << count.error().ToString();
}

TEST_P(PoolTest, BadInputIsRefusedBeforeItReachesAWorker) {
  Begin(1);
  const auto code = [](const auto& result) { return result.error().code; };
  EXPECT_EQ(code(pool_->Execute("", {})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->Execute("ping", Value(5))), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->Execute("ping", {}, {.timeout = milliseconds(0)})),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->Execute("ping", {}, {.session = ""})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->Execute("ping", {}, {.session = std::string(257, 's')})),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->Execute("echo", Value::Map{{"text", "\xff"}})),
            ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Ping());
}

TEST_P(PoolTest, LargeValuesGoBothWays) {
  Begin(1);
  const Value args = Value::Map{{"text", std::string(1 << 20, 'x')}};
  auto result = pool_->Execute("echo", args);
  if (GetParam() == WorkerKind::kLegacyGrpc) return;  // over 4 MiB only: PROTOCOL.md 4.7
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(*result->Find("echoed"), args);
}

TEST_P(PoolTest, AMessageOverTheLimitFailsAloneByName) {
  options_.workers = 1;
  options_.adapter = testing::WorkerOfKind(GetParam());
  if (auto* stdio = std::get_if<StdioTransport>(&options_.adapter.transport)) {
    stdio->max_frame_bytes = 64 * 1024;
  } else {
    std::get<GrpcTransport>(options_.adapter.transport).max_message_bytes = 64 * 1024;
  }
  auto pool = Pool::Start(options_);
  ASSERT_TRUE(pool) << pool.error().ToString();
  auto result = pool->Execute("echo", Value::Map{{"text", std::string(100'000, 'x')}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kMessageTooLarge) << result.error().ToString();
  EXPECT_TRUE(pool->Execute("ping", {}));
}

}  // namespace
}  // namespace snakepit
