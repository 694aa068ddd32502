// Group hs: the handshake of a worker over stdio, and its first frame.
#include "conformance/cases/cases.h"
#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

// Starts the worker, and returns its answer to the offer.
Json AnswerTo(StdioPoolEnd& pool, const Json& offer) {
  pool.NeedHandshake();
  pool.Start();
  return pool.Negotiate(offer);
}

// The answer to an offer that the worker can take.
Json SelectedBy(StdioPoolEnd& pool, const Json& offer) {
  Json answer = AnswerTo(pool, offer);
  if (answer.value("type", Json()) == "protocol_selected") return answer;
  Fail("the answer `protocol_selected`", Show(answer));
}

Json With(Json offer, const Json& members) {
  offer.update(members);
  return offer;
}

// A worker of the legacy protocol answers a negotiation as an unknown command: PROTOCOL.md 3.3.
void NeedNegotiation(StdioPoolEnd& pool) {
  const Json answer = AnswerTo(pool, pool.Offer());
  if (answer.value("type", Json()) != "protocol_selected") {
    NotApplicable("the worker knows no negotiation");
  }
}

void ExpectRefusedOffer(StdioPoolEnd& pool, const Json& offer) {
  const Json answer = AnswerTo(pool, offer);
  const Json error = answer.value("error", Json());
  if (answer.value("type", Json()) != "protocol_error" || !error.is_string() || error == "") {
    Fail("the answer `protocol_error` with a text", Show(answer));
  }
  pool.ExpectExit(1);
}

}  // namespace

std::vector<Case> HandshakeCases() {
  return {
      {.id = "hs/output-clean",
       .title = "nothing comes before the first frame",
       .clause = "1.3.3",
       .requirement = "a worker writes nothing but frames to descriptor 1",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.Open();
             pool.ExpectNothingElse();
           },
       .mutants = {{kWorker, "banner-on-stdout", "bytes that are no frame"}}},

      {.id = "hs/preferred-codec",
       .title = "the worker takes the preferred codec",
       .clause = "3.2.2",
       .requirement = "`protocol` is one of `supported`, the `preferred` one if the worker has it",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             const bool has_both = pool.Takes(Format::kJson) && pool.Takes(Format::kMsgpack);
             for (const char* preferred : {"json", "msgpack"}) {
               pool.Restart();
               // The order of `supported` decides nothing.
               const Json answer = SelectedBy(
                   pool, With(pool.Offer(),
                              {{"supported", {"json", "msgpack"}}, {"preferred", preferred}}));
               if (has_both && answer.value("protocol", Json()) != preferred) {
                 Fail("`protocol` is the preferred one, " + std::string(preferred), Show(answer));
               }
               pool.ResultOf("ping");
             }
           },
       .mutants = {{kWorker, "ignores-preferred", "\"protocol\":\"json\""}}},

      {.id = "hs/unknown-codec",
       .title = "a codec that the worker does not know is passed over",
       .clause = "3.1.9",
       .requirement = "the worker passes over a codec that it does not know",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             pool.Restart();
             Json supported = pool.Offer()["supported"];
             supported.insert(supported.begin(), "cbor");
             SelectedBy(pool,
                        With(pool.Offer(), {{"supported", supported}, {"preferred", "cbor"}}));
             pool.ResultOf("ping");
           },
       .mutants = {{kWorker, "exits-at-unknown-codec", "protocol_error"}}},

      {.id = "hs/no-common-codec",
       .title = "an offer without a codec of the worker is refused",
       .clause = "3.2.6",
       .requirement = "a worker that has none of the codecs answers `protocol_error`, and exits "
                      "with 1",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             pool.Restart();
             ExpectRefusedOffer(
                 pool, With(pool.Offer(), {{"supported", {"cbor"}}, {"preferred", "cbor"}}));
           },
       .mutants = {{kWorker, "takes-any-codec", "protocol_selected"},
                   {kWorker, "exit-0-after-refusal", "exit code 0"}}},

      {.id = "hs/unreadable-offer",
       .title = "an offer that breaks its clause is refused",
       .clause = "3.1.9",
       .requirement = "a negotiation whose `supported` is no array, whose `version` is no integer "
                      "over 0, or whose `max_frame_bytes` is out of range is answered by "
                      "`protocol_error`, and the worker exits with 1",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             for (const Json& members :
                  {Json{{"supported", "json"}}, Json{{"version", 0}}, Json{{"version", "2"}},
                   Json{{"version", 1.5}}, Json{{"max_frame_bytes", 1023}},
                   Json{{"max_frame_bytes", "65536"}}}) {
               pool.Restart();
               pool.Note("an offer with " + Show(members));
               ExpectRefusedOffer(pool, With(pool.Offer(), members));
             }
           },
       .mutants = {{kWorker, "reads-any-offer", "protocol_selected"}}},

      {.id = "hs/version-1-offer",
       .title = "a pool of version 1 is served in version 1",
       .clause = "3.2.3",
       .requirement =
           "a worker writes no `version` to a pool that offered none, nor `capacity` and "
           "`max_frame_bytes`; its replies then have `timestamp` (2.4.8)",
       .judge =
           [](StdioPoolEnd& pool) {
             Json offer = pool.Offer();
             for (const char* name : {"version", "features", "max_frame_bytes"}) offer.erase(name);
             const Json answer = AnswerTo(pool, offer);
             for (const char* name : {"version", "capacity", "max_frame_bytes"}) {
               if (answer.contains(name)) {
                 Fail("no `" + std::string(name) + "` in the answer", Show(answer));
               }
             }
             const Json reply = pool.Call("ping");
             ExpectSuccess(reply, pool.last_id());
             if (!reply.value("timestamp", Json()).is_string()) {
               Fail("a reply of version 1 with `timestamp`", Show(reply));
             }
           },
       .mutants = {{kWorker, "always-says-version", "\"version\":2"},
                   {kWorker, "no-timestamp", "\"success\":true"}}},

      {.id = "hs/later-version",
       .title = "an offer of a later version is answered with the worker's own",
       .clause = "3.5.3",
       .requirement = "a worker that is offered a version over its own answers with its own",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             const int own = pool.version();
             pool.Restart();
             const Json answer = SelectedBy(pool, With(pool.Offer(), {{"version", 99}}));
             if (answer.value("version", Json(1)) != Json(own)) {
               Fail("`version` " + std::to_string(own), Show(answer));
             }
             pool.ResultOf("ping");
           },
       .mutants = {{kWorker, "echoes-version", "\"version\":99"}}},

      {.id = "hs/features-offered",
       .title = "only features that were offered are agreed",
       .clause = "3.2.4",
       .requirement = "`features` are the offered ones that the worker has",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             for (const Json& features : {Json::array(), Json{"session", "teleport"}}) {
               pool.Restart();
               const Json answer = SelectedBy(pool, With(pool.Offer(), {{"features", features}}));
               for (const Json& agreed : answer.value("features", Json::array())) {
                 if (agreed == "session" && !features.empty()) continue;
                 Fail("no feature but those of " + Show(features) + " that the worker has",
                      Show(answer));
               }
             }
           },
       .mutants = {{kWorker, "all-features", "\"stream\""}}},

      {.id = "hs/answer",
       .title = "the members of the answer are in their ranges",
       .clause = "3.2.10",
       .requirement =
           "in version 2 `capacity` is 1 to 65536, `max_frame_bytes` 1024 to 2147483647, "
           "and `worker_id` a text, where they are there",
       .judge =
           [](StdioPoolEnd& pool) {
             const Json answer = AnswerTo(pool, pool.Offer());
             pool.NeedVersion2();
             const auto expect_integer = [&](const char* name, int64_t least, int64_t most) {
               const Json value = answer.value(name, Json(least));
               if (!value.is_number_integer() || value < least || value > most) {
                 Fail("`" + std::string(name) + "` is an integer, " + std::to_string(least) +
                          " to " + std::to_string(most),
                      Show(answer));
               }
             };
             expect_integer("version", 2, 2);
             expect_integer("capacity", 1, 65536);
             expect_integer("max_frame_bytes", 1024, 2147483647);
             if (!answer.value("worker_id", Json("")).is_string()) {
               Fail("`worker_id` is a text", Show(answer));
             }
           },
       .mutants = {{kWorker, "capacity-zero", "\"capacity\":0"}}},

      {.id = "hs/no-handshake",
       .title = "a pool without a handshake is served, in its codec",
       .clause = "3.1.6",
       .requirement = "a first frame that is a request in a codec that the worker has is answered "
                      "in that codec, in version 1",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             pool.NeedVersion2();  // 3.3.6: a legacy worker takes it for the negotiation
             const Format format = pool.format();
             pool.Restart();
             pool.Start();
             pool.SetFormat(format);
             const Json reply = pool.Call("ping");
             ExpectSuccess(reply, pool.last_id());
             if (!reply.value("timestamp", Json()).is_string()) {
               Fail("a reply of version 1 with `timestamp`", Show(reply));
             }
             pool.ResultOf("ping");
           },
       .mutants = {{kWorker, "needs-handshake", "none came within"}}},

      {.id = "hs/no-silent-codec-switch",
       .title = "what comes in MessagePack is answered in MessagePack",
       .clause = "2.2.1",
       .requirement = "the codec is the same in both directions and does not change",
       .judge =
           [](StdioPoolEnd& pool) {
             pool.NeedMsgpack();
             pool.Open();
             if (pool.format() != Format::kMsgpack) NotApplicable("the worker has no MessagePack");
             for (int i = 0; i < 3; ++i) pool.ResultOf("ping");
           },
       .mutants = {{kWorker, "answers-in-json", "bytes after the one MessagePack value"}}},

      {.id = "hs/bad-first-frame",
       .title = "a first frame that cannot be read is answered, and another may come",
       .clause = "3.1.8",
       .requirement = "a first frame that is neither a negotiation nor a request is answered by a "
                      "failure, and the next frame is then the first",
       .judge =
           [](StdioPoolEnd& pool) {
             NeedNegotiation(pool);
             pool.NeedVersion2();  // 2.6.9: legacy workers differ
             pool.Restart();
             pool.Start();
             pool.SetFormat(Format::kJson);
             pool.SendPayload("{\"a\":");
             ExpectFailure(pool.Receive(), Json(), "INVALID_ARGUMENT", 1);
             const Json answer = pool.Negotiate(pool.Offer());
             if (answer.value("type", Json()) != "protocol_selected") {
               Fail("the answer `protocol_selected`", Show(answer));
             }
             pool.ResultOf("ping");
           },
       .mutants = {{kWorker, "exits-at-bad-first-frame", "ended with exit code 1"}}},

      {.id = "hs/unknown-members",
       .title = "members that the worker does not know are ignored",
       .clause = "2.2.2",
       .requirement = "a reader ignores members that it does not know",
       .judge =
           [](StdioPoolEnd& pool) {
             if (pool.negotiates()) {
               pool.OpenWith(With(pool.Offer(), {{"later", {{"x", 1}}}}));
             } else {
               pool.Open();
             }
             const Json reply = pool.Call("ping", Json::object(), {{"later", {1, 2, 3}}});
             ExpectSuccess(reply, pool.last_id());
           },
       .mutants = {{kWorker, "refuses-unknown-members", "ended with exit code 1"}}},
  };
}

}  // namespace snakepit::conformance
