// The checkups alone: the test plays the connection, and no process runs.
#include "src/pool/checkups.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "src/pool/testing/parts.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

class CheckupsTest : public testing::PartsTest {
 protected:
  void Apply(const Effect& effect) override {
    if (const auto* check = std::get_if<CheckWorker>(&effect)) {
      checkups_.Check(*check);
    } else if (const auto* measure = std::get_if<MeasureWorker>(&effect)) {
      checkups_.Measure(*measure);
    } else {
      PartsTest::Apply(effect);
    }
  }

  // The answer of the worker to each question.
  void Answer(Result<WorkerHealth> health) {
    fake_.check_health = [health = std::move(health)](SteadyTime, const auto& done) {
      done(health);
    };
  }
  // Makes the check of process 1 that the core asks for.
  void Check() {
    {
      const EngineLock lock(engine_);
      checkups_.Check({.process = 1});
    }
    RunPosted();
  }
  Result<WorkerHealth> Ask(int worker_id = 0, milliseconds timeout = kLimit) {
    return checkups_.CheckHealth(worker_id, timeout);
  }

  Checkups checkups_{engine_, [this](ProcessNumber process) { return processes_.at(process); },
                     options_, callbacks_};
};

// --- For the user --------------------------------------------------------------------------------

TEST_F(CheckupsTest, AUserGetsTheWorkersOwnAccountWithoutItsToken) {
  Answer(WorkerHealth{.healthy = true, .worker_id = std::string("w ") + kSecret, .version = "1"});
  const auto health = Ask();
  ASSERT_TRUE(health);
  EXPECT_TRUE(health->healthy);
  EXPECT_EQ(health->version, "1");
  EXPECT_TRUE(health->worker_id.starts_with("w "));
  EXPECT_EQ(health->worker_id.find(kSecret), std::string::npos);
}

TEST_F(CheckupsTest, OnlyWorkersThatServeAreAsked) {
  Answer(WorkerHealth{.healthy = true});
  EXPECT_EQ(Ask(-1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Ask(1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(Ask(0, milliseconds(0)).error().code, ErrorCode::kInvalidArgument);
  Tell([](Core& core, Core::Time now) { core.HealthReported(1, HealthReport::kUnhealthy, now); });
  EXPECT_TRUE(Ask()) << "an unready one serves";
  Tell([](Core& core, Core::Time now) { core.Unusable(1, now); });
  const auto health = Ask();
  ASSERT_FALSE(health);
  EXPECT_EQ(health.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(health.error().worker_id, 0);
  EXPECT_NE(health.error().message.find("not ready, but killed"), std::string::npos);
}

TEST_F(CheckupsTest, AnErrorNamesItsWorkerAndChangesNothing) {
  Answer(Fail(ErrorCode::kDeadlineExceeded, "silent"));
  EXPECT_EQ(Ask().error().worker_id, 0);
  EXPECT_EQ(Worker().state, WorkerState::kReady) << "only the core's own checks have consequences";
}

// --- For the core --------------------------------------------------------------------------------

TEST_F(CheckupsTest, EachAnswerIsAReportToTheCore) {
  using S = WorkerState;
  const std::vector<std::pair<Result<WorkerHealth>, S>> answers = {
      {WorkerHealth{.healthy = true}, S::kReady},
      {WorkerHealth{.healthy = false}, S::kUnready},
      {Fail(ErrorCode::kUnavailable, "busy"), S::kUnready},  // says nothing
      {WorkerHealth{.healthy = true}, S::kReady},
      {Fail(ErrorCode::kHandlerFailed, "ill"), S::kUnready},
      {Fail(ErrorCode::kUnimplemented, "no health"), S::kUnready},
      {Fail(ErrorCode::kWorkerLost, "closed"), S::kStopping},
  };
  for (size_t i = 0; i < answers.size(); ++i) {
    Answer(answers[i].first);
    Check();
    EXPECT_EQ(Worker().state, answers[i].second) << i;
  }
  EXPECT_TRUE(killed_for_.empty());
}

TEST_F(CheckupsTest, ASilentWorkerIsKilledAndTheReasonIsKnownThen) {
  Answer(Fail(ErrorCode::kDeadlineExceeded, "no answer"));
  Check();
  EXPECT_EQ(Worker().state, WorkerState::kKilled);
  ASSERT_EQ(killed_for_.size(), 1u);
  EXPECT_TRUE(killed_for_[0].starts_with("it did not answer a health check")) << killed_for_[0];
}

TEST_F(CheckupsTest, AWorkerThatAnswersWronglyIsKilled) {
  Answer(Fail(ErrorCode::kProtocolError, "garbage"));
  Check();
  EXPECT_EQ(killed_for_,
            std::vector<std::string>{"its answer to a health check was none: garbage"});
}

TEST_F(CheckupsTest, AChangeIsLoggedOnce) {
  for (const bool healthy : {true, false, false, true, true}) {
    Answer(WorkerHealth{.healthy = healthy});
    Check();
  }
  EXPECT_EQ(log_, (std::vector<std::string>{
                      "worker 0 (pid 77) says that it is not well: it gets no calls",
                      "worker 0 (pid 77) is well again"}));
}

TEST_F(CheckupsTest, AWorkerThatCannotAnswerBesideCallsIsAskedAsAnIdleOne) {
  fake_.agreement.version = 1;
  bool asked_as_idle = false;
  fake_.check_idle = [&](SteadyTime, const auto& done) {
    asked_as_idle = true;
    done(WorkerHealth{.healthy = true});
  };
  processes_[1]->connection = fake_.Connect();
  Check();
  EXPECT_TRUE(asked_as_idle);
}

TEST_F(CheckupsTest, AMeasurementTellsTheResidentMemory) {
  processes_[1]->pid = getpid();
  {
    const EngineLock lock(engine_);
    checkups_.Measure({.process = 1});
  }
  RunPosted();
  const EngineLock lock(engine_);
  EXPECT_GT(engine_.core().roster()[WorkerIndex{0}].recycling.rss_bytes, 1 << 20);
}

}  // namespace
}  // namespace snakepit
