"""The demands of PROTOCOL.md on a worker over stdio, checked on both SDKs."""

import json
import signal
import unittest

import msgpack

from both_sdks import BOTH
from harness import NEGOTIATION, WorkerTestCase, frame

MESSAGE_PACK = {**NEGOTIATION, "preferred": "msgpack"}
LEGACY = {"type": "protocol_negotiation", "supported": ["msgpack", "json"]}
MAX_INT64 = (1 << 63) - 1


class StdioTestCase(WorkerTestCase):
    def workers(self, negotiation=None, capacity=1, **options):
        """A worker of each SDK."""
        for path in BOTH:
            fixture = [*path, "--capacity", str(capacity)]
            yield self.stdio(fixture, negotiation=negotiation, **options)

    def assert_refused(self, reply, request_id, code="INVALID_ARGUMENT"):
        self.assertEqual((request_id, False), (reply["id"], reply["success"]), reply)
        self.assertEqual((code, True), (reply["code"], reply["did_not_run"]), reply)


class LegacyTest(StdioTestCase):
    def exchange(self, worker, message):
        """The reply to a payload in MessagePack: its bytes and its value."""
        worker.send_bytes(frame(message if type(message) is bytes else msgpack.packb(message)))
        payload = worker.receive_bytes()
        return payload, msgpack.unpackb(payload)

    def legacy_workers(self):
        for negotiation in (None, {**LEGACY, "preferred": "msgpack"}):
            yield from self.workers(negotiation)

    def test_a_reply_begins_as_a_map_of_four(self):
        for worker in self.legacy_workers():
            for command, args, success in (
                ("echo", {}, True),
                ("conf.raise", {}, False),
                ("nope", {}, False),
                (5, {}, False),
            ):
                message = {"id": 7, "command": command, "args": args}
                payload, reply = self.exchange(worker, message)
                self.assertEqual(0x84, payload[0], reply)
                self.assertEqual((7, success), (reply["id"], reply["success"]))
                self.assertRegex(reply["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
            payload, reply = self.exchange(worker, b"\x81")
            self.assertEqual((0x84, None), (payload[0], reply["id"]))
        for worker in self.workers():
            self.assertRegex(worker.call("echo")["timestamp"], "^2")
            self.assertRegex(worker.call("conf.raise")["timestamp"], "^2")

    def test_a_str_that_is_no_utf_8_is_bytes(self):
        begin = b"\x83\xa2id\x07\xa7command\xa4echo\xa4args"
        for worker in self.legacy_workers():
            args = b"\x82\xa1a\xa2\xff\xfe\xa1b\x92\xa3\xed\xa0\x80\xa1x"
            _, reply = self.exchange(worker, begin + args)
            self.assertEqual({"a": b"\xff\xfe", "b": [b"\xed\xa0\x80", "x"]}, reply["result"])
            long = b"\xff" * 40
            _, reply = self.exchange(worker, begin + b"\x81\xa1a\xd9\x28" + long)
            self.assertEqual({"a": long}, reply["result"])
            _, reply = self.exchange(worker, begin + b"\x81\xa1\xff\x01")  # a key cannot be
            self.assertIs(False, reply["success"])

    def test_keys_become_text_and_values_stay(self):
        for worker in self.legacy_workers():
            args = {b"bin": b"bin", 5: "five", -1: [{b"in": b""}]}
            _, reply = self.exchange(worker, {"id": 7, "command": "echo", "args": args})
            expected = {"bin": b"bin", "5": "five", "-1": [{"in": b""}]}
            self.assertEqual(expected, reply["result"])

    def test_an_extension_is_refused(self):
        for value in (b"\xd4\x05\x00", b"\xd6\xff" + bytes(4), b"\xc7\x0c\xff" + bytes(12)):
            message = b"\x83\xa2id\x07\xa7command\xa4echo\xa4args\x81\xa1a" + value
            for worker in self.legacy_workers():
                self.assertIs(False, self.exchange(worker, message)[1]["success"])
            for worker in self.workers(MESSAGE_PACK):
                self.assertEqual("INVALID_ARGUMENT", self.exchange(worker, message)[1]["code"])

    def test_in_version_2_text_is_utf_8_and_a_key_text(self):
        begin = b"\x83\xa2id\x07\xa7command\xa4echo\xa4args\x81"
        for worker in self.workers(MESSAGE_PACK):
            for args in (b"\xa1a\xa1\xff", b"\xa1\xff\x01", b"\xc4\x01a\x01", b"\x05\x01"):
                self.assert_refused(self.exchange(worker, begin + args)[1], 7)

    def test_an_error_text_over_the_limit_is_cut(self):
        for negotiation in (None, NEGOTIATION):
            for worker in self.workers(negotiation, SNAKEPIT_MAX_FRAME_BYTES="2048"):
                for text in ("x", "é", "\x01", "𝄞"):
                    # The text repeats it, with all known commands.
                    worker.begin(text * (1960 // (len(json.dumps(text)) - 2)))
                    payload = worker.receive_bytes()
                    self.assertLessEqual(len(payload), 2048)
                    reply = json.loads(payload)
                    self.assertTrue(reply["error"].startswith(f"Unknown command: {text * 100}"))
                    self.assertEqual("UNIMPLEMENTED" if negotiation else None, reply.get("code"))

    def test_a_request_that_was_not_read_before_sigterm_is_left(self):
        for worker in self.workers():
            end = self.hold(worker)
            worker.send({"id": 2, "command": "echo"})
            worker.process.terminate()
            end()
            self.assertEqual("held", worker.receive()["result"])
            self.assertIsNone(worker.receive())
            self.assertEqual(0, worker.wait()[0])


class HandshakeTest(StdioTestCase):
    def test_a_payload_that_is_no_first_frame_settles_nothing(self):
        for first in (b"", b"{", b"[1]", b"5", b"{}", b'{"id":4}', b'{"type":"cancel","id":4}'):
            for worker in self.workers():
                worker.send_bytes(frame(first))
                reply = worker.receive()
                self.assertEqual((None if b"4" not in first else 4, False),
                                 (reply["id"], reply["success"]), first)
                worker.send(NEGOTIATION)
                self.assertEqual(2, worker.receive()["version"])
                self.assertTrue(worker.call("echo")["success"])

    def test_a_first_frame_is_answered_in_its_own_codec(self):
        for first in (b"\x80", b"\x81", b"\x81\xa2id\x05", msgpack.packb(LEGACY)):
            for worker in self.workers():
                worker.send_bytes(frame(first))
                self.assertIs(False, msgpack.unpackb(worker.receive_bytes())["success"])
                worker.send(NEGOTIATION)
                self.assertEqual(2, worker.receive()["version"])

    def test_an_offer_that_cannot_be_right_ends_the_worker(self):
        for member, values in (
            ("supported", ([], ["cbor"], "json", None)),
            ("version", (0, -1, 2.0, "2", None)),
            ("max_frame_bytes", (1023, 1 << 31, "2048", None)),
        ):
            for value in values:
                for worker in self.workers():
                    worker.send({**NEGOTIATION, member: value})
                    answer = worker.receive()
                    self.assertEqual("protocol_error", answer["type"], (member, value))
                    self.assertTrue(answer["error"])
                    self.assertEqual(1, worker.wait()[0])

    def test_unknown_parts_of_an_offer_are_ignored(self):
        for member, value in (
            ("supported", ["cbor", 5, "json"]),
            ("preferred", "cbor"),
            ("preferred", 5),
            ("features", "stream"),
            ("features", [5, "later", "stream"]),
            ("version", MAX_INT64),
            ("timestamp", 5),
        ):
            for worker in self.workers():
                worker.send({**NEGOTIATION, "supported": ["json"], member: value})
                answer = worker.receive()
                self.assertEqual(("json", 2), (answer["protocol"], answer["version"]))
        for worker in self.workers():  # members of version 2 mean nothing to version 1
            worker.send({**LEGACY, "preferred": "json", "max_frame_bytes": 5, "features": 5})
            answer = worker.receive()
            self.assertEqual("json", answer["protocol"])
            self.assertNotIn("version", answer)

    def test_empty_variables_count_as_absent(self):
        for worker in self.workers(
            NEGOTIATION, SNAKEPIT_MAX_FRAME_BYTES="", SNAKEPIT_TOKEN="", SNAKEPIT_WORKER_ID=""
        ):
            self.assertTrue(worker.call("echo")["success"])
        for worker in self.workers(SNAKEPIT_MAX_FRAME_BYTES="1023"):
            status, errors = worker.wait()
            self.assertEqual(2, status)
            self.assertIn("SNAKEPIT_MAX_FRAME_BYTES", errors)


class RequestTest(StdioTestCase):
    def test_ids_are_1_to_2_to_the_53_less_1(self):
        for worker in self.workers(NEGOTIATION):
            self.assertEqual((1 << 53) - 1, worker.call("echo", (1 << 53) - 1)["id"])
            for bad in (0, -1, 1 << 53, MAX_INT64):
                self.assert_refused(worker.call("echo", bad), bad)
            for bad in (1 << 63, 1.0, "1", None, True):
                self.assert_refused(worker.call("echo", bad), None)

    def test_null_counts_as_absent_only_for_args(self):
        for worker in self.workers(NEGOTIATION):
            worker.send({"id": 1, "command": "echo", "args": None})
            self.assertEqual({}, worker.receive()["result"])
            for member in ("stream", "session_id", "timeout_ms"):
                self.assert_refused(worker.call("echo", 2, members={member: None}), 2)
            members = {"stream": True, "credit": None}
            self.assert_refused(worker.call("echo", 3, members=members), 3)

    def test_credit_means_nothing_without_stream(self):
        for worker in self.workers(NEGOTIATION):
            for credit in (1, 0, "x", None):
                self.assertTrue(worker.call("echo", members={"credit": credit})["success"])

    def test_members_of_features_that_are_not_agreed_mean_nothing(self):
        for worker in self.workers({**NEGOTIATION, "features": []}):
            members = {"stream": 5, "credit": 0, "session_id": 5}
            self.assertEqual({}, worker.call("echo", members=members)["result"])
            worker.send({"type": "credit"}, {"type": "end_session"})
            self.assertEqual(2, worker.call("echo", 2)["id"])

    def test_the_longest_time_limit_is_one(self):
        for worker in self.workers(NEGOTIATION):
            for limit in (MAX_INT64, 1 << 31, 1 << 40):
                reply = worker.call("conf.sleep", members={"timeout_ms": limit}, ms=1)
                self.assertTrue(reply["success"], reply)
            for limit in (MAX_INT64 + 1, 1e3, "5"):
                self.assert_refused(worker.call("echo", members={"timeout_ms": limit}), 1)
            reply = worker.call("echo", members={"timeout_ms": -MAX_INT64 - 1})
            self.assert_refused(reply, 1, "DEADLINE_EXCEEDED")

    def test_a_type_that_is_no_text_is_not_known(self):
        for worker in self.workers(NEGOTIATION):
            for kind in (None, 5, True, [], "later"):
                worker.send({"type": kind, "id": 1, "command": "echo"})
            self.assertEqual(2, worker.call("echo", 2)["id"])

    def test_a_refusal_that_could_end_a_call_has_no_id(self):
        for worker in self.workers(NEGOTIATION, capacity=2):
            end = self.hold(worker)
            for message in (
                {"id": 1, "command": "echo"},
                {"id": 1, "command": 5},
                {"id": 1, "command": "echo", "args": []},
                {"type": "health", "id": 1},
                {"type": "info", "id": 1},
                {"type": "cancel"},
                {"type": "cancel", "id": "1"},
                {"type": "cancel", "id": 1 << 53},
                {"type": "credit", "id": 1},
                {"type": "credit", "id": 1, "bytes": 0},
                {"type": "credit", "id": 1, "bytes": 1 << 31},
                {"type": "end_session"},
                {"type": "end_session", "session_id": ""},
                {"type": "end_session", "session_id": "x" * 257},
            ):
                worker.send(message)
                self.assert_refused(worker.receive(), None)
            worker.send({"type": "health", "id": 0})
            self.assert_refused(worker.receive(), 0)
            end()
            self.assertEqual("held", worker.receive()["result"])

    def test_requests_over_the_limit_are_refused(self):
        for worker in self.workers(NEGOTIATION, socketpair=True):
            end = self.hold(worker)
            worker.send(*({"id": i, "command": "echo"} for i in range(2, 1100)))
            refused = set()
            worker.send({"type": "health", "id": 5000})
            for reply in iter(worker.receive, None):
                if reply["id"] == 5000:
                    break
                self.assert_refused(reply, reply["id"])
                refused.add(reply["id"])
            self.assertTrue(refused)
            end()
            served = {worker.receive()["id"] for _ in range(1, 1100 - len(refused))}
            self.assertEqual(set(range(1, 1100)), served | refused)

class ReplyTest(StdioTestCase):
    def test_figures_are_of_calls_that_have_ended(self):
        for worker in self.workers(NEGOTIATION):
            self.assertEqual(0, worker.call("ping")["result"]["requests_handled"])
            worker.call("nope")  # 2
            worker.call("echo", members={"timeout_ms": -1})  # 3
            worker.call("conf.raise")  # 4
            worker.stream("conf.stream", count=3)  # 5
            end = self.hold(worker)  # 6
            worker.begin("echo", 2)
            worker.cancel(2)  # 7
            self.assert_refused(worker.receive(), 2, "CANCELLED")
            worker.send({"id": 1, "command": "echo"}, {"command": 5}, {"type": "cancel"})
            for _ in range(3):
                self.assert_refused(worker.receive(), None)
            worker.send({"type": "health", "id": 3})
            health = worker.receive()["result"]
            self.assertEqual((6, 4), (health["total_requests"], health["total_errors"]))
            self.assertEqual(1, health["calls_in_flight"])
            end()
            worker.receive()
            worker.send({"type": "info", "id": 3})
            stats = worker.receive()["result"]["stats"]
            self.assertEqual((7, 4), (stats["requests_handled"], stats["requests_failed"]))

    def test_information_is_text_and_numbers(self):
        for worker in self.workers(NEGOTIATION):
            worker.send({"type": "info", "id": 3})
            info = worker.receive()["result"]
            for name in ("capabilities", "system_info"):
                for value in info[name].values():
                    self.assertIs(str, type(value))
            for name, value in info["stats"].items():
                expected = float if name == "cpu_usage_percent" else int
                self.assertIs(expected, type(value), name)

    def test_a_command_with_one_result_is_a_stream_of_one_chunk(self):
        for worker in self.workers(NEGOTIATION):
            (message,) = worker.stream("echo", a=1)
            message.pop("timestamp", None)
            expected = {"id": 1, "type": "chunk", "index": 0, "final": True, "chunk": {"a": 1}}
            self.assertEqual(expected, message)

    def test_an_error_has_the_class_and_a_refusal_its_text_alone(self):
        for worker in self.workers(NEGOTIATION):
            reply = worker.call("conf.raise", text="no row 2")
            self.assertEqual("HANDLER_FAILED", reply["code"])
            self.assertRegex(reply["error"], r"^(ValueError|std::runtime_error): no row 2$")
            self.assertNotIn("did_not_run", reply)
            reply = worker.call("conf.raise", text="")
            self.assertRegex(reply["error"], r"^(ValueError|std::runtime_error)$")
            reply = worker.call("refuse", text="b is no number")
            self.assertEqual("INVALID_ARGUMENT", reply["code"])
            self.assertEqual("b is no number", reply["error"])
            reply = worker.call("refuse", text="")
            self.assertRegex(reply["error"], "^(snakepit::)?InvalidArgument$")

    def test_a_missing_argument_is_named_in_the_same_words(self):
        for worker in self.workers(NEGOTIATION):
            reply = worker.call("set_healthy")
            self.assertEqual("INVALID_ARGUMENT", reply["code"])
            self.assertEqual('"healthy" is missing', reply["error"])

    def test_any_text_is_a_key(self):
        keys = ["__proto__", "constructor", "", "\ufeff", "\ufeffa", "\0", "𝄞", "toString"]
        many = {str(number): number for number in range(1 << 16)}
        for negotiation in (NEGOTIATION, MESSAGE_PACK, None):
            for worker in self.workers(negotiation):
                for value in ({key: {key: [key]} for key in keys}, many):
                    message = {"id": 1, "command": "echo", "args": {"value": value}}
                    if negotiation is MESSAGE_PACK:
                        worker.send_bytes(frame(msgpack.packb(message)))
                        reply = msgpack.unpackb(worker.receive_bytes())
                    else:
                        worker.send(message)
                        reply = worker.receive()
                    self.assertEqual({"value": value}, reply["result"])


class EndTest(StdioTestCase):
    def test_calls_in_flight_end_first_when_the_input_cannot_be_read_on(self):
        for bad, answered in ((b"\0\0\0\x10{", 1), (b"\x7f\xff\xff\xff", 2)):
            for negotiation in (None, NEGOTIATION):
                for worker in self.workers(negotiation):
                    end = self.hold(worker)
                    worker.send_bytes(bad)
                    worker.close_input()
                    if negotiation and answered == 2:
                        self.assertIsNone(worker.receive()["id"])
                    end()
                    self.assertEqual("held", worker.receive()["result"])
                    if not negotiation and answered == 2:
                        self.assertIsNone(worker.receive()["id"])
                    self.assertIsNone(worker.receive())
                    self.assertEqual(1, worker.wait()[0])

    def test_version_2_refuses_requests_after_sigterm(self):
        for worker in self.workers(NEGOTIATION, capacity=2):
            end = self.hold(worker)
            reply = {"success": True}
            while reply["success"]:  # the signal may come later
                worker.process.send_signal(signal.SIGTERM)
                reply = worker.call("echo", 2)
            self.assert_refused(reply, 2, "CANCELLED")
            end()
            self.assertEqual("held", worker.receive()["result"])
            self.assertIsNone(worker.receive())
            self.assertEqual(0, worker.wait()[0])


if __name__ == "__main__":
    unittest.main()
