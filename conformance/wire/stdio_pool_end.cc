#include "conformance/wire/stdio_pool_end.h"

#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "src/base/quote.h"
#include "src/transport/launch_spec.h"

namespace snakepit::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kHeaderBytes = 4;
// The largest payload that the judge reads: what it says in its offer.
constexpr int64_t kMaxFrameBytes = 64 << 20;
// The members of messages that hold values. PROTOCOL.md 6.12.5.
constexpr const char* kValueMembers[] = {"args", "result", "chunk"};

const Json* Find(const Json& map, std::string_view name) {
  const auto it = map.find(name);
  return it == map.end() ? nullptr : &*it;
}

bool IsText(const Json* value) { return value != nullptr && value->is_string(); }
bool IsTrue(const Json* value) { return value != nullptr && *value == Json(true); }

// The texts of an array, without its other elements; none without an array.
std::vector<std::string> TextsOf(const Json* array) {
  std::vector<std::string> texts;
  if (array == nullptr || !array->is_array()) return texts;
  for (const Json& element : *array) {
    if (element.is_string()) texts.push_back(element);
  }
  return texts;
}

uint32_t SizeOf(std::string_view header) {
  uint32_t size = 0;
  for (const char byte : header) size = size << 8 | static_cast<unsigned char>(byte);
  return size;
}

}  // namespace

void Fail(std::string expected, std::string observed) {
  throw CaseEnd{Verdict::Fail(std::move(expected), std::move(observed))};
}

void NotApplicable(std::string why) { throw CaseEnd{Verdict::NotApplicable(std::move(why))}; }

std::string FrameHeader(uint32_t size) {
  return {static_cast<char>(size >> 24), static_cast<char>(size >> 16 & 255),
          static_cast<char>(size >> 8 & 255), static_cast<char>(size & 255)};
}

std::string FrameOf(std::string_view payload) {
  return FrameHeader(static_cast<uint32_t>(payload.size())) + std::string(payload);
}

StdioPoolEnd::StdioPoolEnd(Options options, Transcript& transcript)
    : options_(std::move(options)), transcript_(transcript), process_(std::in_place, transcript) {
  format_ = FirstFormat();
}

StdioPoolEnd::Deadline StdioPoolEnd::Patience() const {
  return steady_clock::now() + Scaled(options_.patience);
}

milliseconds StdioPoolEnd::Scaled(milliseconds time) const {
  return milliseconds(static_cast<int64_t>(static_cast<double>(time.count()) * options_.slowdown));
}

Format StdioPoolEnd::FirstFormat() const {
  return stdio().codecs.front() == Codec::kJson ? Format::kJson : Format::kMsgpack;
}

void StdioPoolEnd::Start(Channel channel, const std::vector<std::string>& variables) {
  const Adapter& adapter = options_.adapter;
  auto instance = NewInstance();
  if (!instance) throw CaseEnd{Verdict::HarnessError(instance.error().ToString())};
  std::vector<std::string> environment =
      WorkerEnvironment(adapter, {{"SNAKEPIT_WORKER_ID", "worker_0"}});
  environment.insert(environment.end(), variables.begin(), variables.end());
  const auto started = process_->Start(
      FillIn(adapter.argv, {{"{worker_id}", "worker_0"}, {"{instance}", *instance}}),
      std::move(environment), channel);
  if (started) return;
  const std::string text = started.error().ToString();
  if (started.error().code != ErrorCode::kStartFailed) throw CaseEnd{Verdict::HarnessError(text)};
  throw CaseEnd{{Status::kNotRun, "the worker starts", text}};
}

void StdioPoolEnd::Restart() {
  process_.emplace(transcript_);
  format_ = FirstFormat();
  version_ = 1;
  capacity_ = 1;
  max_frame_bytes_ = kMaxFrameBytes;
  features_.clear();
  kept_.clear();
}

void StdioPoolEnd::Open(Channel channel) {
  Start(channel);
  if (negotiates()) {
    Negotiate(Offer());
  } else {
    SetFormat(FirstFormat());
  }
  AwaitReady();
}

void StdioPoolEnd::OpenWith(const Json& offer) {
  Start();
  Negotiate(offer);
  AwaitReady();
}

void StdioPoolEnd::AwaitReady() {
  const Json result = ResultOf("ping", {{"worker_id", "worker_0"}, {"initialization", true}});
  if (result.is_object() && result.value("status", Json()) == "ok") return;
  Fail("the first ping is answered by {\"status\":\"ok\"}", "by " + Show(result));
}

void StdioPoolEnd::ExpectExit(int code) {
  const std::string expected = "the worker ends with exit code " + std::to_string(code);
  const Deadline deadline = Patience();
  const std::optional<int> status = process_->AwaitExit(deadline);
  if (!status) Fail(expected, "it goes on");
  if (!WIFEXITED(*status) || WEXITSTATUS(*status) != code) {
    Fail(expected, "it ended " + DescribeEnd(*status) + StderrTail());
  }
  // The channel still holds the last of its output.
  while (!process_->output_ended() && process_->AwaitInput(deadline)) continue;
}

bool StdioPoolEnd::TrySendBytes(std::string_view bytes) {
  process_->Write(bytes);
  return process_->AwaitWritten(Patience());
}

void StdioPoolEnd::SendBytes(std::string_view bytes) {
  if (!TrySendBytes(bytes)) FailAtEnd("the worker reads its input");
}

void StdioPoolEnd::AwaitRead() {
  if (!process_->AwaitRead(Patience())) FailAtEnd("the worker reads its input");
}

void StdioPoolEnd::AwaitIdle() {
  if (!process_->AwaitIdle(Patience())) FailAtEnd("the worker comes to rest");
}

std::string StdioPoolEnd::StderrTail() const {
  const std::string& tail = process_->stderr_tail();
  return tail.empty() ? "" : "; its stderr ends: " + tail;
}

void StdioPoolEnd::FailAtEnd(std::string expected) {
  const std::optional<int> status =
      process_->AwaitExit(steady_clock::now() + Scaled(milliseconds(500)));
  std::string observed = "it does not";
  if (process_->output_ended()) observed = "it closed its output";
  if (status) observed = "the worker ended " + DescribeEnd(*status);
  Fail(std::move(expected), observed + StderrTail());
}

std::optional<std::string> StdioPoolEnd::NextPayload() {
  const Deadline deadline = Patience();
  const auto await = [&](size_t size, const char* part) {
    while (process_->input().size() < size) {
      if (process_->AwaitInput(deadline)) continue;
      if (!process_->output_ended()) {
        Fail("a message from the worker",
             "none came within " + std::to_string(Scaled(options_.patience).count()) + " ms" +
                 (process_->input().empty() ? "" : ", but a part"));
      }
      if (process_->input().empty()) return false;
      Fail("frames from the worker", std::string("its output ended within ") + part + ": " +
                                         HexBytes(process_->input().substr(0, 16)));
    }
    return true;
  };
  if (!await(kHeaderBytes, "the header of a frame")) return std::nullopt;
  const uint32_t size = SizeOf(process_->input().substr(0, kHeaderBytes));
  if (size == 0 || size > kMaxFrameBytes) {
    await(std::min<size_t>(kHeaderBytes + 16, process_->input().size()), "a frame");
    Fail("frames from the worker, of 1 to " + std::to_string(kMaxFrameBytes) + " bytes",
         "bytes that are no frame: " + HexBytes(process_->input().substr(0, 24)) + " (\"" +
             Printable(process_->input().substr(0, 24)) + "\")");
  }
  await(kHeaderBytes + size, "a frame");
  std::string payload(process_->input().substr(kHeaderBytes, size));
  process_->Take(kHeaderBytes + size);
  return payload;
}

Json StdioPoolEnd::Offer() const {
  Json codecs = Json::array();
  for (const Codec codec : stdio().codecs) codecs.push_back(CodecName(codec));
  return {{"type", "protocol_negotiation"},
          {"supported", codecs},
          {"preferred", codecs.front()},
          {"timestamp", "2026-01-31T12:00:00.000Z"},
          {"version", 2},
          {"features", {"stream", "session"}},
          {"max_frame_bytes", kMaxFrameBytes}};
}

Json StdioPoolEnd::Negotiate(const Json& offer) {
  SendPayload(Encode(Format::kJson, offer));
  const auto payload = NextPayload();
  if (!payload) FailAtEnd("an answer to the negotiation");
  Result<Json> answer = conformance::Decode(Format::kJson, *payload);
  if (!answer) {
    // A worker of the legacy protocol that was started with MessagePack: PROTOCOL.md 3.3.3.
    answer = conformance::Decode(Format::kMsgpack, *payload);
    if (answer && answer->is_object()) {
      SetFormat(Format::kMsgpack);
      return *answer;
    }
  }
  if (!answer || !answer->is_object()) {
    Fail("an answer to the negotiation that is a map in JSON", Printable(payload->substr(0, 200)));
  }
  if (answer->value("type", Json()) != "protocol_selected") {
    SetFormat(Format::kJson);  // 3.3.2
    return *answer;
  }
  const Json protocol = answer->value("protocol", Json());
  if (protocol != "json" && protocol != "msgpack") {
    Fail("`protocol` is a codec of the offer", Show(*answer));
  }
  format_ = protocol == "json" ? Format::kJson : Format::kMsgpack;
  const Json version = answer->value("version", Json(1));
  version_ = version.is_number_integer() ? version.get<int>() : 1;
  if (const Json* capacity = Find(*answer, "capacity"); capacity && capacity->is_number_integer()) {
    capacity_ = capacity->get<int>();
  }
  if (const Json* limit = Find(*answer, "max_frame_bytes"); limit && limit->is_number_integer()) {
    max_frame_bytes_ = limit->get<int64_t>();
  }
  features_ = TextsOf(Find(*answer, "features"));
  return *answer;
}

bool StdioPoolEnd::HasFeature(std::string_view feature) const {
  return std::find(features_.begin(), features_.end(), feature) != features_.end();
}

std::string StdioPoolEnd::Frame(const Json& message) const {
  const bool has_tags = format_ == Format::kJson && version_ >= 2 && message.is_object();
  if (!has_tags) return FrameOf(Encode(format_, message));
  Json tagged = message;
  for (const char* name : kValueMembers) {
    if (const auto it = tagged.find(name); it != tagged.end()) *it = Tagged(*it);
  }
  return FrameOf(Encode(format_, tagged));
}

Json StdioPoolEnd::Decoded(const std::string& payload) {
  last_size_ = payload.size();
  Result<Json> message = conformance::Decode(format_, payload);
  const auto fail = [&](const std::string& why) {
    Fail("a message in " + std::string(FormatName(format_)),
         why + "; the payload: " + Printable(payload.substr(0, 200)));
  };
  if (!message) fail(message.error().message);
  if (!message->is_object()) fail("it is no map");
  if (format_ == Format::kJson && version_ >= 2) {
    for (const char* name : kValueMembers) {
      const auto it = message->find(name);
      if (it == message->end()) continue;
      Result<Json> value = Untagged(*it);
      if (!value) fail(value.error().message);
      *it = std::move(*value);
    }
  }
  return std::move(*message);
}

std::optional<Json> StdioPoolEnd::TryReceive() {
  if (!kept_.empty()) {
    Json message = std::move(kept_.front());
    kept_.pop_front();
    return message;
  }
  const auto payload = NextPayload();
  if (!payload) return std::nullopt;
  return Decoded(*payload);
}

Json StdioPoolEnd::Receive() {
  auto message = TryReceive();
  if (!message) FailAtEnd("a message from the worker");
  return std::move(*message);
}

Json StdioPoolEnd::ReceiveFor(int64_t id) {
  const auto has_id = [id](const Json& message) { return message.value("id", Json()) == Json(id); };
  const auto it = std::find_if(kept_.begin(), kept_.end(), has_id);
  if (it != kept_.end()) {
    Json message = std::move(*it);
    kept_.erase(it);
    return message;
  }
  for (;;) {
    const auto payload = NextPayload();
    if (!payload) FailAtEnd("a reply to the request " + std::to_string(id));
    Json message = Decoded(*payload);
    if (has_id(message)) return message;
    kept_.push_back(std::move(message));
  }
}

Json StdioPoolEnd::Request(int64_t id, std::string_view command, const Json& args,
                           const Json& extra) {
  Json request = {{"id", id}, {"command", command}, {"args", args}};
  request.update(extra);
  return request;
}

Json StdioPoolEnd::Call(std::string_view command, const Json& args, const Json& extra) {
  const int64_t id = NewId();
  Send(Request(id, command, args, extra));
  return ReceiveFor(id);
}

Json StdioPoolEnd::ResultOf(std::string_view command, const Json& args, const Json& extra) {
  const Json reply = Call(command, args, extra);
  return ExpectSuccess(reply, last_id_);
}

Json StdioPoolEnd::Query(std::string_view type) {
  const int64_t id = NewId();
  Send({{"type", type}, {"id", id}});
  return ExpectSuccess(ReceiveFor(id), id);
}

std::vector<std::string> StdioPoolEnd::SupportedCommands() {
  const Json info = Query("info");
  return TextsOf(info.is_object() ? Find(info, "supported_commands") : nullptr);
}

void StdioPoolEnd::ExpectNothingElse() {
  const int64_t id = NewId();
  if (version_ >= 2) {
    Send({{"type", "health"}, {"id", id}});
  } else {
    Send(Request(id, "ping"));
  }
  const Json next = Receive();
  if (next.value("id", Json()) == Json(id)) return;
  Fail("no message that answers nothing", "the worker sent " + Show(next));
}

void StdioPoolEnd::NeedHandshake() const {
  if (!negotiates()) NotApplicable("the worker is judged without a handshake");
}

void StdioPoolEnd::NeedMsgpack() const {
  const auto& codecs = stdio().codecs;
  if (std::find(codecs.begin(), codecs.end(), Codec::kMessagePack) == codecs.end()) {
    NotApplicable("the worker is judged without MessagePack");
  }
}

bool StdioPoolEnd::Takes(Format format) {
  Restart();
  Start();
  Json offer = Offer();
  offer["supported"] = {FormatName(format)};
  offer["preferred"] = FormatName(format);
  return Negotiate(offer).value("type", Json()) == "protocol_selected";
}

void StdioPoolEnd::NeedVersion2() const {
  if (version_ < 2) NotApplicable("protocol version 1");
}

void StdioPoolEnd::NeedFeature(std::string_view feature) const {
  NeedVersion2();
  if (!HasFeature(feature)) NotApplicable("no feature " + std::string(feature));
}

void StdioPoolEnd::NeedCommands(std::initializer_list<std::string_view> names) {
  NeedVersion2();
  const std::vector<std::string> listed = SupportedCommands();
  for (const std::string_view name : names) {
    if (std::find(listed.begin(), listed.end(), name) == listed.end()) {
      NotApplicable("no command " + std::string(name));
    }
  }
}

Json ExpectSuccess(const Json& reply, int64_t id) {
  const Json* result = Find(reply, "result");
  const bool is_right = reply.value("id", Json()) == Json(id) && IsTrue(Find(reply, "success")) &&
                        result != nullptr && Find(reply, "type") == nullptr;
  if (!is_right) Fail("a success with the id " + std::to_string(id) + " and a result", Show(reply));
  return *result;
}

void ExpectFailure(const Json& reply, const Json& id, std::string_view code, int version) {
  const std::string expected = "a failure with the id " + id.dump() +
                               (version >= 2 ? ", the code " + std::string(code) : std::string()) +
                               " and a text";
  const Json* given = Find(reply, "id");
  const Json* error = Find(reply, "error");
  const bool has_id = given == nullptr ? id.is_null() && version < 2 : *given == id;
  const bool is_right = has_id && reply.value("success", Json()) == Json(false) && IsText(error) &&
                        *error != "" && (version < 2 || reply.value("code", Json()) == Json(code));
  if (!is_right) Fail(expected, Show(reply));
}

void ExpectRefusal(const Json& reply, const Json& id, std::string_view code, int version) {
  ExpectFailure(reply, id, code, version);
  if (version >= 2 && code != "UNIMPLEMENTED" && !IsTrue(Find(reply, "did_not_run"))) {
    Fail("the failure says `did_not_run`", Show(reply));
  }
}

Json ExpectChunk(const Json& message, int64_t id, int64_t index, bool final) {
  const Json* chunk = Find(message, "chunk");
  const bool is_right = message.value("id", Json()) == Json(id) &&
                        message.value("type", Json()) == "chunk" &&
                        message.value("index", Json()) == Json(index) &&
                        message.value("final", Json()) == Json(final) &&
                        (final || chunk != nullptr) && Find(message, "success") == nullptr;
  if (!is_right) {
    Fail("chunk " + std::to_string(index) + " with the id " + std::to_string(id) +
             (final ? ", final" : ", not final"),
         Show(message));
  }
  return chunk == nullptr ? Json() : *chunk;
}

}  // namespace snakepit::conformance
