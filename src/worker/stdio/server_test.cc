#include "src/worker/stdio/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <future>
#include <latch>
#include <map>
#include <numeric>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "src/wire/msgpack.h"
#include "src/worker/testing/stdio_peer.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using testing::kLimit;
using ::testing::StartsWith;
using testing::StdioPeer;
using namespace std::chrono_literals;

// A server within this process, and its pool.
class StdioServerTest : public ::testing::TestWithParam<Codec> {
 protected:
  StdioServerTest() {
    signal(SIGPIPE, [](int) {});
  }

  ~StdioServerTest() override {
    if (!peer_) return;
    gate_.release(kGateRoom);
    peer_.reset();
    EXPECT_EQ(status_.wait_for(kLimit), std::future_status::ready);
    thread_.join();
  }

  WorkerCore& core() { return *core_; }

  void Create(int capacity = 1) {
    core_ = std::make_unique<WorkerCore>("test", WorkerOptions{.capacity = capacity});
    core_->registry.Add("echo", [](const Call& call) { return call.args(); });
    // Waits for a Release, deaf to all else.
    core_->registry.Add("gate", [this](const Call& call) {
      ++begun_;
      gate_.acquire();
      return call.args();
    });
    core_->registry.Add("wait", [this](const Call& call) {
      ++begun_;
      return call.Wait(10 * kLimit);
    });
    core_->registry.AddStream("bytes", [this](const Call& call, ChunkSink& out) -> Result<void> {
      const Bytes chunk{std::string(static_cast<size_t>(call.Integer("size")), 'x')};
      for (int64_t i = 0; i < call.Integer("n"); ++i) {
        ++produced_;
        if (!out.Send(chunk)) break;
      }
      return {};
    });
  }

  StdioPeer& Serve(size_t max_frame_bytes = 64u << 20) {
    auto request = OpenSocketPair();
    auto reply = OpenSocketPair();
    server_ = std::make_unique<StdioServer>(*core_, std::move(request->second),
                                            std::move(reply->second), max_frame_bytes);
    peer_.emplace(std::move(request->first), std::move(reply->first));
    std::promise<int> status;
    status_ = status.get_future().share();
    thread_ = std::thread([this, status = std::move(status)]() mutable {
      const int value = server_->Run();
      server_.reset();
      status.set_value(value);
    });
    return *peer_;
  }

  // The exit status.
  int End() {
    peer_->CloseInput();
    return AwaitEnd();
  }
  int AwaitEnd() {
    if (status_.wait_for(kLimit) != std::future_status::ready) return -1;
    return status_.get();
  }

  void Release(int calls = 1) { gate_.release(calls); }

  // Returns when so many handlers of `gate` and `wait` have begun.
  void AwaitBegun(int count) { AwaitAtLeast(begun_, count); }

  static void AwaitAtLeast(const std::atomic<int>& counter, int count) {
    const auto deadline = std::chrono::steady_clock::now() + kLimit;
    while (counter < count) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << counter << " of " << count;
      std::this_thread::yield();
    }
  }

  static constexpr int kGateRoom = 1000;
  std::atomic<int> begun_{0};
  std::atomic<int> produced_{0};
  std::counting_semaphore<100'000> gate_{0};
  std::unique_ptr<WorkerCore> core_;
  std::unique_ptr<StdioServer> server_;
  std::optional<StdioPeer> peer_;
  std::thread thread_;
  std::shared_future<int> status_;
};

// {"args": {"a": […]}, "id": 7, "command": "echo"} with so many nulls, in MessagePack.
std::string RequestOfNulls(size_t nulls) {
  std::string payload;
  AppendMsgpackMapHeader(3, &payload);
  AppendMsgpackText("args", &payload);
  AppendMsgpackMapHeader(1, &payload);
  AppendMsgpackText("a", &payload);
  AppendMsgpackArrayHeader(nulls, &payload);
  payload.append(nulls, '\xc0');
  AppendMsgpackText("id", &payload);
  AppendMsgpackInt(7, &payload);
  AppendMsgpackText("command", &payload);
  AppendMsgpackText("echo", &payload);
  return payload;
}

Value Args(int64_t n) { return Value::Map{{"n", n}}; }

// Before their memory is taken.
TEST_P(StdioServerTest, ArgumentsOverTheLimitOfMemoryAreRefused) {
  if (GetParam() == Codec::kJson) GTEST_SKIP() << "no JSON of 64 MiB is so many nulls";
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendPayload(RequestOfNulls(34'000'000));
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->id, 7);
  EXPECT_EQ(reply->error.code, ErrorCode::kMessageTooLarge);
  EXPECT_THAT(reply->error.message, HasSubstr("over the limit max_decoded_bytes of 536870912"));
  EXPECT_FALSE(reply->error.may_have_run);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_EQ(End(), 0);
}

TEST_P(StdioServerTest, AgreesOnVersion2) {
  Create(7);
  StdioPeer& peer = Serve(1 << 20);
  const Agreement agreement = peer.Negotiate(GetParam());
  EXPECT_EQ(agreement.codec, GetParam());
  EXPECT_EQ(agreement.version, 2);
  EXPECT_TRUE(agreement.stream);
  EXPECT_TRUE(agreement.session);
  EXPECT_EQ(agreement.capacity, 7);
  EXPECT_EQ(agreement.max_frame_bytes, size_t{1} << 20);
  EXPECT_EQ(agreement.worker_id, core().worker_id);
  const Reply reply = peer.Call("ping", Value::Map{{"initialization", true}});
  EXPECT_EQ(reply.value.TextAt("status"), "ok");
  EXPECT_EQ(*reply.value.Find("echo"), Value(Value::Map{{"initialization", true}}));
  EXPECT_EQ(End(), 0);
}

TEST_P(StdioServerTest, ServesAPoolThatDoesNotNegotiate) {
  Create();
  StdioPeer& peer = Serve();
  peer.Assume(GetParam(), 1);
  EXPECT_EQ(peer.Call("ping").value.TextAt("status"), "ok");
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  const Reply unknown = peer.Call("nope");
  EXPECT_EQ(unknown.error.code, ErrorCode::kUnimplemented);
  EXPECT_THAT(unknown.error.message,
              StartsWith("Unknown command: nope; supported commands: bytes"));
  EXPECT_EQ(End(), 0);
}

TEST_P(StdioServerTest, AnswersPipelinedRequestsOfVersion1InTheirOrder) {
  Create(4);
  StdioPeer& peer = Serve();
  peer.Assume(GetParam(), 1);
  const uint64_t first = peer.Send("gate");
  std::vector<uint64_t> ids = {first};
  for (int i = 0; i < 50; ++i) ids.push_back(peer.Send("echo", Args(i)));
  AwaitBegun(1);
  Release();
  for (const uint64_t id : ids) EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(id));
}

TEST_P(StdioServerTest, CarriesEveryValueOfVersion2) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Value value = Value::Map{{"bytes", Bytes{"\xff\x01"}},
                                 {"infinity", -std::numeric_limits<double>::infinity()},
                                 {"tag", Value::Map{{"$bytes", 1}}},
                                 {"large", UINT64_MAX},
                                 {"null", nullptr}};
  EXPECT_EQ(peer.Call("echo", value).value, value);
}

TEST_P(StdioServerTest, ExceptionsAndErrorsAreFailures) {
  Create();
  core().registry.Add("throw", [](const Call&) -> Value { throw std::out_of_range("no row 2"); });
  core().registry.Add("throw_int", [](const Call&) -> Value { throw 7; });
  core().registry.Add("empty", [](const Call&) -> Value { throw std::runtime_error(""); });
  core().registry.Add("refuse", [](const Call& call) { return call.Integer("n"); });
  core().registry.Add("error", [](const Call&) -> Result<Value> {
    return Fail(ErrorCode::kMessageTooLarge, "as told");
  });
  core().registry.Add("internal", [](const Call&) -> Result<Value> {
    return Fail(ErrorCode::kInternal, "as told");
  });
  core().registry.Add("text", [](const Call&) -> Value { throw std::runtime_error("\xff!"); });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const auto expect = [&](const char* command, ErrorCode code, const char* message) {
    const Reply reply = peer.Call(command, Value::Map{{"n", "x"}});
    EXPECT_EQ(reply.kind, Reply::Kind::kError) << command;
    EXPECT_EQ(reply.error.code, code) << command;
    EXPECT_EQ(reply.error.message, message) << command;
    EXPECT_TRUE(reply.error.may_have_run) << command;
  };
  expect("throw", ErrorCode::kHandlerFailed, "std::out_of_range: no row 2");
  expect("throw_int", ErrorCode::kHandlerFailed, "int");
  expect("empty", ErrorCode::kHandlerFailed, "std::runtime_error");
  expect("refuse", ErrorCode::kInvalidArgument, "'n' is an integer of 64 bits");
  expect("error", ErrorCode::kMessageTooLarge, "as told");
  expect("internal", ErrorCode::kHandlerFailed, "INTERNAL: as told");
  expect("text", ErrorCode::kHandlerFailed, "std::runtime_error: \xEF\xBF\xBD!");
  EXPECT_EQ(core().total_errors(), 7);
  EXPECT_EQ(core().total_requests(), 7);
}

TEST_P(StdioServerTest, AResultThatCannotBeSentIsAFailure) {
  Create();
  core().registry.Add("bad", [](const Call&) { return Value::Map{{"t", "\xff"}}; });
  core().registry.Add("large", [](const Call&) { return std::string(5000, 'x'); });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam(), 4096);
  Reply reply = peer.Call("bad");
  EXPECT_EQ(reply.error.code, ErrorCode::kHandlerFailed);
  EXPECT_THAT(reply.error.message, HasSubstr("result.t"));
  reply = peer.Call("large");
  EXPECT_EQ(reply.error.code, ErrorCode::kMessageTooLarge);
  EXPECT_TRUE(reply.error.may_have_run);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioServerTest, StreamsChunks) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id = peer.Send("bytes", Value::Map{{"n", 3}, {"size", 2}}, {.stream = true});
  for (int i = 0; i < 3; ++i) {
    const Reply chunk = *peer.Receive();
    EXPECT_EQ(chunk.id, static_cast<int64_t>(id));
    EXPECT_EQ(chunk.kind, Reply::Kind::kChunk);
    EXPECT_EQ(chunk.chunk_index, i);
    EXPECT_FALSE(chunk.final);
    EXPECT_EQ(chunk.value, Value(Bytes{"xx"}));
  }
  const Reply end = *peer.Receive();
  EXPECT_TRUE(end.final);
  EXPECT_FALSE(end.has_value);
  EXPECT_EQ(end.chunk_index, 3);
}

TEST_P(StdioServerTest, AnEmptyStreamIsOneMessageWithoutAChunk) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Reply end = peer.Call("bytes", Value::Map{{"n", 0}, {"size", 2}}, {.stream = true});
  EXPECT_EQ(end.kind, Reply::Kind::kChunk);
  EXPECT_TRUE(end.final);
  EXPECT_FALSE(end.has_value);
  EXPECT_EQ(end.chunk_index, 0);
}

TEST_P(StdioServerTest, TheLastChunkIsMarked) {
  Create();
  std::atomic<bool> refused{false};
  core().registry.AddStream("last", [&](const Call&, ChunkSink& out) -> Result<void> {
    out.SendLast(Value::Map{});
    refused = !out.Send(1);
    return {};
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Reply end = peer.Call("last", Value::Map{}, {.stream = true});
  EXPECT_TRUE(end.final);
  EXPECT_EQ(end.value, Value(Value::Map{}));
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_TRUE(refused);
}

TEST_P(StdioServerTest, AStreamMayEndInAnErrorAfterKChunks) {
  Create();
  core().registry.AddStream("fails", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send(2)) throw std::runtime_error("no row 2");
    return {};
  });
  core().registry.AddStream("bad", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send("\xff")) std::abort();
    return {};
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("fails", Value::Map{}, {.stream = true});
  EXPECT_EQ(peer.Receive()->value, Value(1));
  EXPECT_EQ(peer.Receive()->value, Value(2));
  Reply end = *peer.Receive();
  EXPECT_EQ(end.kind, Reply::Kind::kError);
  EXPECT_EQ(end.chunk_index, 2);
  EXPECT_EQ(end.error.message, "std::runtime_error: no row 2");
  peer.Send("bad", Value::Map{}, {.stream = true});
  EXPECT_EQ(peer.Receive()->value, Value(1));
  end = *peer.Receive();
  EXPECT_EQ(end.chunk_index, 1);
  EXPECT_EQ(end.error.code, ErrorCode::kHandlerFailed);
}

TEST_P(StdioServerTest, CommandsAndStreamsStandInForEachOther) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Reply chunk = peer.Call("echo", Args(1), {.stream = true});
  EXPECT_EQ(chunk.kind, Reply::Kind::kChunk);
  EXPECT_TRUE(chunk.final);
  EXPECT_EQ(chunk.value, Args(1));
  EXPECT_EQ(peer.Call("bytes", Value::Map{{"n", 2}, {"size", 1}}).value,
            Value(Value::Map{{"chunks", Value::Array{Bytes{"x"}, Bytes{"x"}}}}));
  const Reply unknown = peer.Call("nope", Value::Map{}, {.stream = true});
  EXPECT_EQ(unknown.error.code, ErrorCode::kUnimplemented);
  EXPECT_FALSE(unknown.error.may_have_run);
}

TEST_P(StdioServerTest, AStreamSendsNoMoreThanItsCredit) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  int64_t credit = 3000;
  const uint64_t id = peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}},
                                {.stream = true, .credit = credit});
  int chunks = 0;
  // One above 0 is enough for a chunk of any size, and may take it below 0.
  const auto receive_all_credit = [&] {
    for (; credit > 0; ++chunks) {
      EXPECT_EQ(peer.Receive()->chunk_index, chunks);
      credit -= static_cast<int64_t>(peer.last_payload_bytes());
    }
    // Two answers, so that a chunk too many would be between or before them.
    for (int i = 0; i < 2; ++i) {
      const uint64_t health = peer.AskHealth();
      EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(health));
    }
    EXPECT_LE(produced_, chunks + 1);
  };
  receive_all_credit();
  peer.Grant(id, 5000);
  credit += 5000;
  receive_all_credit();
  peer.Grant(id, 10'000'000);
  for (; chunks < 1000; ++chunks) EXPECT_EQ(peer.Receive()->chunk_index, chunks);
  EXPECT_TRUE(peer.Receive()->final);
  EXPECT_EQ(produced_, 1000);
  // For a call that has ended, and for none.
  peer.Grant(id, 1);
  peer.Grant(12345, 1);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioServerTest, AStreamThatWaitsForCreditIsCancelled) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id =
      peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}}, {.stream = true, .credit = 1});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.Cancel(id);
  const Reply end = *peer.Receive();
  EXPECT_EQ(end.kind, Reply::Kind::kError);
  EXPECT_EQ(end.error.code, ErrorCode::kCancelled);
  EXPECT_EQ(end.chunk_index, 1);
  EXPECT_TRUE(end.error.may_have_run);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioServerTest, AStreamThatWaitsForCreditEndsAtItsDeadline) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}},
            {.stream = true, .credit = 1, .timeout_ms = 30});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  EXPECT_EQ(peer.Receive()->error.code, ErrorCode::kDeadlineExceeded);
}

TEST_P(StdioServerTest, ACallIsCancelledWhileItRuns) {
  Create();
  std::atomic<int> stops{0};
  core().registry.Add("stoppable", [&](const Call& call) {
    const std::stop_callback counted(call.stop_token(), [&] { ++stops; });
    ++begun_;
    EXPECT_FALSE(call.Wait(10 * kLimit));
    EXPECT_TRUE(call.cancelled());
    return 1;
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id = peer.Send("stoppable");
  AwaitBegun(1);
  peer.Cancel(777);
  peer.Cancel(id);
  const Reply reply = *peer.Receive();
  EXPECT_EQ(reply.id, static_cast<int64_t>(id));
  EXPECT_EQ(reply.error.code, ErrorCode::kCancelled);
  EXPECT_TRUE(reply.error.may_have_run);
  EXPECT_EQ(stops, 1);
  peer.Cancel(id);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

// However the threads that read take turns.
TEST_P(StdioServerTest, ACancelRightBehindItsCallEndsItOnce) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  for (int i = 0; i < 100; ++i) {
    const uint64_t id = peer.Send("wait");
    peer.Cancel(id);
    const Reply end = *peer.Receive();
    ASSERT_EQ(end.id, static_cast<int64_t>(id));
    ASSERT_EQ(end.error.code, ErrorCode::kCancelled);
  }
}

TEST_P(StdioServerTest, ACallThatWaitsForItsTurnIsCancelledAtOnceAndNotBegun) {
  Create(1);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t first = peer.Send("gate", Args(1));
  const uint64_t second = peer.Send("gate", Args(2));
  const uint64_t third = peer.Send("bytes", Value::Map{{"n", 1}, {"size", 1}}, {.stream = true});
  peer.Cancel(second);
  peer.Cancel(third);
  for (const uint64_t id : {second, third}) {
    const Reply reply = *peer.Receive();
    EXPECT_EQ(reply.id, static_cast<int64_t>(id));
    EXPECT_EQ(reply.error.code, ErrorCode::kCancelled);
    EXPECT_FALSE(reply.error.may_have_run);
  }
  Release();
  EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(first));
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_EQ(begun_, 1);
  EXPECT_EQ(produced_, 0);
}

TEST_P(StdioServerTest, AHandlerSeesWhatIsLeftOfItsTime) {
  Create();
  core().registry.Add("left", [](const Call& call) {
    const auto left = call.time_left();
    return left ? Value(left->count()) : Value();
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Value left = peer.Call("left", Value::Map{}, {.timeout_ms = 60'000}).value;
  ASSERT_NE(left.get_if<int64_t>(), nullptr);
  EXPECT_GT(*left.get_if<int64_t>(), 30'000);
  EXPECT_LE(*left.get_if<int64_t>(), 60'000);
  EXPECT_TRUE(peer.Call("left").value.is_null());
  // The pool's watch does not end a wait: the handler does.
  Reply reply = peer.Call("wait", Value::Map{}, {.timeout_ms = 20});
  EXPECT_EQ(reply.error.code, ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(reply.error.may_have_run);
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"id":99,"command":"wait","timeout_ms":-1})"
                                              : "\x83\xa2id\x63\xa7"
                                                "command\xa4wait\xaatimeout_ms\xff");
  reply = *peer.Receive();
  EXPECT_EQ(reply.error.code, ErrorCode::kDeadlineExceeded);
  EXPECT_FALSE(reply.error.may_have_run);
  EXPECT_EQ(begun_, 1);
}

TEST_P(StdioServerTest, RepliesComeInAnyOrder) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t slow = peer.Send("gate");
  AwaitBegun(1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(peer.Call("echo", Args(i)).value, Args(i));
  Release();
  EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(slow));
}

TEST_P(StdioServerTest, RunsAsManyHandlersAsItsCapacityAndNoMore) {
  Create(3);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  std::set<int64_t> ids;
  for (int i = 0; i < 5; ++i) ids.insert(static_cast<int64_t>(peer.Send("gate")));
  AwaitBegun(3);
  // Answered while all handlers are busy.
  const uint64_t health = peer.AskHealth();
  const Reply reply = *peer.Receive();
  EXPECT_EQ(reply.id, static_cast<int64_t>(health));
  EXPECT_EQ(*reply.value.Find("healthy"), Value(true));
  EXPECT_EQ(*reply.value.Find("calls_in_flight"), Value(5));
  EXPECT_EQ(begun_, 3);
  Release();
  AwaitBegun(4);
  EXPECT_EQ(ids.erase(*peer.Receive()->id), 1u);
  EXPECT_EQ(begun_, 4);
  Release(4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ids.erase(*peer.Receive()->id), 1u);
}

TEST_P(StdioServerTest, AThousandCallsInFlightAreAnsweredEachWithItsOwn) {
  constexpr int kCalls = 1000;
  Create(kCalls);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  std::map<int64_t, int64_t> expected;
  for (int i = 0; i < kCalls; ++i) {
    expected[static_cast<int64_t>(peer.Send("gate", Args(i)))] = i;
  }
  AwaitBegun(kCalls);
  EXPECT_TRUE(peer.IsQuiet());
  Release(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    const Reply reply = *peer.Receive();
    ASSERT_TRUE(expected.contains(*reply.id));
    EXPECT_EQ(reply.value, Args(expected[*reply.id]));
    expected.erase(*reply.id);
  }
  EXPECT_TRUE(expected.empty());
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioServerTest, MoreThanItCanHoldIsRefused) {
  Create(1);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("gate");
  AwaitBegun(1);
  const int held = static_cast<int>(kMaxWaitingJobs) + 1;
  for (int i = 0; i < held + 1; ++i) peer.Send("echo", Args(i));
  const Reply refused = *peer.Receive();  // any one: a new reader may be ahead of the one before it
  EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(refused.error.may_have_run);
  Release();
  for (int i = 0; i < held + 1; ++i) EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
}

// Together they are larger than a frame may be, and come before the threads for them do.
TEST_P(StdioServerTest, AsManyAsItsCapacityAreTakenHoweverLarge) {
  constexpr int kCapacity = 64, kRounds = 5;
  Create(kCapacity);
  StdioPeer& peer = Serve(4096);
  peer.Negotiate(GetParam(), 4096);
  const Value args = Value::Map{{"data", std::string(3000, 'x')}};
  for (int round = 1; round <= kRounds; ++round) {
    for (int i = 0; i < kCapacity; ++i) peer.Send("gate", args);
    AwaitBegun(round * kCapacity);
    Release(kCapacity);
    for (int i = 0; i < kCapacity; ++i) EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
  }
}

TEST_P(StdioServerTest, WhatWaitsIsBoundedInBytes) {
  Create(1);
  StdioPeer& peer = Serve(4096);
  peer.Negotiate(GetParam(), 4096);
  const Value args = Value::Map{{"data", std::string(3000, 'x')}};
  peer.Send("gate");
  AwaitBegun(1);
  // Two of them are together larger than a frame may be.
  for (int i = 0; i < 3; ++i) peer.Send("echo", args);
  const Reply refused = *peer.Receive();
  EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(refused.error.may_have_run);
  Release();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
}

TEST_P(StdioServerTest, AnIdThatIsInFlightIsRefusedWithoutIt) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id = peer.Send("gate");
  AwaitBegun(1);
  peer.Send("echo", Args(1), {.id = id});
  const Reply refused = *peer.Receive();
  EXPECT_EQ(refused.id, std::nullopt);
  EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  Release();
  EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(id));
}

TEST_P(StdioServerTest, BothDirectionsMayBeFull) {
  Create(4);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  // More, each way, than sockets hold; and nothing is read before everything is written.
  const Value large = Value::Map{{"data", std::string(500'000, 'x')}};
  constexpr int kCalls = 20;
  for (int i = 0; i < kCalls; ++i) peer.Send("echo", large);
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(peer.Receive()->value, large);
}

TEST_P(StdioServerTest, ASessionKeepsItsStateUntilItsEnd) {
  Create(2);
  core().registry.Add("count", [](const Call& call) {
    Value now;
    call.UseSession([&](Value& state) {
      const int64_t* before = state.get_if<int64_t>();
      now = state = before == nullptr ? 1 : *before + 1;
    });
    return now;
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const auto count = [&](const char* session) {
    return peer.Call("count", Value::Map{}, {.session_id = session}).value;
  };
  EXPECT_EQ(count("a"), Value(1));
  EXPECT_EQ(count("a"), Value(2));
  EXPECT_EQ(count("b"), Value(1));
  EXPECT_EQ(peer.Call("count").value, Value(1));
  EXPECT_EQ(peer.Call("count").value, Value(1));
  peer.EndSession("a");
  peer.EndSession("unknown");
  EXPECT_EQ(count("a"), Value(1));
  EXPECT_EQ(count("b"), Value(2));
}

TEST_P(StdioServerTest, CallsOfOneSessionMayRunAtOnce) {
  constexpr int kCalls = 8, kRounds = 1000;
  Create(kCalls);
  std::latch together(kCalls);
  core().registry.Add("count", [&](const Call& call) {
    together.arrive_and_wait();
    for (int i = 0; i < kRounds; ++i) {
      call.UseSession([](Value& state) {
        const int64_t* before = state.get_if<int64_t>();
        state = before == nullptr ? 1 : *before + 1;
      });
    }
    return Value();
  });
  core().registry.Add("state", [](const Call& call) {
    Value now;
    call.UseSession([&](Value& state) { now = state; });
    return now;
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  for (int i = 0; i < kCalls; ++i) peer.Send("count", Value::Map{}, {.session_id = "s"});
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
  EXPECT_EQ(peer.Call("state", Value::Map{}, {.session_id = "s"}).value, Value(kCalls * kRounds));
}

TEST_P(StdioServerTest, WhatIsNoRequestIsRefusedAndTheWorkerGoesOn) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendPayload("");
  peer.SendPayload("\xc1 no message");
  for (int i = 0; i < 2; ++i) {
    const Reply refused = *peer.Receive();
    EXPECT_EQ(refused.id, std::nullopt);
    EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  }
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"id":9,"args":{}})"
                                              : "\x82\xa2id\x09\xa4"
                                                "args\x80");
  Reply refused = *peer.Receive();
  EXPECT_EQ(refused.id, 9);
  EXPECT_FALSE(refused.error.may_have_run);
  // Of a type that it does not know.
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"type":"x"})" : "\x81\xa4type\xa1x");
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_EQ(core().total_requests(), 1);
}

TEST_P(StdioServerTest, ABadFirstFrameLeavesTheNextFree) {
  Create();
  StdioPeer& peer = Serve();
  peer.SendPayload("{");
  EXPECT_EQ(peer.Receive()->id, std::nullopt);
  EXPECT_EQ(peer.Negotiate(GetParam()).version, 2);
}

TEST_P(StdioServerTest, ALengthOverTheLimitEndsTheWorkerWith1) {
  Create();
  StdioPeer& peer = Serve(4096);
  peer.Negotiate(GetParam());
  peer.SendBytes(std::string_view("\x00\x00\x10\x01", 4));
  const Reply refused = *peer.Receive();
  EXPECT_EQ(refused.id, std::nullopt);
  EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, TheEndOfInputWithinAFrameEndsTheWorkerWith1) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendBytes(std::string_view("\x00\x00\x00\x05{}", 6));
  EXPECT_EQ(End(), 1);
}

TEST_P(StdioServerTest, ABusyWorkerAnswersAfterTheEndOfItsInput) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("gate");
  peer.Send("gate");
  AwaitBegun(2);
  peer.CloseInput();
  Release(2);
  EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
  EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
  EXPECT_EQ(AwaitEnd(), 0);
}

// No more credit can come.
TEST_P(StdioServerTest, AStreamThatWaitsForCreditEndsWithTheInput) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}}, {.stream = true, .credit = 1});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.CloseInput();
  const auto end = peer.Receive();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->error.code, ErrorCode::kCancelled);
  EXPECT_EQ(end->chunk_index, 1);
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioServerTest, AStreamThatWaitsForCreditEndsWithAFault) {
  Create();
  StdioPeer& peer = Serve(4096);
  peer.Negotiate(GetParam());
  peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}}, {.stream = true, .credit = 1});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.SendBytes("\xff\xff\xff\xff");  // a length over the limit
  EXPECT_EQ(peer.Receive()->id, std::nullopt);
  const auto end = peer.Receive();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->error.code, ErrorCode::kCancelled);
  EXPECT_EQ(end->chunk_index, 1);
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, AfterTerminateCallsEndAndNoneIsBegun) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t first = peer.Send("gate");
  AwaitBegun(1);
  server_->Terminate();
  const Reply refused = peer.Call("echo", Args(1));
  EXPECT_EQ(refused.error.code, ErrorCode::kCancelled);
  EXPECT_FALSE(refused.error.may_have_run);
  Release();
  EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(first));
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioServerTest, AnIdleWorkerEndsAtTerminate) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  server_->Terminate();
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioServerTest, APoolThatIsGoneCancelsItsCalls) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("wait");
  AwaitBegun(1);
  // With nobody to read, the first write breaks the connection; the input stays open.
  peer.Send("bytes", Value::Map{{"n", 1'000'000}, {"size", 1000}}, {.stream = true});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.CloseOutput();
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, APoolThatIsGoneAfterAnIdInFlightCancelsItsCalls) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id = peer.Send("wait");
  AwaitBegun(1);
  peer.CloseOutput();
  peer.Send("echo", Args(1), {.id = id});
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, InfoIsAnsweredAsAMessageAndAsACommand) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"type":"info","id":77})"
                                              : "\x82\xa4type\xa4info\xa2id\x4d");
  const Reply info = *peer.Receive();
  EXPECT_EQ(info.id, 77);
  EXPECT_EQ(info.value.TextAt("worker_type"), "test");
  for (const char* member : {"capabilities", "stats", "system_info"}) {
    ASSERT_NE(info.value.Find(member), nullptr) << member;
    EXPECT_TRUE(info.value.Find(member)->is_map()) << member;
  }
  EXPECT_EQ(peer.Call("info").value.Find("bridge_info")->TextAt("name"), "test");
}

TEST_F(StdioServerTest, ANegotiationThatCannotBeAgreedToEndsTheWorkerWith1) {
  Create();
  StdioPeer& peer = Serve();
  peer.SendPayload(R"({"type":"protocol_negotiation","supported":["cbor"],"preferred":"cbor"})");
  EXPECT_THAT(*peer.ReceivePayload(), HasSubstr("protocol_error"));
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_F(StdioServerTest, ANegotiationOfVersion1IsAnsweredSo) {
  Create(4);
  StdioPeer& peer = Serve();
  peer.SendPayload(R"({"type":"protocol_negotiation","supported":["msgpack","json"],)"
                   R"("preferred":"msgpack"})");
  const std::string answer = *peer.ReceivePayload();
  EXPECT_THAT(answer, HasSubstr(R"("protocol":"msgpack")"));
  EXPECT_THAT(answer, ::testing::Not(HasSubstr("version")));
  peer.Assume(Codec::kMessagePack, 1);
  EXPECT_EQ(peer.Call("ping").value.TextAt("status"), "ok");
  // Members of version 2 are ignored.
  EXPECT_EQ(peer.Call("bytes", Value::Map{{"n", 0}, {"size", 1}}).kind, Reply::Kind::kResult);
}

INSTANTIATE_TEST_SUITE_P(Codecs, StdioServerTest,
                         ::testing::Values(Codec::kJson, Codec::kMessagePack),
                         [](const auto& info) { return std::string(CodecName(info.param)); });

}  // namespace
}  // namespace snakepit
