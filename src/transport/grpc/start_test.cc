// The start of a connection over gRPC: health, the version, the token. PROTOCOL.md 4.2, 6.11.2 and
// 6.13.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <thread>

#include "src/transport/grpc/handshake.h"
#include "src/transport/grpc/testing/fixture.h"
#include "src/transport/grpc/testing/listener.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using testing::FakeWorker;
using ::testing::HasSubstr;
using testing::kToken;
using ::testing::Not;
using testing::Soon;
using GrpcStartTest = testing::GrpcConnectionTest;

TEST_F(GrpcStartTest, AgreesOnVersion2WithAWorkerThatSpeaksIt) {
  worker_.info.add_features("teleport");
  worker_.info.set_max_message_bytes(1 << 20);
  const Agreement& agreement = Connect().agreement();
  EXPECT_EQ(agreement.version, 2);
  EXPECT_TRUE(agreement.stream);
  EXPECT_TRUE(agreement.session);
  EXPECT_EQ(agreement.capacity, 8);
  EXPECT_EQ(agreement.max_frame_bytes, 1u << 20);
  EXPECT_EQ(agreement.worker_id, "fake");
  const InfoRequest offer = worker_.seen().info_request;
  EXPECT_EQ(offer.protocol_version(), 2);
  EXPECT_THAT(offer.features(), ElementsAre("stream", "session"));
  EXPECT_EQ(offer.max_message_bytes(), 64 << 20);
}

TEST_F(GrpcStartTest, WhatVersion2DoesNotSayHasItsDefault) {
  worker_.info.Clear();
  worker_.info.set_protocol_version(2);
  peer_.options.max_message_bytes = 2 << 20;
  const Agreement& agreement = Connect().agreement();
  EXPECT_FALSE(agreement.stream);
  EXPECT_FALSE(agreement.session);
  EXPECT_EQ(agreement.capacity, 1);
  EXPECT_EQ(agreement.max_frame_bytes, 2u << 20);
}

TEST_F(GrpcStartTest, AnAnswerWithoutAVersionMeansVersion1) {
  worker_.info.set_protocol_version(0);
  const Agreement& agreement = Connect().agreement();
  EXPECT_EQ(agreement.version, 1);
  EXPECT_TRUE(agreement.stream);
  EXPECT_EQ(agreement.capacity, 1);
}

class FailedInfoTest : public GrpcStartTest,
                       public ::testing::WithParamInterface<grpc::StatusCode> {};

TEST_P(FailedInfoTest, MeansVersion1) {
  worker_.info_status = {GetParam(), "what?"};
  EXPECT_EQ(Connect().agreement().version, 1);
}

INSTANTIATE_TEST_SUITE_P(All, FailedInfoTest,
                         ::testing::Values(grpc::StatusCode::UNIMPLEMENTED,
                                           grpc::StatusCode::UNKNOWN,
                                           grpc::StatusCode::UNAVAILABLE));

TEST_F(GrpcStartTest, AGetInfoThatIsRefusedAsBusyIsAskedAgain) {
  worker_.info_refusals = 3;
  EXPECT_EQ(Connect().agreement().version, 2);
  EXPECT_EQ(worker_.seen().Count("GetInfo"), 4);
}

struct BadInfo {
  const char* name;
  std::function<void(InfoResponse*)> spoil;
  const char* text;
};

class BadInfoTest : public GrpcStartTest, public ::testing::WithParamInterface<BadInfo> {};

TEST_P(BadInfoTest, IsAProtocolError) {
  GetParam().spoil(&worker_.info);
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kProtocolError);
  EXPECT_THAT(error.message, HasSubstr(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadInfoTest,
    ::testing::Values(
        BadInfo{"Version3", [](auto* info) { info->set_protocol_version(3); },
                "version 3 of the protocol, this pool versions 1 to 2"},
        BadInfo{"VersionBelow0", [](auto* info) { info->set_protocol_version(-1); },
                "version -1 of the protocol, this pool versions 1 to 2"},
        BadInfo{"CapacityBelow0", [](auto* info) { info->set_capacity(-1); }, "not -1"},
        BadInfo{"CapacityTooLarge", [](auto* info) { info->set_capacity(65537); }, "not 65537"},
        BadInfo{"MessagesTooSmall", [](auto* info) { info->set_max_message_bytes(1023); },
                "not 1023"},
        BadInfo{"MessagesBelow0", [](auto* info) { info->set_max_message_bytes(-5); }, "not -5"},
        BadInfo{"MessagesTooLarge", [](auto* info) { info->set_max_message_bytes(1LL << 31); },
                "not 2147483648"}),
    [](const auto& info) { return info.param.name; });

TEST_F(GrpcStartTest, TheEndsOfTheRangesAreWithin) {
  worker_.info.set_capacity(65536);
  worker_.info.set_max_message_bytes(1024);
  const Agreement& agreement = Connect().agreement();
  EXPECT_EQ(agreement.capacity, 65536);
  EXPECT_EQ(agreement.max_frame_bytes, 1024u);
}

TEST_F(GrpcStartTest, AnUnhealthyWorkerHasNotStarted) {
  worker_.healthy = false;
  EXPECT_EQ(StartError().code, ErrorCode::kStartFailed);
}

TEST_F(GrpcStartTest, AGetInfoWithoutAnAnswerIsAStartTimeout) {
  worker_.Hold("GetInfo", true);
  auto connection = Start(steady_clock::now() + milliseconds(500));
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kStartTimeout);
  EXPECT_THAT(connection.error().message, HasSubstr("GetInfo"));
}

TEST_F(GrpcStartTest, AStartCanBeCancelledWhileItAsks) {
  for (const char* method : {"Health", "GetInfo"}) {
    FakeWorker worker;
    worker.Hold(method, true);
    UniqueFd connected = ConnectTo(worker.Serve());
    std::promise<Result<std::shared_ptr<Connection>>> ready;
    auto cancel = ConnectGrpc(io_, peer_, std::move(connected), Soon(),
                              [&ready](auto result) { ready.set_value(result); });
    ASSERT_TRUE(worker.WaitForCount(method, 1));
    cancel();
    auto connection = ready.get_future().get();
    ASSERT_FALSE(connection) << method;
    EXPECT_EQ(connection.error().code, ErrorCode::kStartFailed) << method;
  }
}

TEST_F(GrpcStartTest, CancellingAStartThatIsThroughChangesNothing) {
  Connection& connection = Connect();
  cancel_start_();
  EXPECT_TRUE(connection.Call(Request("echo")).result);
}

TEST_F(GrpcStartTest, AWorkerThatRefusesTheTokenHasNotStarted) {
  worker_.token = "another";
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.ToString(), HasSubstr("SNAKEPIT_TOKEN"));
  EXPECT_THAT(error.ToString(), Not(HasSubstr(kToken)));
}

TEST_F(GrpcStartTest, TheTokenGoesWithEveryRpc) {
  worker_.token = kToken;
  Connection& connection = Connect();
  EXPECT_EQ(connection.agreement().version, 2);
  CallRequest request = Request("echo");
  EXPECT_TRUE(connection.Call(request).result);
  EXPECT_TRUE(CallAsync(connection, request).result);
  request.session_id = "s1";
  EXPECT_TRUE(connection.Call(request).result);
  EXPECT_TRUE(CallAsync(connection, request).result);
  const Value one = Value::Map{{"n", 1}};
  CallRequest stream = Request("count", one);
  EXPECT_TRUE(connection.Stream(stream, [](const Chunk&) { return true; }).result);
  stream.session_id = "s1";
  EXPECT_TRUE(connection.Stream(stream, [](const Chunk&) { return true; }).result);
  EXPECT_TRUE(CheckHealth(connection));
  connection.EndSession("s1");
  EXPECT_TRUE(worker_.WaitUntil([](const auto& seen) { return !seen.ended_sessions.empty(); }));
  // Health for a call that was given up has the token, too.
  std::stop_source stop;
  CallRequest held = Releasable("hold");
  held.stop = stop.get_token();
  std::thread stopper([&] {
    worker_.WaitForRunning(1);
    stop.request_stop();
  });
  EXPECT_EQ(connection.Call(held).after, AfterCall::kAbandoned);
  stopper.join();
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

// --- Peers that are no workers -----------------------------------------------------------------

std::string Frame(char type, char flags, char stream, std::string_view payload) {
  const char header[] = {0,
                         static_cast<char>(payload.size() >> 8),
                         static_cast<char>(payload.size()),
                         type,
                         flags,
                         0,
                         0,
                         0,
                         stream};
  return std::string(header, sizeof header) + std::string(payload);
}

// Speaks HTTP/2 as the test says.
class HandmadePeerTest : public GrpcStartTest {
 protected:
  ~HandmadePeerTest() override {
    if (peer_thread_.joinable()) peer_thread_.join();
  }

  std::string Serve() override {
    peer_thread_ = std::thread([this] {
      const UniqueFd fd = listener_.Accept();
      testing::Say(fd, testing::kSettings);
      play_(fd);
      testing::HearAll(fd);
    });
    return listener_.address().Text();
  }

  // Returns when the headers of the first request have come; all before is let go.
  static void AwaitRequest(const UniqueFd& fd) {
    const auto read = [&fd](size_t size) {
      std::string bytes(size, 0);
      testing::Require(recv(fd.get(), bytes.data(), size, MSG_WAITALL) ==
                       static_cast<ssize_t>(size));
      return bytes;
    };
    read(24);  // the preface
    for (;;) {
      const std::string header = read(9);
      const auto at = [&header](size_t i) { return static_cast<unsigned char>(header[i]); };
      if (const size_t size = at(0) << 16 | at(1) << 8 | at(2)) read(size);
      if (at(3) == 1) return;
    }
  }

  testing::Listener listener_;
  std::function<void(const UniqueFd&)> play_;
  std::thread peer_thread_;
};

TEST_F(HandmadePeerTest, OneThatServesHttp2AndNotGrpcIsNamed) {
  for (const char* headers : {"\x8d", "\x88"}) {  // :status 404 and 200. RFC 7541, appendix A
    if (peer_thread_.joinable()) peer_thread_.join();
    play_ = [headers](const UniqueFd& fd) {
      AwaitRequest(fd);
      testing::Say(fd, Frame(/*HEADERS*/ 1, /*END_HEADERS, END_STREAM*/ 5, 1, headers));
    };
    const Error error = StartError();
    EXPECT_EQ(error.code, ErrorCode::kStartFailed);
    EXPECT_THAT(error.message, HasSubstr("it speaks HTTP/2, but does not answer as gRPC does"));
  }
}

TEST_F(HandmadePeerTest, OneThatSendsWithoutEndIsGivenUpLongBeforeTheLimit) {
  play_ = [](const UniqueFd& fd) {
    // Frames of a type that nobody knows are passed over. RFC 9113, 5.5
    const std::string frame = Frame(0x55, 0, 0, std::string(16'000, 'x'));
    // The system does not tell who waits for room at the other end that this has been closed.
    const timeval limit{.tv_sec = 1, .tv_usec = 0};
    testing::Require(setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    while (send(fd.get(), frame.data(), frame.size(), MSG_NOSIGNAL) > 0) {
    }
  };
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr("sends and sends, and does not answer Health"));
}

TEST_F(HandmadePeerTest, OneThatIsSilentIsATimeout) {
  play_ = [](const UniqueFd&) {};
  const auto connection = Start(steady_clock::now() + milliseconds(300));
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.error().code, ErrorCode::kStartTimeout);
  EXPECT_THAT(connection.error().message, HasSubstr("did not answer Health"));
}

}  // namespace
}  // namespace snakepit
