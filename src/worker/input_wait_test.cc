#include "src/worker/input_wait.h"

#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "src/base/fd.h"
#include "src/worker/wakeup.h"

namespace snakepit {
namespace {

TEST(InputWaitTest, SaysWhichCanBeRead) {
  auto pipe = OpenPipe();
  const Wakeup wakeup;
  InputWait wait;
  wakeup.Wake();
  EXPECT_FALSE(wait.Wait(pipe->first.get(), wakeup.fd()));
  wakeup.Clear();
  ASSERT_EQ(write(pipe->second.get(), "x", 1), 1);
  EXPECT_TRUE(wait.Wait(pipe->first.get(), wakeup.fd()));
  char byte;
  ASSERT_EQ(read(pipe->first.get(), &byte, 1), 1);
  // Closed by its peer, which the read will say.
  pipe->second.Reset();
  EXPECT_TRUE(wait.Wait(pipe->first.get(), wakeup.fd()));
}

TEST(InputWaitTest, BlocksWithoutUsingTheProcessor) {
  auto pipe = OpenPipe();
  const Wakeup wakeup;
  std::jthread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    wakeup.Wake();
  });
  timespec before{}, after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  EXPECT_FALSE(InputWait().Wait(pipe->first.get(), wakeup.fd()));
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const auto used_ns =
      (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
  EXPECT_LT(used_ns, 10'000'000);
}

}  // namespace
}  // namespace snakepit
