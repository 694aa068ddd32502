// Replies over gRPC that cannot be read, and RPCs that end without one. PROTOCOL.md 4.1 and 4.4.5.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "src/transport/grpc/testing/fixture.h"
#include "src/transport/grpc/testing/raw_worker.h"

namespace snakepit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Into;

// A text that its writer has cut in the middle of an emoji.
constexpr char kHalfASurrogate[] = "failed on \xed\xa0\xbd";

// A field of a message: of at most 127 bytes, and with a number of at most 15.
std::string Field(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} +
         content;
}

std::string Entry(const std::string& key, const std::string& value) {
  return Field(1, key) + Field(2, value);
}

std::string ChunkMessage(bool final) {
  StreamResponse response;
  response.set_is_final(final);
  response.set_typed_chunk("\x01");
  return response.SerializeAsString();
}

class GrpcRepliesTest : public testing::GrpcConnectionTest {
 protected:
  GrpcRepliesTest() {
    HealthResponse health;
    health.set_healthy(true);
    raw_["Health"].messages = {health.SerializeAsString()};
    raw_["GetInfo"].messages = {worker_.info.SerializeAsString()};
  }

  std::string Serve() override { return raw_.Serve(); }

  // Both ways to make a call, and that they agree.
  Error CallBothWays(Connection& connection) {
    const auto sync = connection.Call(Request("any"));
    const auto async = CallAsync(connection, Request("any"));
    EXPECT_EQ(sync.after, AfterCall::kUsable);
    EXPECT_EQ(async.after, AfterCall::kUsable);
    if (sync.result || async.result) {
      ADD_FAILURE() << "it succeeded";
      return {};
    }
    EXPECT_EQ(sync.result.error().ToString(), async.result.error().ToString());
    EXPECT_TRUE(sync.result.error().may_have_run);
    EXPECT_TRUE(async.result.error().may_have_run);
    return sync.result.error();
  }

  CallOutcome<int64_t> Stream(Connection& connection) {
    return connection.Stream(Releasable("any"), Into(&chunks_));
  }

  testing::RawWorker raw_;
  std::vector<Chunk> chunks_;
};

TEST_F(GrpcRepliesTest, AReplyThatCannotBeReadIsAProtocolErrorThatSaysWhy) {
  struct Case {
    std::string reply;
    const char* text;
  };
  const std::string success = "\x08\x01";
  const Case cases[] = {
      {Field(3, kHalfASurrogate),
       "text that is not UTF-8 in `error`: \"failed on \uFFFD\uFFFD\uFFFD\""},
      {success + Field(2, Entry("a", "1")) + Field(2, Entry("\xff", "2")),
       "text that is not UTF-8 in `result.key`"},
      {success + Field(5, "\xff"), "text that is not UTF-8 in `request_id`"},
      {success + Field(2, "\x0a\x7f"), "bytes that are no protobuf message in `result`"},
      {success + "\x1a\x7f", "bytes that are no protobuf message: \"\\x08\\x01\\x1a\\x7f\""},
  };
  Connection& connection = Connect();
  for (const Case& c : cases) {
    raw_["Execute"].messages = {c.reply};
    const Error error = CallBothWays(connection);
    EXPECT_EQ(error.code, ErrorCode::kProtocolError);
    EXPECT_THAT(error.message, HasSubstr(c.text));
  }
}

TEST_F(GrpcRepliesTest, OkWithoutAReplyIsAProtocolError) {
  raw_["Execute"] = {};
  const Error error = CallBothWays(Connect());
  EXPECT_EQ(error.code, ErrorCode::kProtocolError);
  EXPECT_THAT(error.message, HasSubstr("without a reply"));
}

TEST_F(GrpcRepliesTest, AMethodThatIsNotThereIsStillUnimplemented) {
  const auto outcome = Connect().Call(Request("any"));  // there is no Execute
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kUnimplemented);
  EXPECT_FALSE(outcome.result.error().may_have_run);
}

TEST_F(GrpcRepliesTest, AnUnreadableLastMessageIsNotTheEndOfAStream) {
  raw_["ExecuteStream"].messages = {ChunkMessage(false), "\x08\x01" + Field(3, kHalfASurrogate)};
  const auto outcome = Stream(Connect());
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_THAT(outcome.result.error().message, HasSubstr("failed on \uFFFD"));
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(chunks_.size(), 1u);
}

TEST_F(GrpcRepliesTest, AnUnreadableMessageInMidStreamEndsItAtOnce) {
  raw_["ExecuteStream"] = {.messages = {ChunkMessage(false), Field(5, "\xff")}, .goes_on = true};
  const auto outcome = Stream(Connect());
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

TEST_F(GrpcRepliesTest, AGoodMessageAfterAnotherIsReadAnew) {
  raw_["ExecuteStream"].messages = {ChunkMessage(false), ChunkMessage(false), ChunkMessage(true)};
  EXPECT_EQ(*Stream(Connect()).result, 3);
}

TEST_F(GrpcRepliesTest, AHealthThatCannotBeReadIsAProtocolError) {
  Connection& connection = Connect();
  raw_["Health"].messages = {Field(2, "\xff")};
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kProtocolError);
  raw_["Health"].messages = {};
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kProtocolError);
}

TEST_F(GrpcRepliesTest, AWorkerWhoseFirstAnswersCannotBeReadDoesNotStart) {
  raw_["GetInfo"].messages = {Field(1, "\xff")};
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kProtocolError);
  EXPECT_THAT(error.message, HasSubstr("GetInfo: the worker's reply cannot be read: text that is "
                                       "not UTF-8 in `worker_type`"));
}

}  // namespace
}  // namespace snakepit
