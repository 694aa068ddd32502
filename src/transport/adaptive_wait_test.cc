#include "src/transport/adaptive_wait.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "src/base/fd.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Outcome = AdaptiveWait::Outcome;

SteadyTime Never() { return steady_clock::now() + std::chrono::hours(1); }

TEST(AdaptiveWait, ReturnsWhenThereIsSomethingToRead) {
  FdPair pair = *OpenSocketPair();
  ASSERT_EQ(write(pair.second.get(), "x", 1), 1);
  AdaptiveWait wait;
  EXPECT_EQ(wait.Wait(pair.first.get(), -1, -1, Never()), Outcome::kReady);
}

TEST(AdaptiveWait, ReturnsWhenThePeerCloses) {
  FdPair pair = *OpenSocketPair();
  pair.second.Reset();
  AdaptiveWait wait;
  EXPECT_EQ(wait.Wait(pair.first.get(), -1, -1, Never()), Outcome::kReady);
}

TEST(AdaptiveWait, ReturnsWhenThereIsRoomToWriteIfThatIsWanted) {
  FdPair pair = *OpenSocketPair();
  AdaptiveWait wait;
  EXPECT_EQ(wait.Wait(pair.first.get(), pair.first.get(), -1, Never()), Outcome::kReady);
}

TEST(AdaptiveWait, ReturnsWhenItIsWoken) {
  FdPair pair = *OpenSocketPair();
  FdPair wake = *OpenPipe();
  ASSERT_EQ(write(wake.second.get(), "x", 1), 1);
  AdaptiveWait wait;
  EXPECT_EQ(wait.Wait(pair.first.get(), -1, wake.first.get(), Never()), Outcome::kReady);
}

TEST(AdaptiveWait, KeepsTheDeadlineWhetherItSpinsOrBlocks) {
  FdPair pair = *OpenSocketPair();
  AdaptiveWait wait;
  for (int i = 0; i < 10; ++i) {
    const SteadyTime deadline = steady_clock::now() + milliseconds(2);
    EXPECT_EQ(wait.Wait(pair.first.get(), -1, -1, deadline), Outcome::kDeadline);
    EXPECT_GE(steady_clock::now(), deadline);
  }
}

TEST(AdaptiveWait, AReplyThatComesLateStillEndsIt) {
  FdPair pair = *OpenSocketPair();
  AdaptiveWait wait;
  // One end waits for the other by turns, so that each wait is longer than a spin now and then.
  std::thread echo([&pair] {
    char byte;
    AdaptiveWait wait;
    for (int i = 0; i < 1000; ++i) {
      wait.Wait(pair.second.get(), -1, -1, Never());
      ASSERT_EQ(read(pair.second.get(), &byte, 1), 1);
      ASSERT_EQ(write(pair.second.get(), &byte, 1), 1);
    }
  });
  char byte = 'x';
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(write(pair.first.get(), &byte, 1), 1);
    EXPECT_EQ(wait.Wait(pair.first.get(), -1, -1, Never()), Outcome::kReady);
    ASSERT_EQ(read(pair.first.get(), &byte, 1), 1);
  }
  echo.join();
}

}  // namespace
}  // namespace snakepit
