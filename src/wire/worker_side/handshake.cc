#include "src/wire/worker_side/handshake.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "snakepit/value.h"
#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/value/utf8.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"

namespace snakepit {
namespace {

// No JSON text begins with such a byte.
bool BeginsMsgpackMap(std::string_view payload) {
  if (payload.empty()) return false;
  const auto first = static_cast<unsigned char>(payload.front());
  return (first >= 0x80 && first <= 0x8f) || first == 0xde || first == 0xdf;
}

tl::unexpected<Error> BadOffer(std::string_view what, std::string_view payload) {
  return Fail(ErrorCode::kInvalidArgument, std::string(what) + ", in " + QuoteBytes(payload));
}

// The offered codecs that this worker has, each once, the preferred one first.
std::vector<Codec> OfferedCodecs(const Value& offer) {
  std::vector<Codec> codecs;
  const Value* supported = offer.Find("supported");
  if (supported == nullptr) return codecs;
  for (const Value& name : supported->elements()) {
    const std::string* text = name.get_if<std::string>();
    const std::optional<Codec> codec = text == nullptr ? std::nullopt : CodecFromName(*text);
    if (codec && std::find(codecs.begin(), codecs.end(), *codec) == codecs.end()) {
      codecs.push_back(*codec);
    }
  }
  const std::optional<Codec> preferred = CodecFromName(offer.TextAt("preferred"));
  std::stable_partition(codecs.begin(), codecs.end(),
                        [&preferred](Codec codec) { return codec == preferred; });
  return codecs;
}

Result<Offer> DecodeOffer(const Value& message, std::string_view payload) {
  Offer offer{.version = 1, .stream = false, .session = false};
  offer.codecs = OfferedCodecs(message);
  if (offer.codecs.empty()) {
    return BadOffer("the pool offers no codec that this worker has, msgpack or json", payload);
  }
  if (const Value* version = message.Find("version"); version != nullptr) {
    const int64_t* number = version->get_if<int64_t>();
    if (number == nullptr || *number < 1) {
      return BadOffer("`version` is not an integer from 1 up", payload);
    }
    offer.version = static_cast<int>(std::min<int64_t>(*number, INT32_MAX));
  }
  // A member of version 2. PROTOCOL.md 3.1.9.
  const Value* limit = offer.version < 2 ? nullptr : message.Find("max_frame_bytes");
  if (limit != nullptr) {
    const int64_t* number = limit->get_if<int64_t>();
    if (number == nullptr || *number < kLeastMessageLimit || *number > kGreatestMessageLimit) {
      return BadOffer("`max_frame_bytes` is not an integer from " + MessageLimitRange(), payload);
    }
    offer.max_frame_bytes = static_cast<size_t>(*number);
  }
  offer.stream = ListsFeature(message, kStreamFeature);
  offer.session = ListsFeature(message, kSessionFeature);
  return offer;
}

void AppendJsonFrame(const Value& message, std::string* out) {
  const size_t start = BeginFrame(out);
  [[maybe_unused]] const bool encoded = EncodeJson(message, out).has_value();
  [[maybe_unused]] const bool ended = EndFrame(out, start, UINT32_MAX).has_value();
  assert(encoded && ended);
}

}  // namespace

Result<Opening> DecodeOpening(std::string_view payload) {
  if (BeginsMsgpackMap(payload)) return Opening{.codec = Codec::kMessagePack};
  // A payload that is no JSON either gets its answer from DecodePoolMessage.
  const DecodeLimits limits{.max_bytes = size_t{16} << 20};
  const Result<Value> message = DecodeJson(payload, kMaxNesting, JsonDialect::kPlain, limits);
  if (!message || message->TextAt("type") != "protocol_negotiation") return Opening{};
  Result<Offer> offer = DecodeOffer(*message, payload);
  if (!offer) return Fail(std::move(offer.error()));
  return Opening{.offer = *std::move(offer)};
}

Agreement AgreeTo(const Offer& offer) {
  Agreement agreement;
  agreement.codec = offer.codecs.front();
  agreement.version = std::min(offer.version, kProtocolVersion);
  agreement.stream = agreement.version >= 2 && offer.stream;
  agreement.session = agreement.version >= 2 && offer.session;
  return agreement;
}

void EncodeAnswerFrame(const Agreement& agreement, std::string* out) {
  Value::Map answer = {
      {"type", "protocol_selected"},
      {"protocol", CodecName(agreement.codec)},
  };
  // A pool that offered no version must not read of one. PROTOCOL.md 3.2.3.
  if (agreement.version >= 2) {
    Value::Array features;
    if (agreement.stream) features.emplace_back(kStreamFeature);
    if (agreement.session) features.emplace_back(kSessionFeature);
    answer["version"] = agreement.version;
    answer["features"] = std::move(features);
    answer["capacity"] = agreement.capacity;
    answer["max_frame_bytes"] = agreement.max_frame_bytes;
    if (!agreement.worker_id.empty()) answer["worker_id"] = agreement.worker_id;
  }
  AppendJsonFrame(answer, out);
}

void EncodeRefusalFrame(std::string_view reason, std::string* out) {
  const Value refusal = Value::Map{{"type", "protocol_error"}, {"error", RepairUtf8(reason)}};
  AppendJsonFrame(refusal, out);
}

}  // namespace snakepit
