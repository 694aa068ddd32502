#include "src/transport/stdio/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>

#include "src/base/fd.h"
#include "src/transport/stdio/testing/fixture.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

// The io_context runs on the thread of the test, until the handshake has ended or waits.
class StdioHandshakeTest : public ::testing::Test {
 protected:
  StdioHandshakeTest() {
    FdPair input = *OpenSocketPair();
    FdPair output = *OpenSocketPair();
    channel_ = std::make_shared<FrameChannel>(std::move(input.first), std::move(output.first),
                                              kMaxTestFrameBytes);
    peer_.emplace(std::move(input.second), std::move(output.second));
  }

  void Begin(StdioTransport options = {}, SteadyTime deadline = In(seconds(20))) {
    ConnectStdio(io_, channel_, options, SIZE_MAX, "worker_7", seconds(1), deadline,
                 [this](auto result) { result_ = std::move(result); });
  }
  void Answer(const Agreement& agreement) {
    peer_->agreement = agreement;
    std::string frame;
    EncodeAnswerFrame(agreement, &frame);
    peer_->Send(frame);
  }
  // The offer, answered by a worker of version 2.
  void Agree() {
    Begin();
    const auto opening = DecodeOpening(*peer_->ReadPayload());
    ASSERT_TRUE(opening && opening->offer);
    Answer(AgreeTo(*opening->offer));
    while (!peer_->HasMessage(milliseconds(0))) ASSERT_GT(io_.run_one(), 0u);
  }
  Error End() {
    while (!result_ && io_.run_one() > 0) {
    }
    EXPECT_TRUE(result_ && !*result_);
    return result_ && !*result_ ? result_->error() : Error();
  }

  asio::io_context io_;
  std::shared_ptr<FrameChannel> channel_;
  std::optional<StdioPeer> peer_;
  std::optional<Result<std::shared_ptr<Connection>>> result_;
};

TEST_F(StdioHandshakeTest, EndsWithTheFirstPing) {
  Agree();
  const PoolMessage ping = peer_->Read();
  EXPECT_EQ(ping.command, "ping");
  EXPECT_FALSE(result_);
  peer_->Result(ping.id, Value::Map{{"status", "ok"}});
  io_.run();
  ASSERT_TRUE(result_ && *result_);
  EXPECT_EQ((**result_)->agreement().version, 2);
}

TEST_F(StdioHandshakeTest, WithAFixedCodecThereIsNoOffer) {
  Begin({.codecs = {Codec::kMessagePack}, .negotiate = false});
  peer_->agreement = {.codec = Codec::kMessagePack};
  const PoolMessage ping = peer_->Read();
  EXPECT_EQ(ping.command, "ping");
  peer_->Result(ping.id, Value::Map{{"status", "ok"}});
  io_.run();
  ASSERT_TRUE(result_ && *result_);
  EXPECT_EQ((**result_)->agreement().version, 1);
}

TEST_F(StdioHandshakeTest, APingThatIsNotOkIsAFailedStart) {
  Agree();
  peer_->Result(peer_->Read().id, Value::Map{{"status", "not yet"}});
  const Error error = End();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr("not yet"));
}

TEST_F(StdioHandshakeTest, AWorkerThatHasEndedIsNoticedAtOnce) {
  peer_->Close();
  Begin();
  ASSERT_TRUE(result_) << "without the io_context";
  EXPECT_EQ(End().code, ErrorCode::kWorkerLost);
}

TEST_F(StdioHandshakeTest, SilenceIsATimeout) {
  Begin({}, In(milliseconds(20)));
  const Error error = End();
  EXPECT_EQ(error.code, ErrorCode::kStartTimeout);
  EXPECT_THAT(error.message, HasSubstr("did not answer the handshake"));
}

TEST_F(StdioHandshakeTest, AnAnswerThatIsNoFrameIsAProtocolError) {
  Begin();
  peer_->Send("\xff\xff\xff\xff");
  EXPECT_EQ(End().code, ErrorCode::kProtocolError);
}

TEST_F(StdioHandshakeTest, AnAbortEndsItAtOnce) {
  Begin();
  channel_->Abort();
  EXPECT_EQ(End().code, ErrorCode::kWorkerLost);
}

}  // namespace
}  // namespace snakepit
