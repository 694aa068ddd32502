// The judge's own codecs. They share no code with those of the product, so that a fault of one
// cannot hide a fault of the other: JSON is nlohmann-json's, MessagePack is msgpack-cxx's.
#ifndef SNAKEPIT_CONFORMANCE_WIRE_CODEC_H_
#define SNAKEPIT_CONFORMANCE_WIRE_CODEC_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "snakepit/error.h"

namespace snakepit::conformance {

// A message or a value. Bytes are its binary kind.
using Json = nlohmann::json;

enum class Format { kJson, kMsgpack };

// "json" or "msgpack", as in the handshake.
std::string_view FormatName(Format format);

// The one value that a payload holds. PROTOCOL_ERROR where PROTOCOL.md 2.2 does not allow the
// payload: the text says why. An integer over 64 bits in JSON is read as a double.
Result<Json> Decode(Format format, std::string_view payload);

// The payload of a message. JSON has no form for bytes, NaN and infinities: see Tagged.
std::string Encode(Format format, const Json& message);

// The value with tags for the kinds that JSON lacks, and the inverse. PROTOCOL.md 6.12.2 to 6.12.4.
// PROTOCOL_ERROR for a tag that is not as they say, and for values that nest too deep (0.6).
Json Tagged(const Json& value);
Result<Json> Untagged(const Json& value);

// Bytes as a value.
Json BytesValue(std::string_view bytes);

// True if both are of the same kind at every depth and, doubles included, have the same bits.
// PROTOCOL.md 6.12.1.
bool AreSame(const Json& a, const Json& b);

// The value for people, in one line: bytes as {"$bytes": …}, cut after some 200 characters.
std::string Show(const Json& value);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_WIRE_CODEC_H_
