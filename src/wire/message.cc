#include "src/wire/message.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/value/utf8.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"

namespace snakepit {
namespace {

// A reply's own map encloses its value.
constexpr int kReplyNesting = kMaxNesting + 1;

// Writes the members of a request's map in either codec.
class MemberWriter {
 public:
  MemberWriter(Codec codec, size_t members, std::string* out) : codec_(codec), out_(out) {
    if (codec_ == Codec::kMessagePack) AppendMsgpackMapHeader(members, out_);
  }

  void Key(std::string_view key) {
    if (codec_ == Codec::kMessagePack) return AppendMsgpackText(key, out_);
    *out_ += std::exchange(separator_, ',');
    AppendJsonText(key, out_);
    *out_ += ':';
  }

  void Uint(std::string_view key, uint64_t number) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackUint(number, out_);
    char buffer[20];
    out_->append(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
  }

  void Text(std::string_view key, std::string_view text) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackText(text, out_);
    AppendJsonText(text, out_);
  }

  void True(std::string_view key) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackBool(true, out_);
    *out_ += "true";
  }

  void EmptyMap(std::string_view key) {
    Key(key);
    if (codec_ == Codec::kMessagePack) return AppendMsgpackMapHeader(0, out_);
    *out_ += "{}";
  }

  void End() {
    if (codec_ == Codec::kJson) *out_ += '}';
  }

 private:
  const Codec codec_;
  std::string* out_;
  char separator_ = '{';
};

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

Result<void> EncodeRequest(Codec codec, const Request& request, std::string* out) {
  const bool v2 = request.version >= 2;
  const bool stream = v2 && request.stream;
  const bool session = v2 && !request.session_id.empty();
  const bool timeout = v2 && request.timeout_ms > 0;
  MemberWriter writer(codec, 3 + stream + session + timeout, out);
  writer.Uint("id", request.id);
  writer.Text("command", request.command);
  if (stream) writer.True("stream");
  if (session) writer.Text("session_id", request.session_id);
  if (timeout) writer.Uint("timeout_ms", static_cast<uint64_t>(request.timeout_ms));
  if (request.args == nullptr || request.args->is_null()) {
    writer.EmptyMap("args");
  } else {
    writer.Key("args");
    if (Result<void> encoded = Encode(codec, *request.args, out, "args"); !encoded) return encoded;
  }
  writer.End();
  return {};
}

// Takes the members out of the decoded map of a reply.
class ReplyReader {
 public:
  ReplyReader(Value::Map map, std::string_view payload) : map_(std::move(map)), payload_(payload) {}

  Result<Reply> Read() {
    if (!ReadId()) return Malformed("`id` is not an integer");
    const Value* type = Find("type");
    if (type != nullptr && *type == Value("chunk")) return ReadChunk();
    const bool* success = FindAs<bool>("success");
    if (success == nullptr) return Malformed("`success` is not true or false");
    if (!*success) return ReadError();
    Value* result = Find("result");
    if (result == nullptr) return Malformed("a success has no `result`");
    reply_.kind = Reply::Kind::kResult;
    reply_.value = std::move(*result);
    reply_.has_value = true;
    return std::move(reply_);
  }

 private:
  Value* Find(std::string_view key) {
    const auto it = map_.find(key);
    return it == map_.end() ? nullptr : &it->second;
  }

  template <typename T>
  T* FindAs(std::string_view key) {
    Value* value = Find(key);
    return value == nullptr ? nullptr : value->get_if<T>();
  }

  tl::unexpected<Error> Malformed(std::string_view what) const {
    return Fail(ErrorCode::kProtocolError,
                "malformed reply: " + std::string(what) + ", in " + QuoteBytes(payload_));
  }

  bool ReadId() {
    const Value* id = Find("id");
    if (id == nullptr || id->is_null()) return true;
    const int64_t* number = id->get_if<int64_t>();
    if (number != nullptr) reply_.id = *number;
    return number != nullptr;
  }

  Result<Reply> ReadError() {
    const std::string* text = FindAs<std::string>("error");
    if (text == nullptr) return Malformed("a failure has no `error` text");
    const Value* code = Find("code");
    const std::string* name = FindAs<std::string>("code");
    // A code of another kind is a code unknown, not a missing one.
    reply_.error = WorkerError(name != nullptr ? *name : code != nullptr ? "?" : "", *text);
    reply_.kind = Reply::Kind::kError;
    reply_.final = true;
    return std::move(reply_);
  }

  Result<Reply> ReadChunk() {
    const int64_t* index = FindAs<int64_t>("index");
    if (index == nullptr || *index < 0) {
      return Malformed("a chunk's `index` is not an integer from 0 up");
    }
    reply_.chunk_index = *index;
    if (const Value* success = Find("success"); success != nullptr) {
      if (*success == Value(false)) return ReadError();
      if (*success != Value(true)) return Malformed("`success` is not true or false");
    }
    const bool* final = FindAs<bool>("final");
    if (final == nullptr) return Malformed("a chunk's `final` is not true or false");
    Value* chunk = Find("chunk");
    if (chunk == nullptr && !*final) return Malformed("a chunk that is not final has no `chunk`");
    reply_.kind = Reply::Kind::kChunk;
    reply_.final = *final;
    reply_.has_value = chunk != nullptr;
    if (chunk != nullptr) reply_.value = std::move(*chunk);
    return std::move(reply_);
  }

  Value::Map map_;
  std::string_view payload_;
  Reply reply_;
};

constexpr ErrorCode kWorkersCodes[] = {
    ErrorCode::kUnimplemented,    ErrorCode::kInvalidArgument, ErrorCode::kHandlerFailed,
    ErrorCode::kDeadlineExceeded, ErrorCode::kCancelled,       ErrorCode::kMessageTooLarge,
};

ErrorCode WorkersCode(std::string_view name) {
  const std::optional<ErrorCode> code = ErrorCodeFromName(name);
  const bool allowed = code && std::find(std::begin(kWorkersCodes), std::end(kWorkersCodes),
                                         *code) != std::end(kWorkersCodes);
  return allowed ? *code : ErrorCode::kHandlerFailed;
}

}  // namespace

Result<void> EncodeRequestFrame(Codec codec, const Request& request, size_t max_frame_bytes,
                                std::string* out) {
  if (Result<void> checked = CheckRequest(request); !checked) return checked;
  const size_t start = BeginFrame(out);
  if (Result<void> encoded = EncodeRequest(codec, request, out); !encoded) {
    out->resize(start);
    return encoded;
  }
  return EndFrame(out, start, max_frame_bytes);
}

Result<Reply> DecodeReply(Codec codec, std::string_view payload) {
  Result<Value> decoded = Decode(codec, payload, kReplyNesting);
  if (!decoded) {
    return Fail(ErrorCode::kProtocolError, "malformed reply: " + decoded.error().message);
  }
  Value::Map* map = decoded->get_if<Value::Map>();
  if (map == nullptr) {
    return Fail(ErrorCode::kProtocolError,
                "malformed reply: it is not a map, in " + QuoteBytes(payload));
  }
  return ReplyReader(std::move(*map), payload).Read();
}

Error WorkerError(std::string_view code, std::string_view error_text) {
  Error error;
  error.code = code.empty() ? LegacyErrorCode(error_text) : WorkersCode(code);
  error.message = OneLine(error_text);
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
  const Value* text = result.Find("error");
  if (text == nullptr || !text->is_text()) return std::nullopt;
  return WorkerError("", *text->get_if<std::string>());
}

}  // namespace snakepit
