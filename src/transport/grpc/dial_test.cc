#include "src/transport/grpc/dial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "src/transport/grpc/testing/descriptors.h"
#include "src/transport/grpc/testing/listener.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using testing::Listener;
using testing::NoDescriptors;
using testing::Taker;

std::shared_ptr<GrpcPeerCheck> CheckOf(pid_t worker) {
  return std::make_shared<GrpcPeerCheck>(worker, "");
}

ErrorCode CodeOf(const Result<UniqueFd>& step) {
  return step ? ErrorCode::kInternal : step.error().code;
}

using std::chrono::milliseconds;

// A dial, and a clock that the test moves on.
class GrpcDialTest : public ::testing::Test {
 protected:
  void Begin(pid_t worker) { dial_.emplace(listener_.address(), CheckOf(worker)); }

  ErrorCode Step() { return CodeOf(dial_->Step(now_)); }

  // Takes steps until there is a connection, or will be none. Each step takes a millisecond on the
  // test's clock, so that there are at most as many as the limit has of them.
  Result<UniqueFd> Finish() {
    auto step = dial_->Step(now_);
    while (CodeOf(step) == ErrorCode::kUnavailable) {
      now_ += milliseconds(1);
      step = dial_->Step(now_);
    }
    return step;
  }

  Listener listener_;
  std::optional<GrpcDial> dial_;
  SteadyTime now_ = SteadyTime() + std::chrono::hours(1);
};

TEST_F(GrpcDialTest, AStepDoesNotWait) {
  Begin(getpid());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Step(), ErrorCode::kUnavailable) << i;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, GrpcDial::kLimit);
  const UniqueFd accepted = listener_.Accept();
  EXPECT_TRUE(Finish());
}

TEST_F(GrpcDialTest, WhereNobodyAcceptsItEnds) {
  Begin(getpid());
  const SteadyTime begin = now_;
  const auto end = Finish();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, ErrorCode::kWorkerLost);
  EXPECT_THAT(end.error().message, HasSubstr("within 1000 ms"));
  EXPECT_GE(now_ - begin, GrpcDial::kLimit);
}

TEST_F(GrpcDialTest, TimeInWhichNobodyWantsItDoesNotCount) {
  Begin(getpid());
  EXPECT_EQ(Step(), ErrorCode::kUnavailable);
  now_ += GrpcDial::kLimit + milliseconds(1);
  ASSERT_EQ(Step(), ErrorCode::kUnavailable);
  // Nobody accepts the one that the first step made.
  const UniqueFd first = listener_.Accept();
  const UniqueFd second = listener_.Accept();
  EXPECT_TRUE(Finish());
}

TEST_F(GrpcDialTest, GoesOnWhenThePoolHasDescriptorsAgain) {
  Begin(getpid());
  {
    const NoDescriptors none;
    ASSERT_EQ(Step(), ErrorCode::kUnavailable);  // no socket
  }
  EXPECT_EQ(CodeOf(Finish()), ErrorCode::kWorkerLost) << "there was one";
  Begin(getpid());
  EXPECT_EQ(Step(), ErrorCode::kUnavailable);
  const UniqueFd first = listener_.Accept();
  const UniqueFd second = listener_.Accept();
  now_ += milliseconds(5);  // longer than between two looks
  {
    const NoDescriptors none;
    EXPECT_EQ(Step(), ErrorCode::kUnavailable);  // nothing to look with
  }
  EXPECT_TRUE(Finish());
}

TEST_F(GrpcDialTest, AWorkerMayGetTheConnectionFromTheOneThatAccepts) {
  Taker worker;
  Begin(worker.pid());
  EXPECT_EQ(Step(), ErrorCode::kUnavailable);
  UniqueFd accepted = listener_.Accept();
  now_ += milliseconds(5);
  EXPECT_EQ(Step(), ErrorCode::kUnavailable);
  worker.Take(std::move(accepted));
  EXPECT_TRUE(Finish());
}

TEST_F(GrpcDialTest, AConnectionThatAnotherKeepsIsRefused) {
  Taker worker;
  Begin(worker.pid());
  EXPECT_EQ(Step(), ErrorCode::kUnavailable);
  const UniqueFd accepted = listener_.Accept();
  const auto end = Finish();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, ErrorCode::kWorkerLost);
  EXPECT_THAT(end.error().message, HasSubstr("is not known to be the worker"));
}

}  // namespace
}  // namespace snakepit
