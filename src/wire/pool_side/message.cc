#include "src/wire/pool_side/message.h"

#include <algorithm>
#include <cassert>
#include <cctype>
#include <new>
#include <utility>

#include "src/base/quote.h"
#include "src/value/utf8.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/member_writer.h"
#include "src/wire/worker_code.h"

namespace snakepit {
namespace {

Result<void> CheckRequest(const Request& request) {
  if (!IsUtf8(request.command)) {
    return Fail(ErrorCode::kInvalidArgument,
                "command is not UTF-8: " + QuoteBytes(request.command));
  }
  if (!IsUtf8(request.session_id)) {
    return Fail(ErrorCode::kInvalidArgument,
                "session_id is not UTF-8: " + QuoteBytes(request.session_id));
  }
  if (request.args != nullptr && !request.args->is_null() && !request.args->is_map()) {
    return Fail(ErrorCode::kInvalidArgument, "args is neither a map nor null");
  }
  return {};
}

Result<void> EncodeRequest(Codec codec, const Request& request, const EncodeLimits& limits,
                           std::string* out) {
  const bool v2 = request.version >= 2;
  const bool stream = v2 && request.stream;
  const bool session = v2 && !request.session_id.empty();
  const bool credit = stream && request.credit > 0;
  const bool timeout = v2 && request.timeout_ms > 0;
  return WithMemberWriter(
      codec, 3 + stream + credit + session + timeout, out, [&](auto& writer) -> Result<void> {
        writer.Int("id", static_cast<int64_t>(request.id));
        writer.Text("command", request.command);
        if (stream) writer.Bool("stream", true);
        if (credit) writer.Int("credit", request.credit);
        if (session) writer.Text("session_id", request.session_id);
        if (timeout) writer.Int("timeout_ms", request.timeout_ms);
        Result<void> encoded;
        if (request.args == nullptr || request.args->is_null()) {
          writer.EmptyMap("args");
        } else {
          encoded = writer.AnyValue("args", *request.args, request.version, limits);
        }
        writer.End();
        return encoded;
      });
}

// Appends a message with at most one text, a short one: it fits into any frame.
template <typename Write>
void AppendSmallFrame(Codec codec, std::string_view type, size_t members, std::string* out,
                      Write write) {
  const size_t start = BeginFrame(out);
  WithMemberWriter(codec, 1 + members, out, [&](auto& writer) {
    writer.Text("type", type);
    write(writer);
    writer.End();
  });
  [[maybe_unused]] const bool ended = EndFrame(out, start, UINT32_MAX).has_value();
  assert(ended);
}

class ReplyReader {
 public:
  ReplyReader(int version, std::string_view payload) : version_(version), payload_(payload) {}

  Result<Reply> Read(Codec codec, const DecodeLimits& limits, Values values) {
    if (auto decoded = DecodeMembers(codec, version_, payload_, members_, limits, values);
        !decoded) {
      Error error = std::move(decoded.error());
      if (error.code != ErrorCode::kInvalidArgument) return Fail(std::move(error));
      return Fail(ErrorCode::kProtocolError, "malformed reply: " + error.message);
    }
    if (!ReadId()) return Malformed("`id` is not an integer");
    if (const auto* type = Get(kType).get_if<std::string>(); type != nullptr && *type == "chunk") {
      return ReadChunk();
    }
    const bool* success = Get(kSuccess).get_if<bool>();
    if (success == nullptr) return Malformed("`success` is not true or false");
    if (!*success) return ReadError();
    if (!Get(kResult).value) return Malformed("a success has no `result`");
    return ReadValue(Reply::Kind::kResult, kResult);
  }

 private:
  enum Name { kId, kType, kSuccess, kResult, kError, kCode, kDidNotRun, kIndex, kFinal, kChunk };

  Member& Get(Name name) { return members_[name]; }

  tl::unexpected<Error> Malformed(std::string_view what) const {
    return Fail(ErrorCode::kProtocolError,
                "malformed reply: " + std::string(what) + ", in " + QuoteBytes(payload_));
  }

  bool ReadId() {
    const std::optional<Value>& id = Get(kId).value;
    if (!id || id->is_null()) return true;
    const int64_t* number = id->get_if<int64_t>();
    if (number != nullptr) reply_.id = *number;
    return number != nullptr;
  }

  Result<Reply> ReadValue(Reply::Kind kind, Name name) {
    reply_.kind = kind;
    reply_.value = *std::move(Get(name).value);
    reply_.has_value = true;
    return std::move(reply_);
  }

  Result<Reply> ReadError() {
    const std::string* text = Get(kError).get_if<std::string>();
    if (text == nullptr) return Malformed("a failure has no `error` text");
    const std::string* code = Get(kCode).get_if<std::string>();
    // A code of another kind counts as an unknown code, not as a missing one.
    reply_.error = WorkerError(code != nullptr ? *code : Get(kCode).value ? "?" : "", *text);
    const bool* did_not_run = Get(kDidNotRun).get_if<bool>();
    if (version_ >= 2 && did_not_run != nullptr && *did_not_run) reply_.error.may_have_run = false;
    reply_.kind = Reply::Kind::kError;
    reply_.final = true;
    return std::move(reply_);
  }

  Result<Reply> ReadChunk() {
    const int64_t* index = Get(kIndex).get_if<int64_t>();
    if (index == nullptr || *index < 0) {
      return Malformed("a chunk's `index` is not an integer from 0 up");
    }
    reply_.chunk_index = *index;
    if (Get(kSuccess).value) {
      const bool* success = Get(kSuccess).get_if<bool>();
      if (success == nullptr) return Malformed("`success` is not true or false");
      if (!*success) return ReadError();
    }
    const bool* final = Get(kFinal).get_if<bool>();
    if (final == nullptr) return Malformed("a chunk's `final` is not true or false");
    const bool has_chunk = Get(kChunk).value.has_value();
    if (!has_chunk && !*final) return Malformed("a chunk that is not final has no `chunk`");
    reply_.final = *final;
    if (has_chunk) return ReadValue(Reply::Kind::kChunk, kChunk);
    reply_.kind = Reply::Kind::kChunk;
    return std::move(reply_);
  }

  const int version_;
  std::string_view payload_;
  // Same order as Name.
  Member members_[10] = {
      {"id"},
      {"type", Member::Kind::kText},
      {"success"},
      {"result", Member::Kind::kValue},
      {"error", Member::Kind::kText},
      {"code", Member::Kind::kText},
      {"did_not_run"},
      {"index"},
      {"final"},
      {"chunk", Member::Kind::kValue},
  };
  Reply reply_;
};

// Turns a reply whose value could not be decoded into a failure.
void MakeFailed(Error error, size_t payload_bytes, Reply* reply) {
  reply->kind = Reply::Kind::kError;
  reply->has_value = false;
  reply->error = std::move(error);
  reply->error.message =
      "the reply of " + std::to_string(payload_bytes) + " bytes: " + reply->error.message;
  reply->error.may_have_run = true;
}

}  // namespace

Result<void> EncodeRequestFrame(Codec codec, const Request& request, const EncodeLimits& limits,
                                std::string* out) {
  if (Result<void> checked = CheckRequest(request); !checked) return checked;
  const size_t start = out->size();
  try {
    BeginFrame(out);
    if (Result<void> encoded = EncodeRequest(codec, request, limits, out); !encoded) {
      out->resize(start);
      return encoded;
    }
  } catch (const std::bad_alloc&) {
    const size_t reached = out->size() - start;
    out->resize(start);
    return Fail(OutOfMemory(reached));
  }
  return EndFrame(out, start, limits.max_bytes);
}

void AppendCancelFrame(Codec codec, uint64_t id, std::string* out) {
  AppendSmallFrame(codec, "cancel", 1, out,
                   [id](auto& writer) { writer.Int("id", static_cast<int64_t>(id)); });
}

void AppendCreditFrame(Codec codec, uint64_t id, int64_t bytes, std::string* out) {
  AppendSmallFrame(codec, "credit", 2, out, [id, bytes](auto& writer) {
    writer.Int("id", static_cast<int64_t>(id));
    writer.Int("bytes", bytes);
  });
}

void AppendEndSessionFrame(Codec codec, std::string_view session_id, std::string* out) {
  AppendSmallFrame(codec, "end_session", 1, out,
                   [session_id](auto& writer) { writer.Text("session_id", session_id); });
}

void AppendHealthFrame(Codec codec, uint64_t id, std::string* out) {
  AppendSmallFrame(codec, "health", 1, out,
                   [id](auto& writer) { writer.Int("id", static_cast<int64_t>(id)); });
}

Result<Reply> DecodeReply(Codec codec, int version, std::string_view payload,
                          const DecodeLimits& limits) {
  auto reply = OrOutOfMemory(payload.size(), [&] {
    return ReplyReader(version, payload).Read(codec, limits, Values::kDecoded);
  });
  if (!reply && reply.error().code != ErrorCode::kProtocolError) {
    Error error = std::move(reply.error());
    reply = DecodeReplyWithoutValue(codec, version, payload, limits.max_bytes);
    if (reply) MakeFailed(std::move(error), payload.size(), &*reply);
  }
  return reply;
}

Result<Reply> DecodeReplyWithoutValue(Codec codec, int version, std::string_view payload,
                                      size_t max_decoded_bytes) {
  return OrOutOfMemory(payload.size(), [&] {
    const DecodeLimits limits{.max_bytes = max_decoded_bytes};
    return ReplyReader(version, payload).Read(codec, limits, Values::kPassedOver);
  });
}

Error WorkerError(std::string_view code, std::string_view error_text) {
  Error error;
  error.code = code.empty()
                   ? LegacyErrorCode(error_text)
                   : WorkersCode(ErrorCodeFromName(code).value_or(ErrorCode::kHandlerFailed));
  error.message =
      error_text.empty() ? std::string(kNoReason) : Excerpt(error_text, kMostErrorTextBytes);
  error.may_have_run = error.code != ErrorCode::kUnimplemented;
  return error;
}

ErrorCode LegacyErrorCode(std::string_view error_text) {
  constexpr std::string_view kUnknown = "unknown command";
  const bool unknown =
      error_text.size() >= kUnknown.size() &&
      std::equal(kUnknown.begin(), kUnknown.end(), error_text.begin(),
                 [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
  return unknown ? ErrorCode::kUnimplemented : ErrorCode::kHandlerFailed;
}

std::optional<Error> LegacyResultError(const Value& result) {
  if (result.TextAt("status") != "error") return std::nullopt;
  const Value* error = result.Find("error");
  const auto* text = error == nullptr ? nullptr : error->get_if<std::string>();
  if (text == nullptr) return std::nullopt;
  return WorkerError("", *text);
}

}  // namespace snakepit
