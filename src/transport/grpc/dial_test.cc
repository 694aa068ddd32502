#include "src/transport/grpc/dial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>
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

// Takes steps until there is a connection, or will be none.
Result<UniqueFd> Finish(GrpcDial& dial) {
  auto step = dial.Step();
  while (CodeOf(step) == ErrorCode::kUnavailable) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    step = dial.Step();
  }
  return step;
}

TEST(GrpcDial, AStepDoesNotWait) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  // Within the limit, in which each of them could not wait for 5 ms.
  for (int i = 0; i < 1'000; ++i) ASSERT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable) << i;
  const UniqueFd accepted = listener.Accept();
  EXPECT_TRUE(Finish(dial));
}

TEST(GrpcDial, WhereNobodyAcceptsItEnds) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  const auto end = Finish(dial);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, ErrorCode::kWorkerLost);
  EXPECT_THAT(end.error().message, HasSubstr("within 1000 ms"));
}

TEST(GrpcDial, TheTimeInWhichNobodyWantsTheConnectionDoesNotCount) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  std::this_thread::sleep_for(GrpcDial::kLimit + std::chrono::milliseconds(100));
  ASSERT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  // Nobody accepts the one that the first step made.
  const UniqueFd first = listener.Accept();
  const UniqueFd second = listener.Accept();
  EXPECT_TRUE(Finish(dial));
}

TEST(GrpcDial, GoesOnWhenThePoolHasDescriptorsAgain) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  {
    const NoDescriptors none;
    ASSERT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);  // no socket
  }
  EXPECT_EQ(CodeOf(Finish(dial)), ErrorCode::kWorkerLost) << "there was one";
  GrpcDial next(listener.address(), CheckOf(getpid()));
  EXPECT_EQ(CodeOf(next.Step()), ErrorCode::kUnavailable);
  const UniqueFd first = listener.Accept();
  const UniqueFd second = listener.Accept();
  {
    const NoDescriptors none;
    // Longer than between two looks.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(CodeOf(next.Step()), ErrorCode::kUnavailable);  // nothing to look with
  }
  EXPECT_TRUE(Finish(next));
}

TEST(GrpcDial, WaitsForAWorkerThatGetsTheConnectionFromTheOneThatAccepts) {
  Taker worker;
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(worker.pid()));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  UniqueFd accepted = listener.Accept();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  worker.Take(std::move(accepted));
  EXPECT_TRUE(Finish(dial));
}

TEST(GrpcDial, AConnectionThatAnotherKeepsIsRefused) {
  Taker worker;
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(worker.pid()));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  const UniqueFd accepted = listener.Accept();
  const auto end = Finish(dial);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, ErrorCode::kWorkerLost);
  EXPECT_THAT(end.error().message, HasSubstr("is not known to be the worker"));
}

}  // namespace
}  // namespace snakepit
