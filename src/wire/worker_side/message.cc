#include "src/wire/worker_side/message.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "src/base/quote.h"
#include "src/value/utf8.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/member_writer.h"
#include "src/wire/timestamp.h"
#include "src/wire/worker_code.h"
#include "src/wire/worker_side/json_id.h"

namespace snakepit {
namespace {

class PoolMessageReader {
 public:
  using Outcome = tl::expected<PoolMessage, BadMessage>;

  PoolMessageReader(const Agreement& agreement, std::string_view payload)
      : agreement_(agreement), payload_(payload) {}

  Outcome Read(const DecodeLimits& limits) {
    const int version = agreement_.version;
    Result<void> decoded = DecodeMembers(agreement_.codec, version, payload_, members_, limits);
    if (!decoded && decoded.error().code != ErrorCode::kInvalidArgument) {
      return TooLarge(decoded.error());
    }
    if (!decoded) return Undecoded("malformed message: " + decoded.error().message);
    if (version < 2 || !Get(kType).value) return ReadRequest();
    const std::string* type = Get(kType).get_if<std::string>();
    if (type == nullptr) return Of(PoolMessage::Kind::kUnknown);
    if (*type == "cancel") return ReadCancel();
    if (*type == "credit" && agreement_.stream) return ReadCredit();
    if (*type == "end_session" && agreement_.session) return ReadEndSession();
    if (*type == "health") return ReadQuestion(PoolMessage::Kind::kHealth);
    if (*type == "info") return ReadQuestion(PoolMessage::Kind::kInfo);
    return Of(PoolMessage::Kind::kUnknown);
  }

 private:
  enum Name { kId, kType, kCommand, kArgs, kStream, kCredit, kSessionId, kTimeout, kBytes };

  Member& Get(Name name) { return members_[name]; }

  // True for a request and a query: their ids are no other message's.
  bool HasOwnId() {
    if (agreement_.version < 2 || !Get(kType).value) return true;
    const std::string* type = Get(kType).get_if<std::string>();
    return type != nullptr && (*type == "health" || *type == "info");
  }

  // An answer with an id ends the call of that id. So only a request may be answered with one.
  tl::unexpected<BadMessage> Bad(std::string message, bool is_request) {
    BadMessage bad;
    const int64_t* id = Get(kId).get_if<int64_t>();
    if (is_request && id != nullptr) bad.id = *id;
    bad.error.code = ErrorCode::kInvalidArgument;
    bad.error.message = std::move(message);
    return tl::unexpected<BadMessage>(std::move(bad));
  }

  // The id may still be seen in a text that no parser takes.
  tl::unexpected<BadMessage> Undecoded(std::string message) {
    if (agreement_.codec == Codec::kJson && !Get(kId).value && !Get(kType).value) {
      const JsonIdAndType seen = FindJsonIdAndType(payload_);
      if (seen.id) Get(kId).value = *seen.id;
      if (seen.type) Get(kType).value = *seen.type;
    }
    return Bad(std::move(message), HasOwnId());
  }

  // The arguments make the message large, and the id may come after them.
  tl::unexpected<BadMessage> TooLarge(const Error& error) {
    constexpr size_t kEnoughForTheRest = size_t{1} << 20;
    for (Member& member : members_) member.value.reset();
    malloc_trim(0);  // else the allocator keeps hundreds of MiB in small pieces for each thread
    (void)DecodeMembers(agreement_.codec, agreement_.version, payload_, members_,
                        {.max_bytes = kEnoughForTheRest}, Values::kPassedOver);
    auto bad = Bad("the message of " + std::to_string(payload_.size()) + " bytes: " + error.message,
                   HasOwnId());
    bad.value().error.code = ErrorCode::kMessageTooLarge;
    return bad;
  }

  tl::unexpected<BadMessage> Malformed(std::string_view what, bool is_request) {
    return Bad("malformed message: " + std::string(what) + ", in " + QuoteBytes(payload_),
               is_request);
  }

  PoolMessage Of(PoolMessage::Kind kind) {
    message_.kind = kind;
    return std::move(message_);
  }

  // The member's integer; nothing when it is no integer of that range.
  std::optional<int64_t> IntegerIn(Name name, int64_t least, int64_t most) {
    const int64_t* number = Get(name).get_if<int64_t>();
    if (number == nullptr || *number < least || *number > most) return std::nullopt;
    return *number;
  }

  bool ReadId() {
    const std::optional<int64_t> id = IntegerIn(kId, 1, kMaxId);
    message_.id = id.value_or(0);
    return id.has_value();
  }

  bool ReadSessionId() {
    std::string* session_id = Get(kSessionId).get_if<std::string>();
    if (session_id == nullptr || session_id->empty() || session_id->size() > kMaxSessionIdBytes) {
      return false;
    }
    message_.session_id = std::move(*session_id);
    return true;
  }

  Outcome ReadRequest() {
    const auto malformed = [this](std::string_view what) { return Malformed(what, true); };
    if (!ReadId()) return malformed(kBadId);
    std::string* command = Get(kCommand).get_if<std::string>();
    if (command == nullptr) return malformed("`command` is not a text");
    message_.command = std::move(*command);
    if (!ReadArgs()) return malformed("`args` is not a map");
    if (agreement_.version < 2) return Of(PoolMessage::Kind::kRequest);
    if (agreement_.stream && Get(kStream).value) {
      const bool* stream = Get(kStream).get_if<bool>();
      if (stream == nullptr) return malformed("`stream` is not true or false");
      message_.stream = *stream;
    }
    if (message_.stream && Get(kCredit).value) {
      message_.credit = IntegerIn(kCredit, 1, kMaxCredit);
      if (!message_.credit) return malformed("`credit` is not an integer from 1 to 2147483647");
    }
    if (agreement_.session && Get(kSessionId).value && !ReadSessionId()) {
      return malformed(kBadSessionId);
    }
    if (Get(kTimeout).value) {
      const int64_t* timeout_ms = Get(kTimeout).get_if<int64_t>();
      if (timeout_ms == nullptr) return malformed("`timeout_ms` is not an integer");
      message_.timeout_ms = *timeout_ms;
    }
    return Of(PoolMessage::Kind::kRequest);
  }

  // No args, and null, are an empty map.
  bool ReadArgs() {
    std::optional<Value>& args = Get(kArgs).value;
    if (!args || args->is_null()) {
      message_.args = Value::Map{};
      return true;
    }
    message_.args = *std::move(args);
    return message_.args.is_map();
  }

  Outcome ReadCancel() {
    if (!ReadId()) return Malformed(kBadId, false);
    return Of(PoolMessage::Kind::kCancel);
  }

  Outcome ReadCredit() {
    if (!ReadId()) return Malformed(kBadId, false);
    message_.credit = IntegerIn(kBytes, 1, kMaxCredit);
    if (!message_.credit) {
      return Malformed("`bytes` is not an integer from 1 to 2147483647", false);
    }
    return Of(PoolMessage::Kind::kCredit);
  }

  Outcome ReadEndSession() {
    if (!ReadSessionId()) return Malformed(kBadSessionId, false);
    return Of(PoolMessage::Kind::kEndSession);
  }

  Outcome ReadQuestion(PoolMessage::Kind kind) {
    if (!ReadId()) return Malformed(kBadId, true);
    return Of(kind);
  }

  static constexpr std::string_view kBadId = "`id` is not an integer from 1 to 2^53 - 1";
  static constexpr std::string_view kBadSessionId = "`session_id` is not a text of 1 to 256 bytes";

  const Agreement& agreement_;
  std::string_view payload_;
  // Same order as Name.
  Member members_[9] = {
      {"id"},     {"type"},   {"command"},    {"args", Member::Kind::kValue},
      {"stream"}, {"credit"}, {"session_id"}, {"timeout_ms"},
      {"bytes"},
  };
  PoolMessage message_;
};

// Appends a frame; `write` appends its payload and returns Result<void>. On an error `*out` is
// unchanged. The command has run by then.
template <typename Write>
Result<void> AppendFrame(size_t max_frame_bytes, std::string* out, Write write) {
  const size_t start = BeginFrame(out);
  Result<void> appended = write();
  if (appended) {
    appended = EndFrame(out, start, max_frame_bytes);
  } else {
    out->resize(start);
  }
  if (!appended) appended.error().may_have_run = true;
  return appended;
}

// A handler's value that the codec cannot hold is the handler's failure. PROTOCOL.md 0.7.
template <typename Writer>
Result<void> WriteValue(Writer& writer, std::string_view key, const Value& value, int version) {
  Result<void> written = writer.AnyValue(key, value, version);
  if (!written) written.error().code = ErrorCode::kHandlerFailed;
  return written;
}

struct Failure {
  Codec codec;
  int version;
  std::optional<int64_t> id;
  ErrorCode code;
  bool did_not_run;
  int64_t chunk_index;
};

void AppendFailure(const Failure& failure, std::string_view text, std::string* out) {
  const bool v2 = failure.version >= 2;
  const bool stream = v2 && failure.chunk_index >= 0;
  const bool did_not_run = v2 && failure.did_not_run;
  WithMemberWriter(failure.codec, 4 + 3 * stream + did_not_run, out, [&](auto& writer) {
    if (failure.id) {
      writer.Int("id", *failure.id);
    } else {
      writer.Null("id");
    }
    if (stream) {
      writer.Text("type", "chunk");
      writer.Int("index", failure.chunk_index);
      writer.Bool("final", true);
    }
    writer.Bool("success", false);
    writer.Text("error", text);
    if (v2) {
      writer.Text("code", ErrorCodeName(failure.code));
    } else {
      writer.Text("timestamp", TimestampNow());
    }
    if (did_not_run) writer.Bool("did_not_run", true);
    writer.End();
  });
}

// The first `size` bytes of a UTF-8 text, without part of a character at the end.
std::string_view CutUtf8(std::string_view text, size_t size) {
  if (size >= text.size()) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

}  // namespace

tl::expected<PoolMessage, BadMessage> DecodePoolMessage(const Agreement& agreement,
                                                        std::string_view payload,
                                                        const DecodeLimits& limits) {
  return PoolMessageReader(agreement, payload).Read(limits);
}

Result<void> EncodeResultFrame(Codec codec, int version, int64_t id, const Value& result,
                               size_t max_frame_bytes, std::string* out) {
  return AppendFrame(max_frame_bytes, out, [&]() -> Result<void> {
    // Some pools of version 1 drop a payload that begins as a map of three. PROTOCOL.md 2.4.8.
    const bool has_timestamp = version < 2;
    return WithMemberWriter(codec, 3 + has_timestamp, out, [&](auto& writer) {
      writer.Int("id", id);
      writer.Bool("success", true);
      if (has_timestamp) writer.Text("timestamp", TimestampNow());
      Result<void> written = WriteValue(writer, "result", result, version);
      writer.End();
      return written;
    });
  });
}

Result<void> EncodeChunkFrame(Codec codec, int64_t id, int64_t index, bool final,
                              const Value* chunk, size_t max_frame_bytes, std::string* out,
                              size_t* payload_bytes) {
  const size_t start = out->size();
  Result<void> appended = AppendFrame(max_frame_bytes, out, [&]() -> Result<void> {
    return WithMemberWriter(codec, 4 + (chunk != nullptr), out, [&](auto& writer) {
      writer.Int("id", id);
      writer.Text("type", "chunk");
      writer.Int("index", index);
      writer.Bool("final", final);
      Result<void> written;
      if (chunk != nullptr) written = WriteValue(writer, "chunk", *chunk, 2);
      writer.End();
      return written;
    });
  });
  // A last message without a chunk takes no credit.
  *payload_bytes = appended && chunk != nullptr ? out->size() - start - kFrameHeaderBytes : 0;
  return appended;
}

void EncodeFailureFrame(Codec codec, int version, std::optional<int64_t> id, const Error& error,
                        int64_t chunk_index, size_t max_frame_bytes, std::string* out) {
  const ErrorCode code = WorkersCode(error.code);
  const Failure failure = {
      .codec = codec,
      .version = version,
      .id = id,
      .code = code,
      // UNIMPLEMENTED says so itself, and HANDLER_FAILED that it did run.
      .did_not_run = !error.may_have_run && code != ErrorCode::kUnimplemented &&
                     code != ErrorCode::kHandlerFailed,
      .chunk_index = chunk_index,
  };
  const std::string text = IsUtf8(error.message) ? error.message : RepairUtf8(error.message);
  const auto append = [&](size_t size) {
    return AppendFrame(max_frame_bytes, out, [&]() -> Result<void> {
      AppendFailure(failure, CutUtf8(text, size), out);
      return {};
    });
  };
  if (append(text.size())) return;
  // The longest beginning that fits. Escapes make the length in the frame hard to foresee.
  size_t fits = 0;
  size_t too_long = std::min(text.size(), max_frame_bytes);
  while (too_long - fits > 1) {
    const size_t middle = fits + (too_long - fits) / 2;
    const size_t start = out->size();
    if (append(middle)) {
      out->resize(start);
      fits = middle;
    } else {
      too_long = middle;
    }
  }
  (void)append(fits);
}

}  // namespace snakepit
