#include "src/transport/stdio/frame_channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>

namespace snakepit {
namespace {

using Kind = FrameChannel::Progress::Kind;

class FrameChannelTest : public ::testing::Test {
 protected:
  FrameChannelTest() {
    FdPair input = *OpenSocketPair();
    FdPair output = *OpenSocketPair();
    worker_stdin_ = std::move(input.second);
    worker_stdout_ = std::move(output.second);
    channel_.emplace(std::move(input.first), std::move(output.first), 1 << 20);
  }

  void WorkerWrites(std::string_view bytes) {
    ASSERT_EQ(write(worker_stdout_.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }

  void Send(std::string frames) {
    channel_->Append(&frames);
    EXPECT_TRUE(frames.empty());
    channel_->Flush();
  }

  UniqueFd worker_stdin_;
  UniqueFd worker_stdout_;
  std::optional<FrameChannel> channel_;
};

TEST_F(FrameChannelTest, BlocksWhileNothingHasCome) {
  const FrameChannel::Progress progress = channel_->Receive();
  EXPECT_EQ(progress.kind, Kind::kBlocked);
}

TEST_F(FrameChannelTest, GivesFramesThatCameTogetherOneByOne) {
  WorkerWrites(std::string("\0\0\0\1a\0\0\0\2bc", 11));
  EXPECT_EQ(channel_->Receive().payload, "a");
  EXPECT_EQ(channel_->Receive().payload, "bc");
  EXPECT_EQ(channel_->Receive().kind, Kind::kBlocked);
}

TEST_F(FrameChannelTest, WhatTheSocketDoesNotTakeIsSentLater) {
  const std::string large(4 << 20, 'x');
  Send(large);
  EXPECT_TRUE(channel_->has_unsent());
  EXPECT_EQ(channel_->appended(), large.size());
  EXPECT_GT(channel_->sent(), 0u);
  EXPECT_LT(channel_->sent(), large.size());
  const std::string larger(5 << 20, 'y');
  Send("the next");
  Send(" frames, ");
  Send(larger);
  Send("the last");
  const std::string all = large + "the next frames, " + larger + "the last";
  EXPECT_EQ(channel_->appended(), all.size());
  std::string received;
  std::string buffer(1 << 20, '\0');
  while (received.size() < all.size()) {
    const ssize_t n = read(worker_stdin_.get(), buffer.data(), buffer.size());
    ASSERT_GT(n, 0);
    received.append(buffer.data(), n);
    channel_->Flush();
  }
  EXPECT_TRUE(received == all);
  EXPECT_FALSE(channel_->has_unsent());
  EXPECT_EQ(channel_->sent(), all.size());
}

TEST_F(FrameChannelTest, OneFlushSendsALimitedPartToAWorkerThatReads) {
  const std::string large(64 << 20, 'x');
  std::thread worker([&] {
    std::string buffer(1 << 20, '\0');
    for (size_t left = large.size(); left > 0;) {
      const ssize_t n = read(worker_stdin_.get(), buffer.data(), buffer.size());
      if (n <= 0) return;
      left -= static_cast<size_t>(n);
    }
  });
  uint64_t sent = 0;
  Send(large);
  while (channel_->has_unsent()) {
    EXPECT_LE(channel_->sent() - sent, FrameChannel::kMostAFlush);
    sent = channel_->sent();
    channel_->Flush();
  }
  EXPECT_LE(channel_->sent() - sent, FrameChannel::kMostAFlush);
  worker.join();
}

TEST_F(FrameChannelTest, AWorkerThatClosesOnlyItsStdoutIsNoticed) {
  worker_stdout_.Reset();
  const FrameChannel::Progress progress = channel_->Receive();
  EXPECT_EQ(progress.kind, Kind::kClosed);
  EXPECT_EQ(progress.error.code, ErrorCode::kWorkerLost);
}

TEST_F(FrameChannelTest, AReplyIsReadThoughTheWorkerTakesNoMoreInput) {
  WorkerWrites(std::string("\0\0\0\1a", 5));
  worker_stdin_.Reset();
  Send("request");
  const FrameChannel::Progress progress = channel_->Receive();
  EXPECT_EQ(progress.kind, Kind::kPayload);
  EXPECT_EQ(progress.payload, "a");
  EXPECT_EQ(channel_->Receive().kind, Kind::kClosed);
}

TEST_F(FrameChannelTest, AnEndInTheMiddleOfAFrameSaysWhatCame) {
  WorkerWrites(std::string("\0\0\0\7abc", 7));
  worker_stdout_.Reset();
  const FrameChannel::Progress progress = channel_->Receive();
  EXPECT_EQ(progress.kind, Kind::kClosed);
  EXPECT_NE(progress.error.message.find("abc"), std::string::npos) << progress.error.message;
}

TEST_F(FrameChannelTest, WhatIsNoFrameIsAProtocolError) {
  WorkerWrites("hello\n");
  const FrameChannel::Progress progress = channel_->Receive();
  EXPECT_EQ(progress.kind, Kind::kBroken);
  EXPECT_EQ(progress.error.code, ErrorCode::kProtocolError);
  EXPECT_NE(progress.error.message.find("hello"), std::string::npos) << progress.error.message;
}

TEST_F(FrameChannelTest, AbortLetsWhatHasArrivedBeReadFirst) {
  WorkerWrites(std::string("\0\0\0\1a", 5));
  channel_->Abort();
  EXPECT_EQ(channel_->Receive().payload, "a");
  EXPECT_EQ(channel_->Receive().kind, Kind::kClosed);
}

TEST_F(FrameChannelTest, TheWorkerSeesTheEndOfItsInput) {
  channel_->EndInput();
  char byte;
  EXPECT_EQ(read(worker_stdin_.get(), &byte, 1), 0);
}

}  // namespace
}  // namespace snakepit
