#include "fuzz/reply_checks.h"

#include <string>

#include "fuzz/check.h"
#include "snakepit/value.h"
#include "src/value/json.h"
#include "src/wire/codec.h"
#include "src/wire/handshake.h"
#include "src/wire/message.h"

namespace snakepit {
namespace {

void CheckMessage(const Error& error) {
  SNAKEPIT_CHECK(!error.message.empty());
  SNAKEPIT_CHECK(error.message.find('\n') == std::string::npos);
}

}  // namespace

void CheckRoundTrip(Codec codec, std::string_view payload) {
  const Result<Value> value = Decode(codec, payload);
  if (!value) {
    SNAKEPIT_CHECK(value.error().code == ErrorCode::kInvalidArgument);
    CheckMessage(value.error());
    return;
  }
  std::string encoded;
  SNAKEPIT_CHECK(Encode(codec, *value, &encoded).has_value());
  const Result<Value> again = Decode(codec, encoded);
  SNAKEPIT_CHECK(again.has_value());
  SNAKEPIT_CHECK(*again == *value);
  // What is shown to people is always JSON. (Shown bytes are one level deeper.)
  SNAKEPIT_CHECK(DecodeJson(value->ToJson(), kMaxNesting + 1).has_value());
}

void CheckReply(Codec codec, std::string_view payload) {
  const Result<Reply> reply = DecodeReply(codec, payload);
  if (!reply) {
    SNAKEPIT_CHECK(reply.error().code == ErrorCode::kProtocolError);
    CheckMessage(reply.error());
    return;
  }
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
      SNAKEPIT_CHECK(reply->error.may_have_run == (reply->error.code != ErrorCode::kUnimplemented));
      SNAKEPIT_CHECK(reply->error.message.find('\n') == std::string::npos);
      break;
  }
}

void CheckOfferReply(std::string_view payload) {
  for (const Codec offered : {Codec::kJson, Codec::kMessagePack}) {
    const Result<Agreement> agreement = DecodeOfferReply(payload, Offer{{offered}});
    if (!agreement) {
      CheckMessage(agreement.error());
      continue;
    }
    SNAKEPIT_CHECK(agreement->codec == offered);
    SNAKEPIT_CHECK(agreement->version >= 1 && agreement->version <= kProtocolVersion);
    SNAKEPIT_CHECK(agreement->version >= 2 || (!agreement->stream && !agreement->session));
  }
}

}  // namespace snakepit
