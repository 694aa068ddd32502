#include "fuzz/payload_checks.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "fuzz/check.h"
#include "snakepit/value.h"
#include "src/value/json.h"
#include "src/value/memory.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/handshake.h"
#include "src/wire/pool_side/message.h"
#include "src/wire/worker_side/handshake.h"
#include "src/wire/worker_side/message.h"

namespace snakepit {
namespace {

void CheckMessage(const Error& error) {
  SNAKEPIT_CHECK(!error.message.empty());
  SNAKEPIT_CHECK(error.message.find('\n') == std::string::npos);
}

}  // namespace

void CheckPayload(Codec codec, std::string_view payload) {
  for (const int version : {1, 2}) {
    CheckRoundTrip(codec, version, payload);
    CheckLimit(codec, version, payload);
    CheckReply(codec, version, payload);
    CheckPoolMessage(codec, version, payload);
  }
}

void CheckRoundTrip(Codec codec, int version, std::string_view payload) {
  const Result<Value> value = Decode(codec, version, payload);
  if (!value) {
    SNAKEPIT_CHECK(value.error().code == ErrorCode::kInvalidArgument);
    CheckMessage(value.error());
    return;
  }
  std::string encoded;
  SNAKEPIT_CHECK(Encode(codec, version, *value, &encoded).has_value());
  const Result<Value> again = Decode(codec, version, encoded);
  SNAKEPIT_CHECK(again.has_value());
  SNAKEPIT_CHECK(*again == *value);
  // The bits of a NaN, which == does not compare, are in what is written.
  std::string encoded_again;
  SNAKEPIT_CHECK(Encode(codec, version, *again, &encoded_again).has_value());
  SNAKEPIT_CHECK(encoded_again == encoded);
  // The other codec carries it, too, in version 2.
  if (version >= 2) {
    const Codec other = codec == Codec::kJson ? Codec::kMessagePack : Codec::kJson;
    std::string in_other;
    SNAKEPIT_CHECK(Encode(other, version, *value, &in_other).has_value());
    const Result<Value> from_other = Decode(other, version, in_other);
    SNAKEPIT_CHECK(from_other.has_value());
    std::string back;
    SNAKEPIT_CHECK(Encode(codec, version, *from_other, &back).has_value());
    SNAKEPIT_CHECK(back == encoded);
  }
  // ToJson always writes JSON. (It shows bytes one level deeper.)
  SNAKEPIT_CHECK(DecodeJson(value->ToJson(), kMaxNesting + 1).has_value());
}

void CheckLimit(Codec codec, int version, std::string_view payload) {
  const Result<Value> value = Decode(codec, version, payload);
  const size_t needed = value ? MemoryBytes(*value) : 64 * payload.size();
  // An empty map is a byte of MessagePack, and the outermost one is beside what it stands in.
  SNAKEPIT_CHECK(needed <= 64 * payload.size() + sizeof(Value));
  for (const size_t limit : {needed / 8, needed / 2, needed, 2 * needed}) {
    const Result<Value> limited =
        Decode(codec, version, payload, kMaxNesting, {.max_bytes = limit});
    if (limited) {
      SNAKEPIT_CHECK(value && *limited == *value);
      SNAKEPIT_CHECK(MemoryBytes(*limited) <= limit);
    } else {
      SNAKEPIT_CHECK(limited.error().code == ErrorCode::kMessageTooLarge ||
                     (!value && limited.error().code == ErrorCode::kInvalidArgument));
      CheckMessage(limited.error());
    }
  }
}

// The same reply without its value, and one that goes over the limit.
void CheckPartOfReply(Codec codec, int version, std::string_view payload, const Reply& reply) {
  const Result<Reply> part = DecodeReplyWithoutValue(codec, version, payload, SIZE_MAX);
  SNAKEPIT_CHECK(part && part->kind == reply.kind && part->id == reply.id);
  SNAKEPIT_CHECK(part->final == reply.final && part->chunk_index == reply.chunk_index);
  SNAKEPIT_CHECK(part->has_value == reply.has_value && part->value.is_null());
  const Result<Reply> limited = DecodeReply(codec, version, payload, {.max_bytes = 256});
  if (!limited) {
    SNAKEPIT_CHECK(limited.error().code == ErrorCode::kMessageTooLarge);
    return;
  }
  SNAKEPIT_CHECK(limited->id == reply.id && limited->final == reply.final);
  SNAKEPIT_CHECK(
      limited->kind == reply.kind ||
      (limited->kind == Reply::Kind::kError && limited->error.code == ErrorCode::kMessageTooLarge));
}

void CheckReply(Codec codec, int version, std::string_view payload) {
  const Result<Reply> reply = DecodeReply(codec, version, payload);
  if (!reply) {
    SNAKEPIT_CHECK(reply.error().code == ErrorCode::kProtocolError);
    CheckMessage(reply.error());
    return;
  }
  CheckPartOfReply(codec, version, payload, *reply);
  switch (reply->kind) {
    case Reply::Kind::kResult:
      SNAKEPIT_CHECK(reply->has_value && reply->final && reply->chunk_index == -1);
      if (const std::optional<Error> error = LegacyResultError(reply->value)) {
        SNAKEPIT_CHECK(error->code == ErrorCode::kUnimplemented ||
                       error->code == ErrorCode::kHandlerFailed);
      }
      break;
    case Reply::Kind::kChunk:
      SNAKEPIT_CHECK(reply->chunk_index >= 0 && (reply->has_value || reply->final));
      break;
    case Reply::Kind::kError:
      SNAKEPIT_CHECK(reply->final && !reply->has_value);
      SNAKEPIT_CHECK(reply->error.code != ErrorCode::kWorkerLost);
      if (reply->error.code == ErrorCode::kUnimplemented || version < 2) {
        SNAKEPIT_CHECK(reply->error.may_have_run ==
                       (reply->error.code != ErrorCode::kUnimplemented));
      }
      SNAKEPIT_CHECK(reply->error.message.find('\n') == std::string::npos);
      break;
  }
}

void CheckPoolMessage(Codec codec, int version, std::string_view payload) {
  const Agreement agreement = {
      .codec = codec, .version = version, .stream = version >= 2, .session = version >= 2};
  const auto message = DecodePoolMessage(agreement, payload);
  std::string frame;
  if (!message) {
    SNAKEPIT_CHECK(message.error().error.code == ErrorCode::kInvalidArgument);
    CheckMessage(message.error().error);
    EncodeFailureFrame(codec, version, message.error().id, message.error().error, -1, 1024, &frame);
    const Result<Reply> reply =
        DecodeReply(codec, version, std::string_view(frame).substr(kFrameHeaderBytes));
    SNAKEPIT_CHECK(reply.has_value() && reply->kind == Reply::Kind::kError);
    SNAKEPIT_CHECK(reply->id == message.error().id);
    return;
  }
  const bool has_id = message->kind != PoolMessage::Kind::kEndSession &&
                      message->kind != PoolMessage::Kind::kUnknown;
  SNAKEPIT_CHECK(!has_id || message->id > 0);
  SNAKEPIT_CHECK(message->session_id.size() <= 256);
  SNAKEPIT_CHECK(!message->credit || (*message->credit > 0 && *message->credit <= INT32_MAX));
  SNAKEPIT_CHECK(version >= 2 || message->kind == PoolMessage::Kind::kRequest);
  if (message->kind != PoolMessage::Kind::kRequest) return;
  SNAKEPIT_CHECK(message->stream || !message->credit);
  const Request request = {.id = static_cast<uint64_t>(message->id),
                           .command = message->command,
                           .args = &message->args,
                           .version = version,
                           .stream = message->stream,
                           .credit = message->credit.value_or(0),
                           .session_id = message->session_id,
                           .timeout_ms = message->timeout_ms};
  SNAKEPIT_CHECK(EncodeRequestFrame(codec, request, {.max_bytes = UINT32_MAX}, &frame).has_value());
  const auto again =
      DecodePoolMessage(agreement, std::string_view(frame).substr(kFrameHeaderBytes));
  SNAKEPIT_CHECK(again.has_value() && again->kind == PoolMessage::Kind::kRequest);
  SNAKEPIT_CHECK(again->id == message->id && again->command == message->command);
  SNAKEPIT_CHECK(again->args == message->args && again->stream == message->stream);
  SNAKEPIT_CHECK(again->credit == message->credit && again->session_id == message->session_id);
  // A time limit that has passed is not sent.
  SNAKEPIT_CHECK(again->timeout_ms == std::max<int64_t>(0, message->timeout_ms));
}

void CheckHandshake(std::string_view payload) {
  for (const Codec offered : {Codec::kJson, Codec::kMessagePack}) {
    const Result<Agreement> agreement = DecodeOfferReply(payload, Offer{{offered}});
    if (!agreement) {
      CheckMessage(agreement.error());
      continue;
    }
    SNAKEPIT_CHECK(agreement->codec == offered);
    SNAKEPIT_CHECK(agreement->version >= 1 && agreement->version <= kProtocolVersion);
    SNAKEPIT_CHECK(agreement->version >= 2 || (!agreement->stream && !agreement->session));
    SNAKEPIT_CHECK(agreement->capacity >= 1 && agreement->capacity <= kMaxCapacity);
    SNAKEPIT_CHECK(agreement->version >= 2 || agreement->capacity == 1);
    SNAKEPIT_CHECK(agreement->max_frame_bytes >= kLeastMessageLimit &&
                   agreement->max_frame_bytes <= kGreatestMessageLimit);
  }
  const Result<Opening> opening = DecodeOpening(payload);
  std::string frame;
  if (!opening) {
    CheckMessage(opening.error());
    EncodeRefusalFrame(opening.error().message, &frame);
    const auto refused = DecodeOfferReply(std::string_view(frame).substr(kFrameHeaderBytes),
                                          Offer{{Codec::kJson, Codec::kMessagePack}});
    SNAKEPIT_CHECK(!refused && refused.error().code == ErrorCode::kStartFailed);
  } else if (opening->offer) {
    const Offer& offer = *opening->offer;
    SNAKEPIT_CHECK(!offer.codecs.empty() && offer.codecs.size() <= 2 && offer.version >= 1);
    EncodeAnswerFrame(AgreeTo(offer), &frame);
    const auto agreed = DecodeOfferReply(std::string_view(frame).substr(kFrameHeaderBytes), offer);
    SNAKEPIT_CHECK(agreed && agreed->codec == offer.codecs.front());
    SNAKEPIT_CHECK(agreed->version <= offer.version);
  }
}

}  // namespace snakepit
