// Each rule fires on a history that breaks it, and not on one that keeps it.
#include "storm/check.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace snakepit::storm {
namespace {

using std::chrono::milliseconds;

constexpr char kNoCause[] = "error has a cause";

constexpr pid_t kPid = 100;
constexpr Time kGrace = milliseconds(500);
constexpr Time kHealthTimeout = milliseconds(3'000);
constexpr size_t kMaxQueuedCalls = 3;

// A call that worker 0 executed, from 10 s to 10.1 s.
Call OkCall(int64_t id) {
  Call call;
  call.id = id;
  call.timeout = milliseconds(1'000);
  call.queue_timeout = milliseconds(300);
  call.work = milliseconds(20);
  call.begin = milliseconds(10'000);
  call.end = milliseconds(10'100);
  call.outcomes = 1;
  call.worker = 0;
  call.pid = kPid;
  call.reply_id = id;
  call.reply_pid = kPid;
  return call;
}

Call FailedCall(int64_t id, ErrorCode code, Time end, bool may_have_run = true) {
  Call call = OkCall(id);
  call.end = end;
  call.error = Error{.code = code, .message = "as told", .may_have_run = may_have_run};
  call.reply_id = call.reply_pid = 0;
  return call;
}

// A call that no worker had.
Call QueuedCall(int64_t id, ErrorCode code, Time end) {
  Call call = FailedCall(id, code, end, /*may_have_run=*/false);
  call.worker = -1;
  call.pid = 0;
  return call;
}

Execution Executed(const Call& call, Time begin = milliseconds(10'010)) {
  return {.id = call.id, .pid = kPid, .begin = begin, .end = begin + milliseconds(20)};
}

Fault FaultOf(FaultKind kind, Time begin, Time end, pid_t pid = kPid) {
  return {.kind = kind, .worker = 0, .pid = pid, .begin = begin, .end = end};
}

// A history of one call, executed once.
History Of(Call call) {
  History history;
  if (call.pid != 0) history.journal.executions.push_back(Executed(call));
  history.calls.push_back(std::move(call));
  return history;
}

// The broken rules, in order, each as often as it was broken.
std::string Broken(const History& history, Affinity affinity = Affinity::kHint) {
  std::string rules;
  for (const Violation& violation : Check(history, {.cancel_grace = kGrace,
                                                   .health_timeout = kHealthTimeout,
                                                   .affinity = affinity,
                                                   .max_queued_calls = kMaxQueuedCalls})) {
    rules += (rules.empty() ? "" : ", ") + violation.rule;
  }
  return rules;
}

TEST(CheckTest, AHistoryInOrderBreaksNoRule) {
  EXPECT_EQ(Broken(History()), "");
  EXPECT_EQ(Broken(Of(OkCall(1))), "");
}

// --- Outcomes ------------------------------------------------------------------------------------

TEST(CheckTest, ACallHasExactlyOneOutcome) {
  Call call = OkCall(1);
  call.outcomes = 0;
  EXPECT_EQ(Broken(Of(call)), "one outcome");
  call.outcomes = 2;
  EXPECT_EQ(Broken(Of(call)), "one outcome");
}

TEST(CheckTest, ACallEndsByItsDeadline) {
  Call call = OkCall(1);
  call.end = call.begin + milliseconds(1'400);
  EXPECT_EQ(Broken(Of(call)), "");
  call.end = call.begin + milliseconds(1'600);
  EXPECT_EQ(Broken(Of(call)), "in time");
}

TEST(CheckTest, ACallThatIsGivenUpEndsSoon) {
  Call call = OkCall(1);
  call.given_up_at = call.begin;
  call.end = call.begin + milliseconds(400);
  EXPECT_EQ(Broken(Of(call)), "");
  call.end = call.begin + milliseconds(600);
  EXPECT_EQ(Broken(Of(call)), "in time");
}

// --- Executions ----------------------------------------------------------------------------------

TEST(CheckTest, NoCallIsExecutedTwice) {
  History history = Of(OkCall(1));
  history.journal.executions.push_back(Executed(history.calls[0], milliseconds(10'050)));
  EXPECT_EQ(Broken(history), "executed once");
}

TEST(CheckTest, ACallThatSucceededWasExecuted) {
  History history = Of(OkCall(1));
  history.journal.executions.clear();
  EXPECT_EQ(Broken(history), "executed once");
}

TEST(CheckTest, ACallThatDidNotRunWasNotExecuted) {
  Call call = FailedCall(1, ErrorCode::kCancelled, milliseconds(10'100));
  call.given_up_at = milliseconds(10'090);
  EXPECT_EQ(Broken(Of(call)), "");
  call.error->may_have_run = false;
  EXPECT_EQ(Broken(Of(call)), "executed once");
}

TEST(CheckTest, ACallIsExecutedByTheWorkerThatItWasGivenTo) {
  History history = Of(OkCall(1));
  history.journal.executions[0].pid = kPid + 1;
  EXPECT_EQ(Broken(history), "executed once");
}

TEST(CheckTest, NothingIsExecutedThatWasNotCalled) {
  History history = Of(OkCall(1));
  history.journal.executions.push_back(Executed(OkCall(2)));
  EXPECT_EQ(Broken(history), "executed once");
}

TEST(CheckTest, NothingIsExecutedAnyMoreAtTheEnd) {
  History history = Of(OkCall(1));
  history.journal.executions[0].end.reset();
  EXPECT_EQ(Broken(history), "") << "its worker may have been killed";
  history.workers_at_end = {kPid};
  EXPECT_EQ(Broken(history), "executed once");
}

TEST(CheckTest, TheJournalIsWhole) {
  History history;
  history.journal = ParseJournal("start 0 100 5\nbegin 1 100\nend 1 100 7\nbegin 2 100 8\nbeg");
  EXPECT_EQ(Broken(history), "journal, journal, journal, executed once")
      << "half a line, an end without a begin, a half line at the end, and a call that is none";
}

// --- Results -------------------------------------------------------------------------------------

TEST(CheckTest, AReplyIsThatOfTheCallAndOfItsWorker) {
  Call call = OkCall(1);
  call.reply_id = 2;
  EXPECT_EQ(Broken(Of(call)), "right reply");
  call = OkCall(1);
  call.reply_pid = kPid + 1;
  EXPECT_EQ(Broken(Of(call)), "right reply");
}

Call StreamCall(std::vector<int64_t> numbers) {
  Call call = OkCall(1);
  call.method = Method::kStream;
  call.chunks_wanted = 3;
  call.chunks_reported = static_cast<int64_t>(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) call.indices.push_back(static_cast<int64_t>(i));
  call.numbers = std::move(numbers);
  return call;
}

TEST(CheckTest, ChunksComeInOrderWithoutGapsAndAllOfThem) {
  EXPECT_EQ(Broken(Of(StreamCall({0, 1, 2}))), "");
  EXPECT_EQ(Broken(Of(StreamCall({0, 2, 1}))), "whole stream") << "out of order";
  EXPECT_EQ(Broken(Of(StreamCall({0, 2, 3}))), "whole stream") << "a gap";
  EXPECT_EQ(Broken(Of(StreamCall({0, 1, 1}))), "whole stream") << "one twice";
  EXPECT_EQ(Broken(Of(StreamCall({0, 1}))), "whole stream") << "the last is missing";
  Call call = StreamCall({0, 1, 2});
  call.indices[2] = 3;
  EXPECT_EQ(Broken(Of(call)), "whole stream") << "the pool counts otherwise";
  call = StreamCall({0, 1, 2});
  call.chunks_reported = 2;
  EXPECT_EQ(Broken(Of(call)), "whole stream") << "the pool reports otherwise";
}

TEST(CheckTest, AStreamThatFailsMayBeShortButHasNoGap) {
  Call call = StreamCall({0, 1});
  call.error = Error{.code = ErrorCode::kCancelled, .may_have_run = true};
  call.given_up_at = call.end;
  EXPECT_EQ(Broken(Of(call)), "");
  call.numbers = {1, 2};
  EXPECT_EQ(Broken(Of(call)), "whole stream");
}

Call SessionCall(int64_t id, int64_t count, pid_t pid = kPid) {
  Call call = OkCall(id);
  call.command = Command::kRemember;
  call.session = "s";
  call.begin += milliseconds(200 * id);
  call.end += milliseconds(200 * id);
  call.pid = pid;
  call.reply_pid = pid;
  call.count = count;
  return call;
}

History Of(const std::vector<Call>& calls) {
  History history;
  for (const Call& call : calls) {
    history.journal.executions.push_back(
        {.id = call.id, .pid = call.pid, .begin = call.begin, .end = call.end});
    history.calls.push_back(call);
  }
  return history;
}

TEST(CheckTest, TheCounterOfASessionGoesUpOnOneProcess) {
  EXPECT_EQ(Broken(Of({SessionCall(1, 1), SessionCall(2, 2), SessionCall(3, 4)})), "");
  EXPECT_EQ(Broken(Of({SessionCall(1, 5), SessionCall(2, 1, kPid + 1), SessionCall(3, 6)})), "")
      << "another process counts for itself";
  EXPECT_EQ(Broken(Of({SessionCall(1, 2), SessionCall(2, 1)})), "session memory");
  EXPECT_EQ(Broken(Of({SessionCall(1, 1), SessionCall(2, 1)})), "session memory");
}

TEST(CheckTest, ASessionOfAStrictModeHasOneProcess) {
  const History moved = Of({SessionCall(1, 1), SessionCall(2, 1, kPid + 1)});
  EXPECT_EQ(Broken(moved), "");
  EXPECT_EQ(Broken(moved, Affinity::kStrictQueue), "session memory");
  EXPECT_EQ(Broken(moved, Affinity::kStrictFailFast), "session memory");
}

TEST(CheckTest, ALostSessionHadAWorkerThatIsGone) {
  Call lost = QueuedCall(9, ErrorCode::kSessionLost, milliseconds(11'001));
  lost.begin = milliseconds(11'000);
  lost.session = "s";
  History history = Of({SessionCall(1, 1)});
  history.calls.push_back(lost);
  EXPECT_EQ(Broken(history, Affinity::kStrictQueue), "");
  EXPECT_EQ(Broken(history), kNoCause) << "in hint it moves";
  history.workers_at_end = {kPid};
  EXPECT_EQ(Broken(history, Affinity::kStrictQueue), kNoCause) << "its worker lives";
  EXPECT_EQ(Broken(Of(lost), Affinity::kStrictQueue), kNoCause) << "it never had one";
}

TEST(CheckTest, ABusySessionNeedsAnotherCall) {
  Call busy = QueuedCall(9, ErrorCode::kSessionBusy, milliseconds(10'001));
  busy.session = "s";
  History history = Of(busy);
  EXPECT_EQ(Broken(history, Affinity::kStrictFailFast), kNoCause);
  history.calls.push_back(OkCall(1));
  history.journal.executions.push_back(Executed(history.calls.back()));
  EXPECT_EQ(Broken(history, Affinity::kStrictFailFast), "");
  EXPECT_EQ(Broken(history, Affinity::kStrictQueue), kNoCause);
}

// --- Errors --------------------------------------------------------------------------------------

// A history of a failed call and of faults.
History With(Call call, std::vector<Fault> faults) {
  History history = Of(std::move(call));
  history.faults = std::move(faults);
  return history;
}

// The same, with an earlier call on the same worker.
History After(Call call, Call other, std::vector<Fault> faults = {}) {
  History history = With(std::move(call), std::move(faults));
  history.journal.executions.push_back(Executed(other, milliseconds(10'005)));
  history.calls.push_back(std::move(other));
  return history;
}

Call CommandCall(int64_t id, Command command) {
  Call call = OkCall(id);
  call.command = command;
  return call;
}

TEST(CheckTest, ALostWorkerWasKilled) {
  const Call lost = FailedCall(1, ErrorCode::kWorkerLost, milliseconds(10'100));
  const Time before = milliseconds(10'050);
  EXPECT_EQ(Broken(With(lost, {FaultOf(FaultKind::kKill, before, before)})), "");
  EXPECT_EQ(Broken(With(lost, {})), kNoCause);
  EXPECT_EQ(Broken(With(lost, {FaultOf(FaultKind::kKill, before, before, kPid + 1)})), kNoCause)
      << "another worker";
  EXPECT_EQ(Broken(With(lost, {FaultOf(FaultKind::kTerminate, before, before)})), "");
  EXPECT_EQ(Broken(With(lost, {FaultOf(FaultKind::kRestart, before, before)})), kNoCause);
  const Time after = milliseconds(10'200);
  EXPECT_EQ(Broken(With(lost, {FaultOf(FaultKind::kKill, after, after)})), kNoCause)
      << "only later";
  EXPECT_EQ(Broken(With(lost, {FaultOf(FaultKind::kStop, before, after)})), kNoCause)
      << "a stop alone";
}

TEST(CheckTest, ALostWorkerCrashedOrSentGarbage) {
  const Call lost = FailedCall(1, ErrorCode::kWorkerLost, milliseconds(10'100));
  EXPECT_EQ(Broken(After(lost, CommandCall(2, Command::kCrash))), "");
  EXPECT_EQ(Broken(After(lost, CommandCall(2, Command::kGarbage))), "");
  EXPECT_EQ(Broken(After(lost, CommandCall(2, Command::kFlood))), kNoCause);
  History history = After(lost, CommandCall(2, Command::kCrash));
  history.journal.executions[1].begin = milliseconds(10'200);
  EXPECT_EQ(Broken(history), kNoCause) << "only later";
}

TEST(CheckTest, ALostWorkerWasReplacedForItsSilence) {
  Call given_up = FailedCall(2, ErrorCode::kDeadlineExceeded, milliseconds(11'000));
  const Call lost = FailedCall(1, ErrorCode::kWorkerLost, milliseconds(11'500));
  Call in_time = lost;
  in_time.timeout = milliseconds(2'000);
  const Fault stop = FaultOf(FaultKind::kStop, milliseconds(10'000), milliseconds(12'000));
  EXPECT_EQ(Broken(After(in_time, given_up, {stop})), "");
  EXPECT_EQ(Broken(With(in_time, {stop})), kNoCause) << "nothing was given up";
  Call too_early = in_time;
  too_early.end = milliseconds(11'400);
  EXPECT_EQ(Broken(After(too_early, given_up, {stop})), kNoCause) << "the grace was not over";
  const Fault over = FaultOf(FaultKind::kStop, milliseconds(10'000), milliseconds(10'900));
  given_up.work = milliseconds(900);  // the reason for its deadline
  EXPECT_EQ(Broken(After(in_time, given_up, {over})), kNoCause) << "it ran all the grace";
}

TEST(CheckTest, ALostWorkerWasStoppedForLongerThanAHealthCheckMayTake) {
  Call lost = FailedCall(1, ErrorCode::kWorkerLost, milliseconds(13'100));
  lost.timeout = milliseconds(5'000);
  const auto stopped = [&](int from_ms, int to_ms) {
    return With(lost, {FaultOf(FaultKind::kStop, milliseconds(from_ms), milliseconds(to_ms))});
  };
  EXPECT_EQ(Broken(stopped(10'050, 13'100)), "");
  EXPECT_EQ(Broken(stopped(10'050, 12'900)), kNoCause) << "it could answer in time";
  EXPECT_EQ(Broken(stopped(10'200, 14'000)), kNoCause) << "it still had time";
}

TEST(CheckTest, AWorkerIsLostOnlyToCallsThatItHad) {
  EXPECT_EQ(Broken(With(QueuedCall(1, ErrorCode::kWorkerLost, milliseconds(10'100)),
                        {FaultOf(FaultKind::kKill, milliseconds(10'050), milliseconds(10'050))})),
            kNoCause);
}

TEST(CheckTest, AProtocolErrorNeedsGarbage) {
  const Call broken = FailedCall(1, ErrorCode::kProtocolError, milliseconds(10'100));
  EXPECT_EQ(Broken(After(broken, CommandCall(2, Command::kGarbage))), "");
  EXPECT_EQ(Broken(After(broken, CommandCall(2, Command::kCrash))), kNoCause);
  EXPECT_EQ(
      Broken(With(broken, {FaultOf(FaultKind::kKill, milliseconds(10'050), milliseconds(10'050))})),
      kNoCause);
}

TEST(CheckTest, ADeadlineHasPassedAndTheWorkerWasStopped) {
  const Call late = FailedCall(1, ErrorCode::kDeadlineExceeded, milliseconds(11'000));
  const Fault stop = FaultOf(FaultKind::kStop, milliseconds(10'015), milliseconds(12'000));
  EXPECT_EQ(Broken(With(late, {stop})), "");
  EXPECT_EQ(Broken(With(late, {})), kNoCause) << "the worker ran";
  const Fault other =
      FaultOf(FaultKind::kStop, milliseconds(10'015), milliseconds(12'000), kPid + 1);
  EXPECT_EQ(Broken(With(late, {other})), kNoCause) << "another was stopped";
  const Call early = FailedCall(1, ErrorCode::kDeadlineExceeded, milliseconds(10'900));
  EXPECT_EQ(Broken(With(early, {stop})), kNoCause) << "its time had not passed";
}

TEST(CheckTest, ADeadlinePassesInTheQueueOnlyWhileWorkersAreDown) {
  const Call late = QueuedCall(1, ErrorCode::kDeadlineExceeded, milliseconds(11'000));
  EXPECT_EQ(Broken(With(late, {FaultOf(FaultKind::kSlowStart, milliseconds(9'000),
                                       milliseconds(9'500), 0)})),
            "");
  EXPECT_EQ(Broken(With(late, {})), kNoCause);
  EXPECT_EQ(Broken(With(late, {FaultOf(FaultKind::kSlowStart, milliseconds(3'000),
                                       milliseconds(4'000), 0)})),
            kNoCause)
      << "long over";
}

TEST(CheckTest, ACancellationNeedsItsStop) {
  Call cancelled = FailedCall(1, ErrorCode::kCancelled, milliseconds(10'100));
  EXPECT_EQ(Broken(Of(cancelled)), kNoCause);
  cancelled.given_up_at = milliseconds(10'050);
  EXPECT_EQ(Broken(Of(cancelled)), "");
  cancelled.given_up_at = milliseconds(10'150);
  EXPECT_EQ(Broken(Of(cancelled)), kNoCause) << "only later";
}

TEST(CheckTest, ACallWaitsForTooLongOnlyWhileWorkersAreDown) {
  const Fault kill = FaultOf(FaultKind::kKill, milliseconds(9'000), milliseconds(9'000));
  const Call timeout = QueuedCall(1, ErrorCode::kQueueTimeout, milliseconds(10'300));
  EXPECT_EQ(Broken(With(timeout, {kill})), "");
  EXPECT_EQ(Broken(With(timeout, {})), kNoCause);
  const Call early = QueuedCall(1, ErrorCode::kQueueTimeout, milliseconds(10'200));
  EXPECT_EQ(Broken(With(early, {kill})), kNoCause) << "it had not waited for so long";
  const Call had = FailedCall(1, ErrorCode::kQueueTimeout, milliseconds(10'300));
  EXPECT_EQ(Broken(With(had, {kill})), kNoCause) << "a worker had it";
}

TEST(CheckTest, AQueueIsFullOfCalls) {
  const Call full = QueuedCall(1, ErrorCode::kQueueFull, milliseconds(10'001));
  History history = Of(full);
  for (int64_t id = 2; id < 2 + static_cast<int64_t>(kMaxQueuedCalls); ++id) {
    EXPECT_EQ(Broken(history), kNoCause);
    history.calls.push_back(OkCall(id));
    history.journal.executions.push_back(Executed(history.calls.back()));
  }
  EXPECT_EQ(Broken(history), "");
  history.calls.back().begin = milliseconds(10'002);
  EXPECT_EQ(Broken(history), kNoCause) << "the last came later";
  EXPECT_EQ(Broken(Of(FailedCall(1, ErrorCode::kQueueFull, milliseconds(10'100)))), kNoCause)
      << "a worker had it";
}

TEST(CheckTest, OtherErrorsHaveNoCause) {
  const Fault kill = FaultOf(FaultKind::kKill, milliseconds(10'050), milliseconds(10'050));
  for (const ErrorCode code :
       {ErrorCode::kInvalidArgument, ErrorCode::kUnimplemented, ErrorCode::kHandlerFailed,
        ErrorCode::kUnavailable, ErrorCode::kStartFailed, ErrorCode::kStartTimeout,
        ErrorCode::kMessageTooLarge, ErrorCode::kSessionBusy, ErrorCode::kSessionLost,
        ErrorCode::kInternal}) {
    EXPECT_EQ(Broken(With(FailedCall(1, code, milliseconds(10'100)), {kill})), kNoCause)
        << ErrorCodeName(code);
  }
}

TEST(CheckTest, CallsAreRefusedOnlyWhileWorkersAreDown) {
  const Fault kill = FaultOf(FaultKind::kKill, milliseconds(9'000), milliseconds(9'000));
  const Call refused = QueuedCall(1, ErrorCode::kUnavailable, milliseconds(10'001));
  EXPECT_EQ(Broken(With(refused, {kill})), "");
  EXPECT_EQ(Broken(With(refused, {})), kNoCause);
}

// --- The journal ---------------------------------------------------------------------------------

TEST(ParseJournalTest, AnEndBelongsToTheLatestBegin) {
  const Journal journal =
      ParseJournal("start 0 100 5\nbegin 1 100 6\nbegin 2 100 7\nend 1 100 8\nbegin 3 101 9\n");
  EXPECT_TRUE(journal.faults.empty());
  ASSERT_EQ(journal.starts.size(), 1u);
  EXPECT_EQ(journal.starts[0].pid, 100);
  ASSERT_EQ(journal.executions.size(), 3u);
  EXPECT_EQ(journal.executions[0].id, 1);
  EXPECT_EQ(journal.executions[0].begin, Time(6));
  EXPECT_EQ(journal.executions[0].end, Time(8));
  EXPECT_EQ(journal.executions[1].end, std::nullopt);
  EXPECT_EQ(journal.executions[2].pid, 101);
}

}  // namespace
}  // namespace snakepit::storm
