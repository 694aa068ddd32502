#include "src/wire/worker_side/handshake.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>

#include "src/value/json.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/handshake.h"

namespace snakepit {
namespace {

std::string_view PayloadOf(std::string_view frame) { return frame.substr(kFrameHeaderBytes); }

std::string RefusalOf(std::string_view payload) {
  const Result<Opening> opening = DecodeOpening(payload);
  if (opening) return "none";
  EXPECT_EQ(opening.error().code, ErrorCode::kInvalidArgument);
  const std::string& message = opening.error().message;
  return message.substr(0, message.find(", in \""));
}

TEST(DecodeOpeningTest, TheExampleOfTheProtocol) {
  const Result<Opening> opening = DecodeOpening(
      R"({"type":"protocol_negotiation","supported":["json","msgpack"],"preferred":"msgpack",
       "timestamp":"2026-01-31T12:00:00.000Z","version":2,"features":["stream","session"],
       "max_frame_bytes":1048576})");
  ASSERT_TRUE(opening.has_value() && opening->offer.has_value());
  const Offer& offer = *opening->offer;
  EXPECT_EQ(offer.codecs, (std::vector<Codec>{Codec::kMessagePack, Codec::kJson}));
  EXPECT_EQ(offer.version, 2);
  EXPECT_TRUE(offer.stream && offer.session);
  EXPECT_EQ(offer.max_frame_bytes, 1'048'576u);
}

TEST(DecodeOpeningTest, ALegacyPoolOffersCodecsAlone) {
  const Result<Opening> opening = DecodeOpening(
      R"({"type":"protocol_negotiation","supported":["msgpack","json"],"preferred":"msgpack"})");
  ASSERT_TRUE(opening.has_value() && opening->offer.has_value());
  EXPECT_EQ(opening->offer->version, 1);
  EXPECT_FALSE(opening->offer->stream || opening->offer->session);
  EXPECT_EQ(opening->offer->max_frame_bytes, 64u << 20);
}

TEST(DecodeOpeningTest, UnknownCodecsAndFeaturesAreIgnored) {
  const Result<Opening> opening = DecodeOpening(
      R"({"type":"protocol_negotiation","supported":["cbor",5,"json","json"],"preferred":"cbor",
       "version":99999999999,"features":["x","session"]})");
  ASSERT_TRUE(opening.has_value() && opening->offer.has_value());
  EXPECT_EQ(opening->offer->codecs, std::vector<Codec>{Codec::kJson});
  EXPECT_GT(opening->offer->version, kProtocolVersion);
  EXPECT_FALSE(opening->offer->stream);
  EXPECT_TRUE(opening->offer->session);
}

// 3.1.6.
TEST(DecodeOpeningTest, WhatIsNoNegotiationIsTheFirstMessageInItsOwnCodec) {
  for (const char* json : {R"({"id":1,"command":"ping"})", "hello", "[1]", "", " ", "\xc1"}) {
    const Result<Opening> opening = DecodeOpening(json);
    ASSERT_TRUE(opening.has_value()) << json;
    EXPECT_FALSE(opening->offer.has_value());
    EXPECT_EQ(opening->codec, Codec::kJson);
  }
  for (const char* msgpack : {"\x80", "\x8f", "\xde\x01", "\xdf"}) {
    const Result<Opening> opening = DecodeOpening(msgpack);
    ASSERT_TRUE(opening.has_value());
    EXPECT_FALSE(opening->offer.has_value());
    EXPECT_EQ(opening->codec, Codec::kMessagePack);
  }
}

TEST(DecodeOpeningTest, ANegotiationThatCannotBeAgreedToSaysWhy) {
  const std::string begin = R"({"type":"protocol_negotiation","supported":)";
  for (const char* none : {"[]", "[\"cbor\"]", "\"json\"", "null"}) {
    EXPECT_EQ(RefusalOf(begin + none + "}"),
              "the pool offers no codec that this worker has, msgpack or json");
  }
  for (const char* version : {"0", "2.0", "\"2\"", "null"}) {
    EXPECT_EQ(RefusalOf(begin + "[\"json\"],\"version\":" + version + "}"),
              "`version` is not an integer from 1 up");
  }
  for (const char* limit : {"1023", "2147483648", "null"}) {
    const std::string member = std::string("\"max_frame_bytes\":") + limit + "}";
    EXPECT_EQ(RefusalOf(begin + "[\"json\"],\"version\":2," + member),
              "`max_frame_bytes` is not an integer from 1024 to 2147483647");
    EXPECT_EQ(RefusalOf(begin + "[\"json\"]," + member), "none");  // unknown in version 1
  }
}

TEST(AnswerTest, AWorkerOfferedMoreAnswersWithItsOwnVersion) {
  const Agreement agreement = AgreeTo({.codecs = {Codec::kJson},
                                       .version = kProtocolVersion + 5,
                                       .stream = true,
                                       .session = false});
  EXPECT_EQ(agreement.version, kProtocolVersion);
  EXPECT_TRUE(agreement.stream);
  EXPECT_FALSE(agreement.session);
}

TEST(AnswerTest, APoolOfVersion1ReadsOfNoVersion) {
  std::string frame;
  EncodeAnswerFrame(AgreeTo({.codecs = {Codec::kMessagePack}, .version = 1, .stream = true}),
                    &frame);
  EXPECT_EQ(PayloadOf(frame), R"({"protocol":"msgpack","type":"protocol_selected"})");
}

TEST(AnswerTest, ARefusalIsReadAsOne) {
  std::string frame;
  EncodeRefusalFrame("no codec \xff", &frame);
  const Result<Agreement> agreement = DecodeOfferReply(PayloadOf(frame), {{Codec::kJson}});
  ASSERT_FALSE(agreement.has_value());
  EXPECT_EQ(agreement.error().ToString(),
            "START_FAILED: the worker refused the handshake: no codec \uFFFD");
}

RC_GTEST_PROP(HandshakePropertyTest, BothSidesAgreeOnTheSame, ()) {
  Offer offer;
  offer.codecs =
      *rc::gen::elementOf(std::vector<std::vector<Codec>>{{Codec::kJson},
                                                          {Codec::kMessagePack},
                                                          {Codec::kJson, Codec::kMessagePack},
                                                          {Codec::kMessagePack, Codec::kJson}});
  offer.max_frame_bytes = *rc::gen::inRange<size_t>(kLeastMessageLimit, kGreatestMessageLimit);
  offer.stream = *rc::gen::arbitrary<bool>();
  offer.session = *rc::gen::arbitrary<bool>();
  std::string frame;
  EncodeOfferFrame(offer, &frame);
  const Result<Opening> opening = DecodeOpening(PayloadOf(frame));
  RC_ASSERT(opening.has_value() && opening->offer.has_value());
  RC_ASSERT(opening->offer->codecs == offer.codecs);
  RC_ASSERT(opening->offer->max_frame_bytes == offer.max_frame_bytes);
  RC_ASSERT(opening->offer->version == offer.version);
  RC_ASSERT(opening->offer->stream == offer.stream && opening->offer->session == offer.session);

  Agreement mine = AgreeTo(*opening->offer);
  mine.stream = mine.stream && *rc::gen::arbitrary<bool>();
  mine.session = mine.session && *rc::gen::arbitrary<bool>();
  mine.capacity = *rc::gen::inRange(1, kMaxCapacity + 1);
  mine.max_frame_bytes = *rc::gen::inRange<size_t>(kLeastMessageLimit, kGreatestMessageLimit);
  mine.worker_id = "worker_0";
  std::string answer;
  EncodeAnswerFrame(mine, &answer);
  const Result<Agreement> theirs = DecodeOfferReply(PayloadOf(answer), offer);
  RC_ASSERT(theirs.has_value());
  RC_ASSERT(theirs->codec == mine.codec && theirs->codec == offer.codecs.front());
  RC_ASSERT(theirs->version == 2 && mine.version == 2);
  RC_ASSERT(theirs->stream == mine.stream && theirs->session == mine.session);
  RC_ASSERT(theirs->capacity == mine.capacity);
  RC_ASSERT(theirs->max_frame_bytes == mine.max_frame_bytes);
  RC_ASSERT(theirs->worker_id == mine.worker_id);
}

}  // namespace
}  // namespace snakepit
