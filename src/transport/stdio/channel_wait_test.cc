#include "src/transport/stdio/channel_wait.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <thread>

#include "src/base/fd.h"

namespace snakepit {
namespace {

using Outcome = ChannelWait::Outcome;
using std::chrono::hours;
using std::chrono::steady_clock;

class ChannelWaitTest : public ::testing::Test {
 protected:
  ChannelWaitTest() : input_(*OpenSocketPair()), output_(*OpenSocketPair()) {}

  void SendOne() { ASSERT_EQ(send(output_.second.get(), "x", 1, 0), 1); }
  // Waits for ever, so to speak.
  Outcome Wait() { return wait_.Wait(channel_, steady_clock::now() + hours(1)); }
  Outcome WaitFor(std::chrono::milliseconds time) {
    return wait_.Wait(channel_, steady_clock::now() + time);
  }

  FdPair input_;
  FdPair output_;
  FrameChannel channel_{std::move(input_.first), std::move(output_.first), 1 << 20};
  ChannelWait wait_;
};

TEST_F(ChannelWaitTest, EndsWithSomethingToRead) {
  ASSERT_TRUE(wait_.valid());
  SendOne();
  EXPECT_EQ(Wait(), Outcome::kReadable);
}

TEST_F(ChannelWaitTest, EndsAtItsDeadline) {
  EXPECT_EQ(WaitFor(std::chrono::milliseconds(1)), Outcome::kDeadline);
}

TEST_F(ChannelWaitTest, AWakeUpEndsAWaitThatIsUnderWay) {
  std::thread waker([this] { wait_.Wake(); });
  EXPECT_EQ(Wait(), Outcome::kLookAround);
  waker.join();
}

TEST_F(ChannelWaitTest, AWakeUpBeforeAWaitEndsItUntilItIsCleared) {
  wait_.Wake();
  wait_.Wake();
  EXPECT_EQ(Wait(), Outcome::kLookAround);
  EXPECT_EQ(Wait(), Outcome::kLookAround) << "nobody has looked around";
  wait_.Clear();
  EXPECT_EQ(WaitFor(std::chrono::milliseconds(1)), Outcome::kDeadline);
  wait_.Wake();
  EXPECT_EQ(Wait(), Outcome::kLookAround) << "once more";
}

TEST_F(ChannelWaitTest, AWakeUpIsNotLostBesideSomethingToRead) {
  SendOne();
  wait_.Wake();
  EXPECT_EQ(Wait(), Outcome::kLookAround);
}

TEST_F(ChannelWaitTest, WhatIsUnsentMakesItWaitForRoomToo) {
  std::string frames(4 << 20, 'x');
  channel_.Append(&frames);
  channel_.Flush();
  ASSERT_TRUE(channel_.has_unsent());
  EXPECT_EQ(WaitFor(std::chrono::milliseconds(1)), Outcome::kDeadline) << "there is none yet";
  std::string taken(4 << 20, '\0');
  while (recv(input_.second.get(), taken.data(), taken.size(), MSG_DONTWAIT) > 0) {
  }
  EXPECT_EQ(Wait(), Outcome::kLookAround);
}

}  // namespace
}  // namespace snakepit
