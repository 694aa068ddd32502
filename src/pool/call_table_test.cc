// The calls alone: the test plays the connection, and no process runs.
#include "src/pool/call_table.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "src/base/testing/await.h"
#include "src/pool/testing/parts.h"
#include "src/transport/outcome.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class CallTableTest : public testing::PartsTest {
 protected:
  CallTableTest() {
    fake_.agreement.session = true;
    fake_.call = [](const CallRequest&) { return CallOutcome<Value>{Value(1)}; };
    fake_.call_async = [](const CallRequest&, const auto& done) { done({Value(1)}); };
  }

  void Apply(const Effect& effect) override {
    if (throws_at_ == effect.index()) {
      throws_at_.reset();
      throw std::bad_alloc();
    }
    if (const auto* dispatch = std::get_if<DispatchCall>(&effect)) {
      calls_.Dispatch(*dispatch, processes_.at(dispatch->process));
    } else if (const auto* end = std::get_if<EndCall>(&effect)) {
      calls_.End(*end);
    } else if (const auto* session = std::get_if<EndWorkerSession>(&effect)) {
      calls_.EndSession(*session, *processes_.at(session->process));
    } else {
      PartsTest::Apply(effect);
    }
  }
  void OnSettled() override {
    if (std::exchange(throws_when_settled_, false)) throw std::bad_alloc();
  }
  void ThrowWhenSettled() {
    const EngineLock lock(engine_);
    throws_when_settled_ = true;
  }

  Result<Value> Execute(const CallOptions& options = {}) {
    return calls_.Execute("c", {}, options);
  }
  ErrorCode CodeOf(const CallOptions& options) { return Execute(options).error().code; }
  // The outcomes that the callback got come one by one into told_.
  void Submit() {
    calls_.Submit("c", {}, [this](Result<Value> result) { told_.push_back(std::move(result)); },
                  {});
  }
  // Submits a call, and returns when all that followed has been done.
  void SubmitAndRun() {
    Submit();
    RunPosted();
  }

  void EndSession(std::string_view id) {
    Tell([id](Core& core, Core::Time now) { core.EndSession(id, now); });
  }
  void Exit(ExitStatus status) {
    Tell([status](Core& core, Core::Time now) { core.Exited(1, status, now); });
  }
  // Returns when so many calls have been given to the worker.
  void AwaitDispatched(int calls) {
    EXPECT_TRUE(testing::Await([&] { return Worker().calls_started >= calls; }));
  }

  bool IsEmpty() {
    const EngineLock lock(engine_);
    return calls_.empty();
  }
  CallTable::Counts Counts() {
    const EngineLock lock(engine_);
    return calls_.counts();
  }
  // The number of calls that the core has.
  size_t CallsOfCore() {
    const EngineLock lock(engine_);
    return engine_.core().scheduler().calls();
  }
  // No trace of a call is left, and the next one succeeds.
  void ExpectGoesOn() {
    EXPECT_TRUE(IsEmpty());
    EXPECT_EQ(CallsOfCore(), 0u);
    EXPECT_TRUE(Execute());
  }

  std::vector<Result<Value>> told_;  // only used on the engine's thread, and after RunPosted
  // The next effect of that kind, or the end of the next step, throws: there is no memory.
  std::optional<size_t> throws_at_;
  bool throws_when_settled_ = false;
  CallTable calls_{engine_, options_, callbacks_};
};

TEST_F(CallTableTest, ACallIsInTheTableFromItsAcceptanceToItsOutcome) {
  fake_.call = [this](const CallRequest& request) -> CallOutcome<Value> {
    EXPECT_EQ(request.command, "c");
    EXPECT_FALSE(IsEmpty());
    EXPECT_EQ(Counts().accepted, 1);
    return {Value(7)};
  };
  CallInfo info;
  EXPECT_EQ(Execute({.info = &info}), Value(7));
  EXPECT_EQ(info.worker_pid, kPid);
  EXPECT_TRUE(IsEmpty());
  EXPECT_EQ(Counts().succeeded, 1);
}

TEST_F(CallTableTest, ASubmittedCallIsThereUntilItsCallbackHasReturned) {
  calls_.Submit("c", {},
                [this](const Result<Value>& result) {
                  EXPECT_TRUE(result);
                  EXPECT_FALSE(IsEmpty());
                  EXPECT_EQ(Counts().succeeded, 1);
                },
                {});
  RunPosted();
  EXPECT_TRUE(IsEmpty());
}

TEST_F(CallTableTest, WrongArgumentsAreRefusedAndNotCounted) {
  const auto code = [this](std::string_view command, const Value& args) {
    return calls_.Execute(command, args, {}).error().code;
  };
  EXPECT_EQ(code("", {}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code("c", Value::Array{}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf({.timeout = milliseconds(0)}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf({.queue_timeout = milliseconds(-1)}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf({.session = ""}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf({.session = std::string(257, 's')}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(Counts().accepted + Counts().refused, 0);
  EXPECT_TRUE(Execute({.session = std::string(256, 's'), .queue_timeout = milliseconds(0)}));
}

TEST_F(CallTableTest, ARefusalIsToldByTheThreadThatIsThere) {
  Tell([](Core& core, Core::Time) { core.Close(); });
  EXPECT_EQ(CodeOf({}), ErrorCode::kUnavailable);
  SubmitAndRun();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].error().code, ErrorCode::kUnavailable);
  engine_.End();
  Submit();
  EXPECT_EQ(told_.size(), 2u) << "on this thread, as there is no other";
  EXPECT_EQ(Counts().refused, 3);
}

// --- Losses, and calls that were given up --------------------------------------------------------

TEST_F(CallTableTest, ALossIsToldWithTheExitOnceThatIsKnown) {
  fake_.call_async = [](const CallRequest&, const auto& done) {
    done({Fail(ErrorCode::kWorkerLost, "half a frame"), AfterCall::kLost});
  };
  SubmitAndRun();
  EXPECT_TRUE(told_.empty());
  Exit({.code = 0, .signal = 9});
  RunPosted();
  ASSERT_EQ(told_.size(), 1u);
  const Error& error = told_[0].error();
  EXPECT_EQ(error.code, ErrorCode::kWorkerLost);
  EXPECT_EQ(error.exit->signal, 9);
  EXPECT_NE(error.message.find("half a frame"), std::string::npos) << error.message;
}

TEST_F(CallTableTest, AnExitMayComeBeforeTheLossIsNoticed) {
  fake_.call = [this](const CallRequest&) -> CallOutcome<Value> {
    Exit({.code = 3});
    return {Fail(ErrorCode::kWorkerLost, "half a frame"), AfterCall::kLost};
  };
  const auto result = Execute();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().exit->code, 3);
}

TEST_F(CallTableTest, AnAbandonedCallIsTheCoresUntilItIsReleased) {
  std::function<void(AfterCall)> released;
  fake_.call = [&released](const CallRequest& request) -> CallOutcome<Value> {
    released = request.released;
    return {Fail(GivenUp(request)), AfterCall::kAbandoned};
  };
  EXPECT_EQ(CodeOf({}), ErrorCode::kCancelled);
  EXPECT_TRUE(IsEmpty()) << "its caller has the outcome";
  EXPECT_EQ(CallsOfCore(), 1u);
  engine_.Post([&released] { released(AfterCall::kUsable); });
  RunPosted();
  EXPECT_EQ(CallsOfCore(), 0u);
}

TEST_F(CallTableTest, ACallThatWasReleasedKeepsTheOutcomeOfItsCaller) {
  fake_.call = [this](const CallRequest& request) -> CallOutcome<Value> {
    engine_.Post([released = request.released] { released(AfterCall::kLost); });
    RunPosted();
    Exit({.code = 0, .signal = 9});  // the core ends the call as lost
    return {Fail(GivenUp(request)), AfterCall::kAbandoned};
  };
  EXPECT_EQ(CodeOf({}), ErrorCode::kCancelled);
  EXPECT_EQ(CallsOfCore(), 0u);
}

TEST_F(CallTableTest, TheFaultIsKnownWhenTheProcessIsKilledForIt) {
  fake_.call = [](const CallRequest&) -> CallOutcome<Value> {
    return {Fail(ErrorCode::kProtocolError, "garbage, and the token " + std::string(kSecret)),
            AfterCall::kUnusable};
  };
  const auto result = Execute();
  ASSERT_FALSE(result);
  EXPECT_TRUE(result.error().message.starts_with("garbage"));
  EXPECT_EQ(result.error().message.find(kSecret), std::string::npos);
  EXPECT_EQ(killed_for_, std::vector<std::string>{result.error().message});
}

TEST_F(CallTableTest, ACancellationThatNobodyAskedForIsARefusal) {
  fake_.call = [](const CallRequest&) -> CallOutcome<Value> {
    return {Fail(ErrorCode::kCancelled, "ending")};
  };
  const auto result = Execute();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost);
  EXPECT_FALSE(result.error().may_have_run);
  EXPECT_EQ(Worker().state, WorkerState::kStopping) << "it gets no more calls";
}

// --- Sessions ------------------------------------------------------------------------------------

// The worker knows a session that ends while the engine's thread is held up, and does not hear of
// it until Go.
class EndedSessionTest : public CallTableTest {
 protected:
  void SetUp() override {
    CallTableTest::SetUp();
    ASSERT_TRUE(Execute({.session = "s"}));
    fake_.end_session = [this](const std::string& id) { order_.push_back("end of " + id); };
    fake_.call = [this](const CallRequest& request) -> CallOutcome<Value> {
      order_.push_back(steady_clock::now() < request.deadline ? "call" : "late call");
      if (request.stop.stop_requested()) return {Fail(NotBegun()), AfterCall::kUnsent};
      return {Value(1)};
    };
    engine_.Post([this] { go_.get_future().wait(); });
    EndSession("s");
  }
  void TearDown() override {
    Go();
    CallTableTest::TearDown();
  }
  void Go() {
    if (!std::exchange(gone_on_, true)) go_.set_value();
  }

  std::vector<std::string> order_;

 private:
  std::promise<void> go_;
  bool gone_on_ = false;
};

TEST_F(EndedSessionTest, ItsNextCallIsHeldUntilTheWorkerKnows) {
  std::thread caller([this] { EXPECT_TRUE(Execute({.session = "s", .timeout = kLimit})); });
  // The call waits by then: its thread keeps the lock from the dispatch to the wait.
  AwaitDispatched(2);
  Go();
  caller.join();
  EXPECT_EQ(order_, (std::vector<std::string>{"end of s", "call"}));
}

TEST_F(EndedSessionTest, ACallIsHeldUpToItsDeadline) {
  EXPECT_TRUE(Execute({.session = "s", .timeout = milliseconds(200)}));
  EXPECT_EQ(order_, std::vector<std::string>{"late call"}) << "the transport ends it";
}

TEST_F(EndedSessionTest, OtherSessionsAreNotHeld) {
  EXPECT_TRUE(Execute({.session = "t", .timeout = seconds(5)}));
  EXPECT_TRUE(Execute({.timeout = seconds(5)}));
  EXPECT_EQ(order_, (std::vector<std::string>{"call", "call"}));
}

TEST_F(EndedSessionTest, AStopEndsTheWait) {
  std::stop_source stop;
  std::thread caller([&] {
    EXPECT_EQ(CodeOf({.session = "s", .timeout = kLimit, .stop = stop.get_token()}),
              ErrorCode::kCancelled);
  });
  AwaitDispatched(2);
  stop.request_stop();
  caller.join();
  EXPECT_EQ(order_, std::vector<std::string>{"call"});
}

// --- Exceptions: there is no memory --------------------------------------------------------------

TEST_F(CallTableTest, ASubmissionThatThrowsLeavesNoCall) {
  throws_at_ = Effect(DispatchCall()).index();
  EXPECT_THROW(SubmitAndRun(), std::bad_alloc);
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(killed_for_.empty()) << "the worker has seen nothing of it";
  EXPECT_EQ(Counts().accepted, 1);
  EXPECT_EQ(Counts().failed, 1);
  ExpectGoesOn();
}

TEST_F(CallTableTest, ACallOfAThreadThatThrowsLeavesNoCall) {
  throws_at_ = Effect(DispatchCall()).index();
  EXPECT_THROW((void)Execute(), std::bad_alloc);
  EXPECT_TRUE(IsEmpty());
  EXPECT_EQ(CallsOfCore(), 0u);
}

TEST_F(CallTableTest, ASubmittedCallThatIsOnItsWayGoesOn) {
  ThrowWhenSettled();
  SubmitAndRun();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(told_[0]);
  ExpectGoesOn();
}

TEST_F(CallTableTest, AnExchangeThatThrowsIsTheOutcome) {
  fake_.call_async = [](const CallRequest&, const auto&) { throw std::bad_alloc(); };
  SubmitAndRun();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].error().code, ErrorCode::kInternal);
  EXPECT_TRUE(told_[0].error().may_have_run);
  EXPECT_EQ(killed_for_.size(), 1u);
  EXPECT_EQ(faults_, 0);
}

TEST_F(CallTableTest, AnExchangeThatThrowsAfterTheOutcomeDoesNotEndTwice) {
  fake_.call_async = [](const CallRequest&, const auto& done) {
    done({Value(1)});
    throw std::bad_alloc();
  };
  SubmitAndRun();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(told_[0]);
  EXPECT_EQ(faults_, 1);
  ExpectGoesOn();
}

TEST_F(CallTableTest, AnOutcomeIsToldThoughAnEffectOnOthersThrows) {
  fake_.call_async = [this](const CallRequest&, const auto& done) {
    ThrowWhenSettled();
    done({Value(1)});
  };
  SubmitAndRun();
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_TRUE(told_[0]);
  EXPECT_EQ(faults_, 1) << "the pool hears of it";
  ExpectGoesOn();
}

}  // namespace
}  // namespace snakepit
