// Group frm: frames, malformed input, and messages that a worker over stdio has to tell apart.
#include "conformance/cases/cases.h"
#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

// The most memory that a worker takes on for a frame that has not come.
constexpr int64_t kMaxGrowth = 16 << 20;

// The worker answers the payload by a failure without an id, or with that one, and goes on.
void ExpectRefusedPayload(StdioPoolEnd& pool, std::string_view payload, const Json& id = {}) {
  pool.SendPayload(payload);
  ExpectRefusal(pool.Receive(), id, "INVALID_ARGUMENT", pool.version());
}

void ExpectRefusedMessage(StdioPoolEnd& pool, const Json& message, const Json& id = {}) {
  pool.Send(message);
  ExpectRefusal(pool.Receive(), id, "INVALID_ARGUMENT", pool.version());
}

// Worker of version 1 need not do what their clauses say of version 2: PROTOCOL.md 2.6.9.
void OpenVersion2(StdioPoolEnd& pool) {
  pool.Open();
  pool.NeedVersion2();
}

}  // namespace

std::vector<Case> FramingCases() {
  return {
      {.id = "frm/split",
       .title = "a frame may come a byte at a time",
       .clause = "2.1.3",
       .requirement = "a reader does not assume that a read gives exactly one frame",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             const int64_t id = pool.NewId();
             for (const char byte : pool.Frame(StdioPoolEnd::Request(id, "ping"))) {
               pool.SendBytes({&byte, 1});
               pool.AwaitRead();
             }
             ExpectSuccess(pool.ReceiveFor(id), id);
           },
       .mutants = {{kWorker, "one-read-one-frame", "ended with exit code 1"}}},

      {.id = "frm/merged",
       .title = "several frames may come in one read",
       .clause = "2.1.3",
       .requirement = "a reader does not assume that a read gives exactly one frame",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             std::vector<int64_t> ids;
             std::string bytes;
             for (int i = 0; i < 100; ++i) {
               // Version 1 has no capacity, and answers in order: 2.3.3.
               if (pool.version() >= 2 && i >= pool.capacity()) break;
               ids.push_back(pool.NewId());
               bytes += pool.Frame(StdioPoolEnd::Request(ids.back(), "ping"));
             }
             // The first part of a frame behind the whole ones, too.
             const int64_t last = pool.NewId();
             const std::string frame = pool.Frame(StdioPoolEnd::Request(last, "ping"));
             bytes += frame.substr(0, frame.size() / 2);
             pool.SendBytes(bytes);
             for (const int64_t id : ids) ExpectSuccess(pool.ReceiveFor(id), id);
             pool.SendBytes(std::string_view(frame).substr(frame.size() / 2));
             ExpectSuccess(pool.ReceiveFor(last), last);
           },
       .mutants = {{kWorker, "one-frame-a-read", "none came within"}}},

      {.id = "frm/pipes",
       .title = "descriptors 0 and 1 may be two pipes",
       .clause = "1.3.2",
       .requirement = "descriptors 0 and 1 may each be a pipe or a stream socket",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open(StdioPoolEnd::Channel::kPipes);
             pool.ResultOf("ping");
             pool.CloseInput();
             pool.ExpectExit(0);
           },
       .mutants = {{kWorker, "needs-a-socket", "ended with exit code 1"}}},

      {.id = "frm/empty",
       .title = "a frame without a payload is answered by a failure",
       .clause = "2.6.7",
       .requirement =
           "on an empty payload the worker sends one failure, executes nothing, and goes "
           "on serving",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             ExpectRefusedPayload(pool, "");
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "exits-at-empty-frame", "ended with exit code 1"}}},

      {.id = "frm/undecodable",
       .title = "a payload that cannot be decoded is answered by a failure",
       .clause = "2.6.7",
       .requirement = "on a payload that cannot be decoded the worker sends one failure, executes "
                      "nothing, and goes on serving",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             const std::string cut =
                 pool.Frame(StdioPoolEnd::Request(pool.NewId(), "ping")).substr(4);
             // Without the id, which comes last, and which a reader might find.
             ExpectRefusedPayload(pool, std::string_view(cut).substr(0, cut.size() / 2));
             // 0xc1 begins no value of MessagePack, and no text in UTF-8.
             ExpectRefusedPayload(pool, "\xc1\xc1\xc1");
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "logs-bad-frames", "none came within"},
                   {kWorker, "exits-at-bad-frame", "ended with exit code 1"}}},

      {.id = "frm/no-map",
       .title = "a payload that is no map is answered by a failure",
       .clause = "2.6.7",
       .requirement = "on a payload that is no request the worker sends one failure, executes "
                      "nothing, and goes on serving",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             for (const Json& message : {Json{1, 2}, Json(5), Json("ping"), Json()}) {
               ExpectRefusedMessage(pool, message);
             }
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "ignores-non-maps", "none came within"}}},

      {.id = "frm/no-request",
       .title = "a map that is no request is refused with its id",
       .clause = "2.6.7",
       .requirement = "the failure has the request's id if an integer can be read as such",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             const int64_t id = pool.NewId();
             ExpectRefusedMessage(pool, {{"id", id}}, id);
             ExpectRefusedMessage(pool, {{"id", id}, {"command", 5}}, id);
             ExpectRefusedMessage(pool, {{"id", id}, {"command", "ping"}, {"args", {1}}}, id);
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "forgets-readable-id", "\"id\":null"}}},

      {.id = "frm/bad-id",
       .title = "a request without a usable id is refused",
       .clause = "2.6.7",
       .requirement = "an id outside of 2.3.1 is given back if it is an integer of 64 bits, and "
                      "otherwise the failure has `\"id\":null`",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             const auto request = [](const Json& id) {
               return Json{{"id", id}, {"command", "ping"}, {"args", Json::object()}};
             };
             for (const Json& id : {Json("7"), Json(1.5), Json(true), Json{1}}) {
               ExpectRefusedMessage(pool, request(id));
             }
             ExpectRefusedMessage(pool, {{"command", "ping"}});
             for (const Json& id : {Json(0), Json(-1), Json(int64_t{1} << 53), Json(INT64_MIN)}) {
               ExpectRefusedMessage(pool, request(id), id);
             }
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "echoes-any-id", "\"id\":\"7\""}}},

      {.id = "frm/duplicate-id",
       .title = "a request with the id of a call in flight is refused without an id",
       .clause = "6.8.4",
       .requirement = "a request with the id of a call in flight is answered by a failure with "
                      "`\"id\":null`, and not executed",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             pool.NeedCommands({"conf.sleep"});
             const int64_t id = pool.NewId();
             pool.Send(StdioPoolEnd::Request(id, "conf.sleep", {{"ms", 60'000}}));
             ExpectRefusedMessage(pool, StdioPoolEnd::Request(id, "ping"));
             // Anything else with that id and a fault, too.
             ExpectRefusedMessage(pool, {{"id", id}, {"command", 5}});
             pool.ExpectNothingElse();
             pool.Send({{"type", "cancel"}, {"id", id}});
             ExpectFailure(pool.ReceiveFor(id), id, "CANCELLED", 2);
           },
       .mutants = {{kWorker, "runs-duplicate-id", "\"status\":\"ok\""}}},

      {.id = "frm/oversized",
       .title = "a frame over the limit ends the worker with exit code 1",
       .clause = "2.6.6",
       .requirement = "on a length over the limit the worker exits with 1",
       .judge =
           [](StdioPoolEnd& pool) {
             for (const bool is_largest : {false, true}) {
               pool.Restart();
               OpenVersion2(pool);
               const int64_t over = is_largest ? UINT32_MAX : pool.max_frame_bytes() + 1;
               pool.TrySendBytes(FrameHeader(static_cast<uint32_t>(over)) + "some bytes");
               pool.ExpectExit(1);
             }
           },
       .mutants = {{kWorker, "waits-for-oversized", "it goes on"},
                   {kWorker, "exit-0-at-oversized", "exit code 0"}}},

      {.id = "frm/oversized-told",
       .title = "a frame over the limit is answered before the end",
       .clause = "2.6.6",
       .requirement = "on a length over the limit the worker sends one failure with `\"id\":null`",
       .level = Level::kShould,
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             pool.TrySendBytes(FrameHeader(static_cast<uint32_t>(pool.max_frame_bytes() + 1)));
             const Json failure = pool.Receive();
             if (!failure.value("id", Json(0)).is_null() ||
                 failure.value("success", Json()) != false) {
               Fail("a failure with `\"id\":null`", Show(failure));
             }
           },
       .mutants = {{kWorker, "silent-at-oversized", "ended with exit code 1"}}},

      {.id = "frm/claimed-length",
       .title = "no memory is reserved for bytes that have not come",
       .clause = "2.1.4",
       .requirement = "a reader reserves memory by the bytes that have arrived, and not by the "
                      "length that a frame claims",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             pool.ResultOf("ping");
             const int64_t before = pool.PeakBytes();
             pool.SendBytes(FrameHeader(static_cast<uint32_t>(pool.max_frame_bytes())) +
                            std::string(1000, ' '));
             pool.AwaitRead();
             pool.AwaitIdle();
             const int64_t growth = pool.PeakBytes() - before;
             if (growth > kMaxGrowth) {
               Fail("at most " + std::to_string(kMaxGrowth) +
                        " bytes of memory for a frame of which "
                        "1000 bytes have come",
                    std::to_string(growth) + " bytes");
             }
           },
       .mutants = {{kWorker, "reserves-by-claim", " bytes"}}},

      {.id = "frm/cut-header",
       .title = "an input that ends within the header of a frame is exit code 1",
       .clause = "2.6.8",
       .requirement = "on the end of input within a frame the worker exits with 1",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             pool.SendBytes(FrameHeader(40).substr(0, 2));
             pool.CloseInput();
             pool.ExpectExit(1);
           },
       .mutants = {{kWorker, "exit-0-in-frame", "exit code 0"}}},

      {.id = "frm/cut-body",
       .title = "a request whose frame is cut is not executed",
       .clause = "2.6.8",
       .requirement = "on the end of input within a frame the worker does not execute that frame, "
                      "and exits with 1",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             // All of the request is there, and its frame claims one byte more.
             const std::string request =
                 pool.Frame(StdioPoolEnd::Request(pool.NewId(), "ping")).substr(4);
             pool.SendBytes(FrameHeader(static_cast<uint32_t>(request.size() + 1)) + request);
             pool.CloseInput();
             pool.ExpectExit(1);
             if (const auto reply = pool.TryReceive()) {
               Fail("no reply to a request of which a byte is missing", Show(*reply));
             }
           },
       .mutants = {{kWorker, "runs-cut-frame", "\"status\":\"ok\""}}},

      {.id = "frm/unknown-type",
       .title = "a message of an unknown type is ignored",
       .clause = "6.1.3",
       .requirement = "a worker ignores a message whose `type` it does not know, or is no text",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             for (const Json& type : {Json("teleport"), Json(5), Json(), Json("")}) {
               pool.Send({{"type", type}, {"id", pool.NewId()}, {"command", "ping"}});
             }
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "answers-unknown-types", "the worker sent"}}},

      {.id = "frm/null-members",
       .title = "null is no other way to leave a member out, except for args",
       .clause = "6.1.4",
       .requirement = "a member that is null breaks its clause, but `args` may be null",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             const int64_t id = pool.NewId();
             pool.Send({{"id", id}, {"command", "ping"}, {"args", Json()}});
             ExpectSuccess(pool.ReceiveFor(id), id);
             const int64_t next = pool.NewId();
             ExpectRefusedMessage(
                 pool,
                 StdioPoolEnd::Request(next, "ping", Json::object(), {{"timeout_ms", Json()}}),
                 next);
           },
       .mutants = {{kWorker, "null-is-absent", "\"status\":\"ok\""}}},

      {.id = "frm/bad-members",
       .title = "a request with a member that breaks its clause is refused",
       .clause = "6.2.5",
       .requirement = "a request with a member that breaks its clause is INVALID_ARGUMENT with "
                      "`did_not_run`",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             std::vector<Json> members = {{{"timeout_ms", "1000"}}, {{"timeout_ms", 1.5}}};
             if (pool.HasFeature("stream")) {
               for (const Json& more :
                    {Json{{"stream", "yes"}}, Json{{"stream", true}, {"credit", 0}},
                     Json{{"stream", true}, {"credit", int64_t{1} << 31}}}) {
                 members.push_back(more);
               }
             }
             if (pool.HasFeature("session")) {
               members.push_back({{"session_id", ""}});
               members.push_back({{"session_id", std::string(257, 's')}});
               members.push_back({{"session_id", 5}});
             }
             for (const Json& bad : members) {
               const int64_t id = pool.NewId();
               ExpectRefusedMessage(pool, StdioPoolEnd::Request(id, "ping", Json::object(), bad),
                                    id);
             }
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "takes-bad-members", "\"status\":\"ok\""}}},

      {.id = "frm/other-codec",
       .title = "a message in another codec than the agreed one cannot be decoded",
       .clause = "2.2.7",
       .requirement = "a worker does not try again as JSON what is no MessagePack",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             const Json request = StdioPoolEnd::Request(pool.NewId(), "ping");
             const bool is_json = pool.format() == Format::kJson;
             ExpectRefusedPayload(pool,
                                  Encode(is_json ? Format::kMsgpack : Format::kJson, request));
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "falls-back-to-json", "\"status\":\"ok\""}}},

      {.id = "frm/no-json",
       .title = "tokens of Python and half surrogate pairs are no JSON",
       .clause = "6.12.7",
       .requirement = "NaN and Infinity (2.2.4) and text with a lone surrogate cannot be decoded",
       .judge =
           [](StdioPoolEnd& pool) {
             OpenVersion2(pool);
             if (pool.format() != Format::kJson) NotApplicable("the connection is in MessagePack");
             for (const char* value : {"NaN", "-Infinity", R"("\ud83d")"}) {
               const int64_t id = pool.NewId();
               const std::string payload = R"({"command":"ping","args":{"x":)" +
                                           std::string(value) + R"(},"id":)" + std::to_string(id) +
                                           "}";
               pool.SendPayload(payload);
               // A reader may know the id of what it cannot decode.
               const Json failure = pool.Receive();
               const Json given = failure.value("id", Json());
               ExpectRefusal(failure, given.is_null() ? Json() : Json(id), "INVALID_ARGUMENT", 2);
             }
           },
       .mutants = {{kWorker, "takes-nan-tokens", "\"status\":\"ok\""},
                   {kWorker, "takes-lone-surrogates", "invalid string: surrogate"}}},

      {.id = "frm/one-reply",
       .title = "a request has one reply, and nothing comes without one",
       .clause = "2.4.7",
       .requirement = "a worker sends exactly one reply to each request, and nothing that does not "
                      "answer one",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             for (int i = 0; i < 3; ++i) {
               pool.ResultOf("ping");
               pool.ExpectNothingElse();
             }
           },
       .mutants = {{kWorker, "replies-twice", "the worker sent"},
                   {kWorker, "heartbeats", "the worker sent"}}},
  };
}

}  // namespace snakepit::conformance
