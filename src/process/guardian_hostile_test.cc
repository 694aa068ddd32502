// A worker is killed with all its descendants, whatever it does against that.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>

#include "src/base/fd.h"
#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

// The pool has given up a living worker by this time, and a guardian a little later.
constexpr seconds kLimit{5};

class TrickTest : public GuardianTest, public testing::WithParamInterface<const char*> {
 protected:
  UniqueFd Begin(uint64_t id = 1) {
    UniqueFd out = SpawnPiped(id, Spec({GetParam()}));
    EXPECT_EQ(ReadLine(out.get()), "ready");
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Tricks, TrickTest,
                         testing::Values("other-group", "other-session", "locks", "subreaper",
                                         "stopped", "traced", "traced-at-exit",
                                         "traced-by-stranger", "traced-by-grandchild",
                                         "traced-by-line", "thread-traced",
                                         "traced-in-other-group"),
                         [](const auto& trick) {
                           std::string name;
                           for (const char* at = trick.param; *at != '\0'; ++at) {
                             name += *at == '-' ? '_' : *at;
                           }
                           return name;
                         });

TEST_P(TrickTest, TheWorkerIsKilled) {
  const UniqueFd out = Begin();
  const auto begin = steady_clock::now();
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
  EXPECT_EQ(ReadToEnd(out.get()), "");
  EXPECT_LT(steady_clock::now() - begin, kLimit);
}

TEST_P(TrickTest, TheEndOfTheGuardianKillsIt) {
  const UniqueFd out = Begin();
  const auto begin = steady_clock::now();
  guardian_.reset();
  EXPECT_EQ(ReadToEnd(out.get()), "");
  EXPECT_LT(steady_clock::now() - begin, kLimit);
}

TEST_P(TrickTest, ADeadWorkerIsReportedThoughKilledAgain) {
  const UniqueFd out = Begin();
  RunUntil([this] { return outcomes_[1].pid != 0; });
  const UniqueFd pidfd = OpenPidfd(outcomes_[1].pid);
  kill(outcomes_[1].pid, SIGKILL);
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
  EXPECT_TRUE(AwaitEndOf(pidfd));
}

using HostileTest = GuardianTest;

TEST_F(HostileTest, AWorkerThatLeftItsGroupIsAskedToEnd) {
  const UniqueFd out = SpawnPiped(1, Spec({"other-group"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGTERM);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGTERM});
}

TEST_F(HostileTest, AWorkerInAnotherWorkersGroupIsKilledAlone) {
  const UniqueFd first = SpawnPiped(1, Spec({"hold"}));
  ASSERT_EQ(ReadLine(first.get()), "ready");
  RunUntil([this] { return outcomes_[1].pid != 0; });
  const UniqueFd second = SpawnPiped(2, Spec({"join", std::to_string(outcomes_[1].pid)}));
  ASSERT_EQ(ReadLine(second.get()), "ready");
  guardian_->Signal(2, SIGKILL);
  EXPECT_EQ(ExitOf(2), ExitStatus{.signal = SIGKILL});
  EXPECT_FALSE(outcomes_[1].exit);
  guardian_->Signal(1, SIGTERM);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGTERM});
}

TEST_F(HostileTest, ATracerUnderAGraceDoesNotHoldItsWorker) {
  SpawnSpec spec = Spec({"traced"});
  spec.leader_grace = kLongestLeaderGrace;
  const UniqueFd out = SpawnPiped(1, std::move(spec));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
}

}  // namespace
}  // namespace snakepit
