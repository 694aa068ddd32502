#include "src/transport/grpc/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include "src/transport/grpc/testing/descriptors.h"
#include "src/transport/grpc/testing/listener.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using testing::HearAll;
using testing::kSettings;
using testing::Listener;
using testing::Say;

// Longest wait for an event that must come, on a loaded machine too.
constexpr std::chrono::seconds kLimit{60};

TEST(OpeningOf, IsASettingsFrameOrTheBeginningOfOne) {
  for (size_t size = 0; size < kSettings.size(); ++size) {
    EXPECT_EQ(OpeningOf(kSettings.substr(0, size)), ServerOpening::kTooFew) << size;
  }
  EXPECT_EQ(OpeningOf(kSettings), ServerOpening::kHttp2);
  EXPECT_EQ(OpeningOf(std::string("\0\0\x12\4\0\0\0\0\0\0\3", 11)), ServerOpening::kHttp2);
}

TEST(OpeningOf, AnythingElseIsSeenAsSoonAsItCanBe) {
  const std::string others[] = {"H",
                                "SSH-2.0",
                                std::string("\0\0\0\x1f{", 5),
                                std::string("\0\0\5\4", 4),             // half a setting
                                std::string("\0\0\0\4\1", 5),           // nobody has asked for it
                                std::string("\0\0\0\4\0\0\0\0\1", 9),   // on a stream
                                std::string("\0\0\0\7\0\0\0\0\0", 9)};  // GOAWAY
  for (const std::string& other : others)
    EXPECT_EQ(OpeningOf(other), ServerOpening::kOther) << other;
}

class GrpcProbeTest : public ::testing::Test {
 protected:
  struct Served {
    GrpcAddress address;
    UniqueFd fd;
  };

  // The end of the probe, while `server` plays the program at the address.
  Result<Served> Probe(std::optional<GrpcAddress> address, const std::function<void()>& server,
                       milliseconds limit = kLimit, pid_t worker = getpid()) {
    std::thread playing(server);
    std::optional<Result<Served>> result;
    probe_ = std::make_shared<GrpcProbe>(io_, std::move(address), WorkerFolder(), "");
    probe_->Start(
        std::make_shared<GrpcPeerCheck>(worker, ""), steady_clock::now() + limit,
        [&](const GrpcAddress& found, UniqueFd fd) {
          result = Served{found, std::move(fd)};
        },
        [&](Error error) { result = Fail(std::move(error)); });
    if (on_started_) on_started_();
    io_.run();
    playing.join();
    if (result) return std::move(*result);
    return Fail(ErrorCode::kInternal, "neither");
  }

  Error FailureOf(const std::function<void()>& server, milliseconds limit = kLimit) {
    const auto served = Probe(listener_.address(), server, limit);
    EXPECT_FALSE(served);
    return served ? Error{} : served.error();
  }

  asio::io_context io_;
  std::shared_ptr<GrpcProbe> probe_;
  std::function<void()> on_started_;
  Listener listener_;
};

TEST_F(GrpcProbeTest, GivesTheConnectionOnWhichHttp2IsSpokenAndSendsNothingOnIt) {
  UniqueFd accepted;
  auto served = Probe(listener_.address(), [&] {
    accepted = listener_.Accept();
    Say(accepted, kSettings);
  });
  ASSERT_TRUE(served) << served.error().ToString();
  EXPECT_EQ(served->address, listener_.address());
  char bytes[64];
  EXPECT_EQ(recv(served->fd.get(), bytes, sizeof bytes, 0), 9) << "they are left for gRPC";
  served->fd.Reset();
  EXPECT_EQ(HearAll(accepted), "");
}

TEST_F(GrpcProbeTest, AWorkerMayGetTheConnectionFromTheOneThatAccepts) {
  testing::Taker worker;
  const Listener listener;  // which the worker has not
  UniqueFd accepted;
  // It looks at what was said in between, on the io thread.
  const std::function<void(int)> hand_on = [&](int after) {
    if (after == 0) return worker.Take(std::move(accepted));
    asio::post(io_, [&, after] { hand_on(after - 1); });
  };
  auto served = Probe(
      listener.address(),
      [&] {
        accepted = UniqueFd(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
        Say(accepted, kSettings);
        asio::post(io_, [&] { hand_on(10); });
      },
      kLimit, worker.pid());
  EXPECT_TRUE(served) << served.error().ToString();
}

TEST_F(GrpcProbeTest, AServerMayWaitForItsClientToSpeak) {
  UniqueFd third;
  std::string heard;
  auto served = Probe(listener_.address(), [&] {
    const UniqueFd first = listener_.Accept();
    const UniqueFd second = listener_.Accept();
    char preface[33];
    testing::Require(recv(second.get(), preface, sizeof preface, MSG_WAITALL) == sizeof preface);
    heard.assign(preface, sizeof preface);
    Say(second, kSettings);
    third = listener_.Accept();
    HearAll(second);
  });
  ASSERT_TRUE(served) << served.error().ToString();
  EXPECT_EQ(heard.substr(0, 24), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  served->fd.Reset();
  EXPECT_EQ(HearAll(third), "");
}

TEST_F(GrpcProbeTest, ABeginningIsWaitedForToTheEnd) {
  UniqueFd accepted;
  auto served = Probe(listener_.address(), [&] {
    accepted = listener_.Accept();
    Say(accepted, kSettings.substr(0, 4));
    Say(accepted, kSettings.substr(4));
  });
  EXPECT_TRUE(served) << served.error().ToString();
}

TEST_F(GrpcProbeTest, WhatIsNoGrpcServerIsQuotedAtOnce) {
  const Error error = FailureOf([&] { Say(listener_.Accept(), "SSH-2.0-OpenSSH_9.2p1\r\n"); });
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr(listener_.address().Text()));
  EXPECT_THAT(error.message, HasSubstr("\"SSH-2.0-OpenSSH_9.2p1\\r\\n\""));
}

TEST_F(GrpcProbeTest, SoIsOneThatAnswersInHttp1OneAtATime) {
  const Error error = FailureOf([&] {
    HearAll(listener_.Accept());
    const UniqueFd second = listener_.Accept();
    char preface[33];
    testing::Require(recv(second.get(), preface, sizeof preface, MSG_WAITALL) == sizeof preface);
    Say(second, "HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr("\"HTTP/1.1 400 Bad Request"));
}

TEST_F(GrpcProbeTest, SilenceIsATimeoutThatSaysSo) {
  const Error error = FailureOf(
      [&] {
        const UniqueFd first = listener_.Accept();
        const UniqueFd second = listener_.Accept();
        HearAll(second);
      },
      milliseconds(600));
  EXPECT_EQ(error.code, ErrorCode::kStartTimeout);
  EXPECT_THAT(error.message, HasSubstr("nothing is said on it"));
}

TEST_F(GrpcProbeTest, AConnectionThatIsClosedIsTriedAgain) {
  UniqueFd accepted;
  auto served = Probe(listener_.address(), [&] {
    for (int i = 0; i < 3; ++i) listener_.Accept();
    accepted = listener_.Accept();
    Say(accepted, kSettings);
  });
  EXPECT_TRUE(served) << served.error().ToString();
}

TEST_F(GrpcProbeTest, AnotherThanTheWorkerGetsNotAByte) {
  std::string heard = "nothing was heard";
  const auto served = Probe(
      listener_.address(),
      [&] {
        const UniqueFd accepted = listener_.Accept();
        Say(accepted, kSettings);
        heard = HearAll(accepted);
      },
      kLimit, /*worker=*/1);
  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().code, ErrorCode::kStartFailed);
  EXPECT_THAT(served.error().message, HasSubstr("is not known to be the worker"));
  EXPECT_EQ(heard, "");
}

TEST_F(GrpcProbeTest, AnAnnouncementCorrectsTheAddress) {
  const Listener silent;
  UniqueFd accepted;
  on_started_ = [&] { probe_->Announce(listener_.address()); };
  auto served = Probe(silent.address(), [&] {
    accepted = listener_.Accept();
    Say(accepted, kSettings);
  });
  ASSERT_TRUE(served) << served.error().ToString();
  EXPECT_EQ(served->address, listener_.address());
}

TEST_F(GrpcProbeTest, AnAnnouncementThatCannotBeIsTheEndOfTheStart) {
  on_started_ = [&] { probe_->Announce(Fail(ErrorCode::kStartFailed, "too long")); };
  const auto served = Probe(std::nullopt, [] {});
  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().message, "too long");
}

TEST_F(GrpcProbeTest, NothingIsToldAfterItWasStopped) {
  on_started_ = [&] { probe_->Stop(); };
  const auto served = Probe(listener_.address(), [] {});
  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().code, ErrorCode::kInternal);
}

TEST_F(GrpcProbeTest, WithoutAnAddressItSaysWhereOneIsLookedFor) {
  const auto served = Probe(
      std::nullopt, [] {}, milliseconds(50));
  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().code, ErrorCode::kStartTimeout);
  EXPECT_THAT(served.error().message, HasSubstr("SNAKEPIT_READY_FILE"));
}

}  // namespace
}  // namespace snakepit
