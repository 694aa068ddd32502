// Calls in flight over stdio: cancellation, deadlines, capacity and sessions.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <latch>
#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "src/worker/executor.h"
#include "src/worker/stdio/testing/fixture.h"

namespace snakepit {
namespace {

using testing::Args;
using testing::kLimit;
using testing::StdioPeer;

using StdioCallTest = testing::StdioServerTest;

TEST_P(StdioCallTest, ACallIsCancelledWhileItRuns) {
  Create();
  std::atomic<int> stops{0};
  commands().registry.Add("stoppable", [&](const Call& call) {
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

// It does not depend on how the threads that read take turns.
TEST_P(StdioCallTest, ACancelRightBehindItsCallEndsItOnce) {
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

TEST_P(StdioCallTest, ACallThatWaitsIsCancelledAtOnceAndNotBegun) {
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

TEST_P(StdioCallTest, AHandlerSeesWhatIsLeftOfItsTime) {
  Create();
  commands().registry.Add("left", [](const Call& call) {
    const auto left = call.time_left();
    return left ? Value(left->count()) : Value();
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Value left = peer.Call("left", Value::Map{}, {.timeout_ms = 60'000}).value;
  const Result<int64_t> left_ms = left.Get<int64_t>();
  ASSERT_TRUE(left_ms) << left_ms.error().ToString();
  EXPECT_GT(*left_ms, 30'000);
  EXPECT_LE(*left_ms, 60'000);
  EXPECT_TRUE(peer.Call("left").value.is_null());
  // The handler ends its wait, and not the pool's watch.
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

TEST_P(StdioCallTest, RepliesComeInAnyOrder) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t slow = peer.Send("gate");
  AwaitBegun(1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(peer.Call("echo", Args(i)).value, Args(i));
  Release();
  EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(slow));
}

TEST_P(StdioCallTest, RunsAsManyHandlersAsItsCapacityAndNoMore) {
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

TEST_P(StdioCallTest, HealthSaysWhetherTheWorkerCanTakeCalls) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const auto is_healthy = [&peer] {
    peer.AskHealth();
    return peer.Receive()->value.Find("healthy")->Get<bool>();
  };
  EXPECT_EQ(is_healthy(), true);
  commands().set_healthy(false);
  EXPECT_EQ(is_healthy(), false);
  commands().set_healthy(true);
  EXPECT_EQ(is_healthy(), true);
}

// The pool asked for the end, so it knows that the worker takes no more calls.
TEST_P(StdioCallTest, AWorkerThatDrainsIsAsHealthyAsBefore) {
  for (const bool healthy : {true, false}) {
    Create(2);
    StdioPeer& peer = Serve();
    peer.Negotiate(GetParam());
    commands().set_healthy(healthy);
    peer.Send("gate");
    AwaitBegun(1);
    server_->Terminate();
    EXPECT_EQ(peer.Call("echo", Args(1)).error.code, ErrorCode::kCancelled);
    peer.AskHealth();
    EXPECT_EQ(peer.Receive()->value.Find("healthy")->Get<bool>(), healthy);
    Release();
    EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
    EXPECT_EQ(AwaitEnd(), 0);
    Reset();
  }
}

TEST_P(StdioCallTest, AThousandCallsInFlightAreAnsweredEachWithItsOwn) {
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

TEST_P(StdioCallTest, MoreThanItCanHoldIsRefused) {
  Create(1);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("gate");
  AwaitBegun(1);
  const int held = static_cast<int>(kMaxWaitingJobs) + 1;
  for (int i = 0; i < held + 1; ++i) peer.Send("echo", Args(i));
  const Reply refused = *peer.Receive();  // any call: a new reader may overtake the one before it
  EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(refused.error.may_have_run);
  Release();
  for (int i = 0; i < held + 1; ++i) EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
}

// Together they are larger than a frame may be, and they come before their threads run.
TEST_P(StdioCallTest, AsManyAsItsCapacityAreTakenHoweverLarge) {
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

TEST_P(StdioCallTest, WhatWaitsIsBoundedInBytes) {
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

TEST_P(StdioCallTest, AnIdThatIsInFlightIsRefusedWithoutIt) {
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

TEST_P(StdioCallTest, BothDirectionsMayBeFull) {
  Create(4);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  // More, each way, than sockets hold; and nothing is read before everything is written.
  const Value large = Value::Map{{"data", std::string(500'000, 'x')}};
  constexpr int kCalls = 20;
  for (int i = 0; i < kCalls; ++i) peer.Send("echo", large);
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(peer.Receive()->value, large);
}

TEST_P(StdioCallTest, ASessionKeepsItsStateUntilItsEnd) {
  Create(2);
  commands().registry.Add("count", [](const Call& call) {
    Value now;
    call.UseSession([&](Value& state) { now = state = state.Get<int64_t>().value_or(0) + 1; });
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

TEST_P(StdioCallTest, CallsOfOneSessionMayRunAtOnce) {
  constexpr int kCalls = 8, kRounds = 1000;
  Create(kCalls);
  std::latch together(kCalls);
  commands().registry.Add("count", [&](const Call& call) {
    together.arrive_and_wait();
    for (int i = 0; i < kRounds; ++i) {
      call.UseSession([](Value& state) { state = state.Get<int64_t>().value_or(0) + 1; });
    }
    return Value();
  });
  commands().registry.Add("state", [](const Call& call) {
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

INSTANTIATE_TEST_SUITE_P(Codecs, StdioCallTest,
                         ::testing::Values(Codec::kJson, Codec::kMessagePack),
                         [](const auto& info) { return std::string(CodecName(info.param)); });

}  // namespace
}  // namespace snakepit
