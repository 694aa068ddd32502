#include "src/base/held_signal.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "src/base/fd.h"

namespace snakepit {
namespace {

int handled = 0;

class HeldSignalTest : public testing::Test {
 protected:
  void SetUp() override {
    handled = 0;
    signal(SIGPIPE, [](int) { ++handled; });
    pipe_ = std::move(*OpenPipe());
    pipe_.first.Reset();
  }
  void TearDown() override { signal(SIGPIPE, SIG_DFL); }

  void WriteToNobody() {
    EXPECT_EQ(write(pipe_.second.get(), "x", 1), -1);
    EXPECT_EQ(errno, EPIPE);
  }

  FdPair pipe_;
};

TEST_F(HeldSignalTest, TheProgramSeesNoSignalAndKeepsItsHandler) {
  {
    const HeldSignal held(SIGPIPE);
    WriteToNobody();
  }
  EXPECT_EQ(handled, 0);
  WriteToNobody();
  EXPECT_EQ(handled, 1);
}

TEST_F(HeldSignalTest, ErrnoIsThatOfTheCall) {
  {
    const HeldSignal held(SIGPIPE);
    errno = EFBIG;
  }
  EXPECT_EQ(errno, EFBIG);
}

TEST_F(HeldSignalTest, APendingSignalStaysPending) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &set, &before);
  raise(SIGPIPE);
  {
    const HeldSignal held(SIGPIPE);
    WriteToNobody();
  }
  EXPECT_EQ(handled, 0);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(handled, 1);
}

}  // namespace
}  // namespace snakepit
