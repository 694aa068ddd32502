#include "src/wire/pool_side/handshake.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"
#include "src/wire/timestamp.h"

namespace snakepit {
namespace {

bool Offers(const Offer& offer, Codec codec) {
  return std::find(offer.codecs.begin(), offer.codecs.end(), codec) != offer.codecs.end();
}

std::string OfferedNames(const Offer& offer) {
  std::string names;
  for (const Codec codec : offer.codecs) {
    if (!names.empty()) names += ", ";
    names += CodecName(codec);
  }
  return names;
}

tl::unexpected<Error> ProtocolError(std::string_view what, std::string_view payload) {
  return Fail(ErrorCode::kProtocolError,
              "handshake: " + std::string(what) + ", in " + QuoteBytes(payload));
}

// A worker that knows no handshake goes on in the codec of its answer.
Result<Agreement> LegacyAgreement(Codec codec, const Offer& offer, std::string_view payload) {
  Agreement agreement;
  agreement.codec = codec;
  agreement.max_frame_bytes = offer.max_frame_bytes;
  if (Offers(offer, codec)) return agreement;
  return ProtocolError("the worker knows no handshake and speaks " + std::string(CodecName(codec)) +
                           ", but only " + OfferedNames(offer) + " was offered",
                       payload);
}

// Version 1 is that of a reply without one.
Result<int> AgreedVersion(const Value& reply, const Offer& offer, std::string_view payload) {
  const Value* version = reply.Find("version");
  if (version == nullptr) return 1;
  const int64_t* number = version->get_if<int64_t>();
  const int newest = std::min(offer.version, kProtocolVersion);
  if (number == nullptr || *number < 1 || *number > newest) {
    return ProtocolError("the worker speaks version " + BriefJson(*version) +
                             " of the protocol, this pool versions 1 to " + std::to_string(newest),
                         payload);
  }
  return static_cast<int>(*number);
}

// The member's integer, `otherwise` when it is absent.
Result<int64_t> IntegerIn(const Value& reply, std::string_view name, int64_t least, int64_t most,
                          int64_t otherwise, std::string_view payload) {
  const Value* member = reply.Find(name);
  if (member == nullptr) return otherwise;
  const int64_t* number = member->get_if<int64_t>();
  if (number != nullptr && *number >= least && *number <= most) return *number;
  return ProtocolError("the worker's `" + std::string(name) + "` is not an integer from " +
                           std::to_string(least) + " to " + std::to_string(most),
                       payload);
}

Result<Agreement> SelectedAgreement(const Value& reply, const Offer& offer,
                                    std::string_view payload) {
  const std::string_view name = reply.TextAt("protocol");
  const std::optional<Codec> codec = CodecFromName(name);
  if (!codec || !Offers(offer, *codec)) {
    return ProtocolError("the worker selected " + QuoteBytes(name) + ", but only " +
                             OfferedNames(offer) + " was offered",
                         payload);
  }
  const Result<int> version = AgreedVersion(reply, offer, payload);
  if (!version) return Fail(version.error());
  Agreement agreement;
  agreement.codec = *codec;
  agreement.version = *version;
  agreement.worker_id = Excerpt(reply.TextAt("worker_id"), kMostNameBytes);
  agreement.max_frame_bytes = offer.max_frame_bytes;
  if (agreement.version < 2) return agreement;
  agreement.stream = ListsFeature(reply, kStreamFeature);
  agreement.session = ListsFeature(reply, kSessionFeature);
  const Result<int64_t> capacity = IntegerIn(reply, "capacity", 1, kMaxCapacity, 1, payload);
  if (!capacity) return Fail(capacity.error());
  agreement.capacity = static_cast<int>(*capacity);
  const Result<int64_t> max_frame_bytes =
      IntegerIn(reply, "max_frame_bytes", kLeastMessageLimit, kGreatestMessageLimit,
                static_cast<int64_t>(offer.max_frame_bytes), payload);
  if (!max_frame_bytes) return Fail(max_frame_bytes.error());
  agreement.max_frame_bytes = static_cast<size_t>(*max_frame_bytes);
  return agreement;
}

}  // namespace

void EncodeOfferFrame(const Offer& offer, std::string* out) {
  assert(!offer.codecs.empty());
  Value::Array supported;
  for (const Codec codec : offer.codecs) supported.emplace_back(CodecName(codec));
  Value::Array features;
  if (offer.stream) features.emplace_back(kStreamFeature);
  if (offer.session) features.emplace_back(kSessionFeature);
  const Value frame = Value::Map{
      {"type", "protocol_negotiation"},
      {"supported", std::move(supported)},
      {"preferred", CodecName(offer.codecs.front())},
      {"timestamp", TimestampNow()},
      {"version", offer.version},
      {"features", std::move(features)},
      {"max_frame_bytes", offer.max_frame_bytes},
  };
  const size_t start = BeginFrame(out);
  [[maybe_unused]] const bool encoded = EncodeJson(frame, out).has_value();
  [[maybe_unused]] const bool ended = EndFrame(out, start, UINT32_MAX).has_value();
  assert(encoded && ended);
}

Result<Agreement> DecodeOfferReply(std::string_view payload, const Offer& offer) {
  // The answer may hold anything beside the members that are looked for.
  const DecodeLimits limits{.max_bytes = size_t{16} << 20};
  const Result<Value> json = DecodeJson(payload, kMaxNesting, JsonDialect::kPlain, limits);
  if (!json) {
    const Result<Value> msgpack = DecodeMsgpack(payload, MapKeys::kLegacy, kMaxNesting, limits);
    if (msgpack && msgpack->is_map()) return LegacyAgreement(Codec::kMessagePack, offer, payload);
    return Fail(ErrorCode::kProtocolError, "handshake: " + json.error().message);
  }
  if (!json->is_map()) return ProtocolError("the answer is not a JSON object", payload);
  const std::string_view type = json->TextAt("type");
  if (type == "protocol_selected") return SelectedAgreement(*json, offer, payload);
  if (type == "protocol_error") {
    return Fail(ErrorCode::kStartFailed,
                "the worker refused the handshake: " +
                    Excerpt(json->TextAt("error", "it gave no reason"), kMostErrorTextBytes));
  }
  return LegacyAgreement(Codec::kJson, offer, payload);
}

}  // namespace snakepit
