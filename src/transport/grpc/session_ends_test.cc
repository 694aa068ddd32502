#include "src/transport/grpc/session_ends.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stop_token>
#include <thread>

#include "src/transport/grpc/testing/lone_link.h"

namespace snakepit {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class SessionEndsTest : public ::testing::Test {
 protected:
  SteadyTime Late() const { return steady_clock::now() + hours(1); }

  // The worker has gone, and is told nothing any more.
  void Abort() { lone_.link->Abort(); }

  testing::LoneLink lone_;
  std::shared_ptr<SessionEnds> ends_ = std::make_shared<SessionEnds>(lone_.link);
};

TEST_F(SessionEndsTest, AnEndIsPendingAsSoonAsItIsToldOf) {
  EXPECT_FALSE(ends_->IsPending("s"));
  ends_->Tell("s");
  EXPECT_TRUE(ends_->IsPending("s"));
  EXPECT_FALSE(ends_->IsPending("t")) << "another session";
  EXPECT_FALSE(ends_->IsPending("")) << "no session";
}

TEST_F(SessionEndsTest, AwaitReturnsAtTheDeadline) {
  ends_->Tell("s");
  const SteadyTime deadline = steady_clock::now() + milliseconds(2);
  ends_->Await("s", deadline, {});
  EXPECT_GE(steady_clock::now(), deadline);
  EXPECT_TRUE(ends_->IsPending("s"));
}

TEST_F(SessionEndsTest, AwaitReturnsWhenAStopIsAskedFor) {
  ends_->Tell("s");
  std::stop_source stop;
  std::thread stopper([&stop] { stop.request_stop(); });
  ends_->Await("s", Late(), stop.get_token());
  stopper.join();
  EXPECT_TRUE(ends_->IsPending("s"));
}

TEST_F(SessionEndsTest, AwaitOfAnotherSessionReturnsAtOnce) {
  ends_->Tell("s");
  ends_->Await("t", Late(), {});
}

TEST_F(SessionEndsTest, AnEndIsPendingNoMoreWhenItsWorkerHasGone) {
  ends_->Tell("s");
  std::thread caller([this] { ends_->Await("s", Late(), {}); });
  Abort();
  lone_.io.run();
  caller.join();
  EXPECT_FALSE(ends_->IsPending("s"));
}

TEST_F(SessionEndsTest, EachOfTwoEndsOfANameHasToBeTold) {
  ends_->Tell("s");
  ends_->Tell("s");
  Abort();
  // Each takes two turns of the thread: to be sent, and to have ended.
  lone_.io.run_one();
  lone_.io.run_one();
  lone_.io.run_one();
  EXPECT_TRUE(ends_->IsPending("s"));
  lone_.io.run();
  EXPECT_FALSE(ends_->IsPending("s"));
}

}  // namespace
}  // namespace snakepit
