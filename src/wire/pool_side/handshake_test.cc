#include "src/wire/pool_side/handshake.h"

#include <gtest/gtest.h>

#include <string>

#include "snakepit/value.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"

namespace snakepit {
namespace {

const Offer kBoth = {{Codec::kMessagePack, Codec::kJson}};
const Offer kJsonOnly = {{Codec::kJson}};
const Offer kMessagePackOnly = {{Codec::kMessagePack}};

std::string ErrorOf(std::string_view payload, const Offer& offer = kBoth) {
  const Result<Agreement> agreement = DecodeOfferReply(payload, offer);
  return agreement ? "none" : agreement.error().ToString();
}

TEST(OfferTest, IsTheLegacyNegotiationWithMoreFields) {
  std::string frame;
  EncodeOfferFrame(kBoth, &frame);
  FrameReader reader(1 << 20);
  const std::span<char> room = reader.Writable();
  frame.copy(room.data(), frame.size());
  reader.Commit(frame.size());
  const auto payload = reader.Next();
  ASSERT_TRUE(payload.has_value() && payload->has_value());
  EXPECT_TRUE(reader.empty());
  Value offer = Decode(Codec::kJson, 1, **payload).value();
  const std::string timestamp(offer.TextAt("timestamp"));
  ASSERT_EQ(timestamp.size(), 20u) << timestamp;
  EXPECT_EQ(timestamp[10], 'T');
  EXPECT_EQ(timestamp.back(), 'Z');
  offer.get_if<Value::Map>()->erase("timestamp");
  EXPECT_EQ(offer, Value(Value::Map{{"type", "protocol_negotiation"},
                                    {"supported", Value::Array{"msgpack", "json"}},
                                    {"preferred", "msgpack"},
                                    {"version", 2},
                                    {"features", Value::Array{"stream", "session"}},
                                    {"max_frame_bytes", 64 << 20}}));
}

TEST(OfferReplyTest, ALegacyWorkerThatNegotiates) {
  const Result<Agreement> agreement = DecodeOfferReply(
      R"({"type":"protocol_selected","protocol":"msgpack","timestamp":"x"})", kBoth);
  ASSERT_TRUE(agreement.has_value());
  EXPECT_EQ(agreement->codec, Codec::kMessagePack);
  EXPECT_EQ(agreement->version, 1);
  EXPECT_FALSE(agreement->stream);
  EXPECT_FALSE(agreement->session);
}

TEST(OfferReplyTest, AVersion2Worker) {
  const Result<Agreement> agreement = DecodeOfferReply(
      R"({"type":"protocol_selected","protocol":"json","version":2,"features":["stream","session","x"],"worker_id":"w3"})",
      kBoth);
  ASSERT_TRUE(agreement.has_value());
  EXPECT_EQ(agreement->codec, Codec::kJson);
  EXPECT_EQ(agreement->version, 2);
  EXPECT_TRUE(agreement->stream);
  EXPECT_TRUE(agreement->session);
  EXPECT_EQ(agreement->worker_id, "w3");
}

TEST(OfferReplyTest, TheWorkersLimitsAreItsOwnOrThePools) {
  const std::string answer = R"({"type":"protocol_selected","protocol":"json","version":2)";
  const Offer offer = {.codecs = {Codec::kJson}, .max_frame_bytes = 5000};
  for (const char* legacy : {R"({"type":"protocol_selected","protocol":"json"})", "{}"}) {
    EXPECT_EQ(DecodeOfferReply(legacy, offer)->max_frame_bytes, 5000u) << legacy;
  }
  const Result<Agreement> none = DecodeOfferReply(answer + "}", offer);
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->capacity, 1);
  EXPECT_EQ(none->max_frame_bytes, 5000u);
  const Result<Agreement> both =
      DecodeOfferReply(answer + R"(,"capacity":65536,"max_frame_bytes":2147483647})", offer);
  ASSERT_TRUE(both.has_value());
  EXPECT_EQ(both->capacity, 65'536);
  EXPECT_EQ(both->max_frame_bytes, 2147483647u);
  const Result<Agreement> least =
      DecodeOfferReply(answer + R"(,"capacity":1,"max_frame_bytes":1024})", offer);
  ASSERT_TRUE(least.has_value());
  EXPECT_EQ(least->max_frame_bytes, 1024u);
}

TEST(OfferReplyTest, ANumberOutOfItsRangeIsAnErrorOfVersion2) {
  const std::string answer = R"({"type":"protocol_selected","protocol":"json",)";
  for (const char* capacity : {"0", "65537", "-1", "1.0", "\"1\"", "null", "true"}) {
    const std::string member = std::string("\"capacity\":") + capacity + "}";
    EXPECT_NE(
        ErrorOf(answer + "\"version\":2," + member)
            .find("PROTOCOL_ERROR: handshake: the worker's `capacity` is not an integer from 1 "
                  "to 65536"),
        std::string::npos)
        << member;
    EXPECT_EQ(DecodeOfferReply(answer + member, kBoth)->capacity, 1);
  }
  for (const char* limit : {"0", "1023", "2147483648", "null", "18446744073709551615"}) {
    const std::string member = std::string("\"max_frame_bytes\":") + limit + "}";
    EXPECT_NE(ErrorOf(answer + "\"version\":2," + member)
                  .find("the worker's `max_frame_bytes` is not an integer from 1024 to 2147483647"),
              std::string::npos)
        << member;
    EXPECT_EQ(DecodeOfferReply(answer + member, kBoth)->max_frame_bytes, kBoth.max_frame_bytes);
  }
}

TEST(OfferReplyTest, FeaturesCountOnlyInVersion2AndOnlyIfListed) {
  const Result<Agreement> v1 = DecodeOfferReply(
      R"({"type":"protocol_selected","protocol":"json","features":["stream","session"]})", kBoth);
  ASSERT_TRUE(v1.has_value());
  EXPECT_FALSE(v1->stream || v1->session);
  const Result<Agreement> v2 = DecodeOfferReply(
      R"({"type":"protocol_selected","protocol":"json","version":2,"features":["session"]})",
      kBoth);
  ASSERT_TRUE(v2.has_value());
  EXPECT_FALSE(v2->stream);
  EXPECT_TRUE(v2->session);
}

TEST(OfferReplyTest, ACodecThatWasNotOfferedIsAnError) {
  EXPECT_EQ(
      ErrorOf(R"({"type":"protocol_selected","protocol":"msgpack"})", kJsonOnly),
      "PROTOCOL_ERROR: handshake: the worker selected \"msgpack\", but only json was offered, "
      "in \"{\\\"type\\\":\\\"protocol_selected\\\",\\\"protocol\\\":\\\"msgpack\\\"}\"");
  EXPECT_NE(ErrorOf(R"({"type":"protocol_selected","protocol":"xml"})").find("msgpack, json was"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type":"protocol_selected"})").find("PROTOCOL_ERROR"), std::string::npos);
}

TEST(OfferReplyTest, AVersionThatThisPoolDoesNotSpeakNamesBoth) {
  for (const char* version : {"3", "0", "-1", "2.0", "\"2\"", "null", "18446744073709551615"}) {
    const std::string error = ErrorOf(
        std::string(R"({"type":"protocol_selected","protocol":"json","version":)") + version + "}");
    EXPECT_NE(error.find("PROTOCOL_ERROR: handshake: the worker speaks version " +
                         std::string(version) + " of the protocol, this pool versions 1 to 2"),
              std::string::npos)
        << error;
  }
}

TEST(OfferReplyTest, AWorkerThatRefusesGivesItsReason) {
  EXPECT_EQ(ErrorOf(R"({"type":"protocol_error","error":"no common\nprotocol"})"),
            "START_FAILED: the worker refused the handshake: no common\\nprotocol");
  EXPECT_EQ(ErrorOf(R"({"type":"protocol_error"})"),
            "START_FAILED: the worker refused the handshake: it gave no reason");
}

TEST(OfferReplyTest, WorkersThatKnowNoHandshakeAreLegacyJson) {
  for (
      const char* reply :
      {R"({"id":null,"success":true,"result":{"status":"error","error":"Unknown command: None","supported_commands":["ping"],"timestamp":1.5},"timestamp":"x"})",
       R"({"success":false,"error":"Unknown command: undefined","timestamp":"2026-01-01T00:00:00Z"})",
       R"({})"}) {
    const Result<Agreement> agreement = DecodeOfferReply(reply, kBoth);
    ASSERT_TRUE(agreement.has_value()) << reply;
    EXPECT_EQ(agreement->codec, Codec::kJson);
    EXPECT_EQ(agreement->version, 1);
    EXPECT_NE(ErrorOf(reply, kMessagePackOnly)
                  .find("the worker knows no handshake and speaks json, but only msgpack was"),
              std::string::npos);
  }
}

TEST(OfferReplyTest, AWorkerFixedToMessagePackAnswersInIt) {
  std::string reply;
  ASSERT_TRUE(Encode(Codec::kMessagePack, 1,
                     Value::Map{{"id", nullptr}, {"success", false}, {"error", "Unknown command"}},
                     &reply)
                  .has_value());
  const Result<Agreement> agreement = DecodeOfferReply(reply, kBoth);
  ASSERT_TRUE(agreement.has_value());
  EXPECT_EQ(agreement->codec, Codec::kMessagePack);
  EXPECT_EQ(agreement->version, 1);
  EXPECT_NE(ErrorOf(reply, kJsonOnly).find("speaks msgpack, but only json was offered"),
            std::string::npos);
}

TEST(OfferReplyTest, GarbageIsAnErrorThatShowsIt) {
  EXPECT_EQ(ErrorOf("hello"),
            "PROTOCOL_ERROR: handshake: invalid JSON: \"hello\" is not a JSON value at byte 0, in "
            "\"hello\"");
  EXPECT_EQ(ErrorOf("[1]"),
            "PROTOCOL_ERROR: handshake: the answer is not a JSON object, in \"[1]\"");
}

}  // namespace
}  // namespace snakepit
