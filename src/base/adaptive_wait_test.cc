#include "src/base/adaptive_wait.h"

#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "src/base/fd.h"
#include "src/base/wakeup.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Outcome = AdaptiveWait::Outcome;

Outcome WaitToRead(AdaptiveWait& wait, int fd,
                   std::optional<steady_clock::time_point> deadline = {}) {
  pollfd entries[] = {{.fd = fd, .events = POLLIN, .revents = 0}};
  return wait.Wait(entries, deadline);
}

TEST(AdaptiveWait, ReturnsWhenThereIsSomethingToRead) {
  FdPair pair = *OpenSocketPair();
  ASSERT_EQ(write(pair.second.get(), "x", 1), 1);
  AdaptiveWait wait;
  EXPECT_EQ(WaitToRead(wait, pair.first.get()), Outcome::kReady);
}

TEST(AdaptiveWait, ReturnsWhenThePeerCloses) {
  FdPair pair = *OpenSocketPair();
  pair.second.Reset();
  AdaptiveWait wait;
  EXPECT_EQ(WaitToRead(wait, pair.first.get()), Outcome::kReady);
}

TEST(AdaptiveWait, SaysWhichOfSeveralIsReady) {
  FdPair pair = *OpenSocketPair();
  const Wakeup wakeup;
  pollfd entries[] = {{.fd = pair.first.get(), .events = POLLIN, .revents = 0},
                      {.fd = -1, .events = POLLOUT, .revents = 0},
                      {.fd = wakeup.fd(), .events = POLLIN, .revents = 0}};
  AdaptiveWait wait;
  wakeup.Wake();
  EXPECT_EQ(wait.Wait(entries), Outcome::kReady);
  EXPECT_EQ(entries[0].revents, 0);
  EXPECT_EQ(entries[1].revents, 0);
  EXPECT_NE(entries[2].revents, 0);
  wakeup.Clear();
  entries[1].fd = pair.first.get();  // has room to write
  EXPECT_EQ(wait.Wait(entries), Outcome::kReady);
  EXPECT_NE(entries[1].revents, 0);
  EXPECT_EQ(entries[2].revents, 0);
}

TEST(AdaptiveWait, KeepsTheDeadlineWhetherItSpinsOrBlocks) {
  FdPair pair = *OpenSocketPair();
  AdaptiveWait wait;
  for (int i = 0; i < 10; ++i) {
    const auto deadline = steady_clock::now() + milliseconds(2);
    EXPECT_EQ(WaitToRead(wait, pair.first.get(), deadline), Outcome::kDeadline);
    EXPECT_GE(steady_clock::now(), deadline);
  }
}

TEST(AdaptiveWait, BlocksWithoutUsingTheProcessor) {
  FdPair pair = *OpenSocketPair();
  AdaptiveWait wait;
  timespec before{}, after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  EXPECT_EQ(WaitToRead(wait, pair.first.get(), steady_clock::now() + milliseconds(200)),
            Outcome::kDeadline);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const auto used_ns =
      (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
  EXPECT_LT(used_ns, 10'000'000);
}

TEST(AdaptiveWait, AReplyThatComesLateStillEndsIt) {
  FdPair pair = *OpenSocketPair();
  AdaptiveWait wait;
  // Each end waits for the other in turn, so that some waits are longer than a spin.
  std::thread echo([&pair] {
    char byte;
    AdaptiveWait wait;
    for (int i = 0; i < 1000; ++i) {
      WaitToRead(wait, pair.second.get());
      ASSERT_EQ(read(pair.second.get(), &byte, 1), 1);
      ASSERT_EQ(write(pair.second.get(), &byte, 1), 1);
    }
  });
  char byte = 'x';
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(write(pair.first.get(), &byte, 1), 1);
    EXPECT_EQ(WaitToRead(wait, pair.first.get()), Outcome::kReady);
    ASSERT_EQ(read(pair.first.get(), &byte, 1), 1);
  }
  echo.join();
}

}  // namespace
}  // namespace snakepit
