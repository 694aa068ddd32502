// A guardian that does not answer: it blocks no caller, and is continued or given up.
#include <gtest/gtest.h>
#include <signal.h>

#include <asio/post.hpp>
#include <chrono>
#include <thread>

#include "src/process/testing/fixture.h"
#include "src/testing/debugger.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// More requests than the guardian's socket holds.
constexpr int kMoreThanFit = 5'000;

TEST_F(GuardianTest, RequestsDoNotWaitForAStoppedGuardian) {
  kill(guardian_->pid(), SIGSTOP);
  const auto begin = steady_clock::now();
  for (int i = 0; i < kMoreThanFit; ++i) guardian_->Signal(77, SIGUSR1);
  // These requests find the socket full, and keep their order.
  UniqueFd out = SpawnPiped(1, Spec({"hold"}));
  guardian_->Signal(1, SIGKILL);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
  EXPECT_EQ(lost_, 0);
}

TEST_F(GuardianTest, AStoppedGuardianIsContinued) {
  kill(guardian_->pid(), SIGSTOP);
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"exit", "3"})));
  EXPECT_EQ(ExitOf(1), ExitStatus{.code = 3});
  kill(guardian_->pid(), SIGSTOP);
  ASSERT_TRUE(guardian_->Spawn(2, Spec({"exit", "4"})));
  EXPECT_EQ(ExitOf(2), ExitStatus{.code = 4});
  EXPECT_EQ(lost_, 0);
}

TEST_F(GuardianTest, ALoopThatWasHeldUpKeepsItsGuardian) {
  kill(guardian_->pid(), SIGSTOP);
  ASSERT_TRUE(guardian_->Spawn(1, Spec({"exit", "3"})));
  std::this_thread::sleep_for(std::chrono::seconds(7));  // a slow callback
  EXPECT_EQ(ExitOf(1), ExitStatus{.code = 3});
  EXPECT_EQ(lost_, 0);
}

TEST_F(GuardianTest, AGuardianThatAnswersNothingIsGivenUp) {
  const UniqueFd out = SpawnPiped(1, Spec({"hold"}));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  testing::Debugger debugger(guardian_->pid(), testing::Debugger::Holds::kAll);
  ASSERT_TRUE(debugger.holds());
  guardian_->Signal(1, SIGUSR1);
  RunUntil([&] { return guardian_->is_lost(); });
  EXPECT_EQ(lost_, 0) << "its end has yet to come";
  bool ran = false;
  asio::post(io_, [&ran] { ran = true; });
  RunUntil([&] { return ran; });
  EXPECT_EQ(lost_, 0) << "the loop does not wait for its end";
  debugger.LetGo();
  RunUntil([&] { return lost_ > 0; });
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
}

}  // namespace
}  // namespace snakepit
