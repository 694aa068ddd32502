#include "src/transport/stdio/pump.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <thread>

#include "src/base/fd.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Counts its turns. The io_context runs out of work when the pump waits for nothing.
struct Turns : StdioPump::User, std::enable_shared_from_this<Turns> {
  Turns(asio::io_context& io, const FrameChannel& channel) : pump(io, channel) {}

  void OnTurn() override {
    pump.BeginTurn();
    ++count;
  }

  StdioPump pump;
  int count = 0;
};

class StdioPumpTest : public ::testing::Test {
 protected:
  StdioPumpTest() : input_(*OpenSocketPair()), output_(*OpenSocketPair()) {}

  asio::io_context io_;
  FdPair input_;
  FdPair output_;
  FrameChannel channel_{std::move(input_.first), std::move(output_.first), 1 << 20};
  std::shared_ptr<Turns> turns_ = std::make_shared<Turns>(io_, channel_);
};

TEST_F(StdioPumpTest, ATurnIsRequestedOnceUntilItBegins) {
  for (int i = 0; i < 3; ++i) turns_->pump.RequestTurn(turns_);
  io_.run();
  EXPECT_EQ(turns_->count, 1);
  turns_->pump.RequestTurn(turns_);
  io_.restart();
  io_.run();
  EXPECT_EQ(turns_->count, 2);
}

TEST_F(StdioPumpTest, ATurnComesWithSomethingToRead) {
  turns_->pump.WaitForChannel(turns_);
  turns_->pump.WaitForChannel(turns_);  // waits already
  ASSERT_EQ(send(output_.second.get(), "x", 1, 0), 1);
  io_.run();
  EXPECT_EQ(turns_->count, 1);
}

TEST_F(StdioPumpTest, ATurnComesWithRoomForWhatIsUnsent) {
  std::string frames(4 << 20, 'x');
  channel_.Append(&frames);
  channel_.Flush();
  ASSERT_TRUE(channel_.has_unsent());
  turns_->pump.WaitForChannel(turns_);
  EXPECT_EQ(io_.poll(), 0u) << "there is none yet";
  std::string taken(8 << 20, '\0');
  while (turns_->count == 0) {
    ASSERT_GT(recv(input_.second.get(), taken.data(), taken.size(), 0), 0);
    io_.poll();
  }
}

TEST_F(StdioPumpTest, AReleasedChannelIsWaitedForNoMore) {
  turns_->pump.WaitForChannel(turns_);
  turns_->pump.Release();
  ASSERT_EQ(send(output_.second.get(), "x", 1, 0), 1);
  io_.run();
  EXPECT_EQ(turns_->count, 0);
  io_.restart();
  turns_->pump.WaitForChannel(turns_);
  io_.run();
  EXPECT_EQ(turns_->count, 1);
}

TEST_F(StdioPumpTest, TheLastTimeThatWasSetCounts) {
  const SteadyTime now = steady_clock::now();
  turns_->pump.SetTimer(now + std::chrono::hours(1), turns_);
  turns_->pump.SetTimer(now, turns_);
  turns_->pump.SetTimer(now, turns_);
  io_.run();
  EXPECT_EQ(turns_->count, 1);
  io_.restart();
  turns_->pump.SetTimer(now + std::chrono::hours(1), turns_);
  turns_->pump.SetTimer(std::nullopt, turns_);
  io_.run();
  EXPECT_EQ(turns_->count, 1);
}

}  // namespace
}  // namespace snakepit
