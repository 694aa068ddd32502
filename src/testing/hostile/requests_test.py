"""The answers of both SDKs to wrong messages: tables whose lines are the same for both. PROTOCOL.md
0.6, 2.3.1, 2.6.7, 6.1.3 and 6.12.7."""

import json
import os
import struct
import unittest

import msgpack

from both_sdks import BOTH
from harness import NEGOTIATION, WorkerTestCase, frame

MESSAGE_PACK = {**NEGOTIATION, "preferred": "msgpack"}
MAX_INT64 = (1 << 63) - 1
MAX_ID = (1 << 53) - 1

# Arguments that a worker accepts, in JSON, and the result of echo.
GOOD_VALUES = {
    "the greatest double": "1.7976931348623157e308",
    "the least double": "5e-324",
    "minus zero": "-0.0",
    "the greatest integer": str((1 << 64) - 1),
    "the least integer": str(-(1 << 63)),
    "64 deep": "[" * 63 + "]" * 63,
    "64 deep in maps": '{"a":' * 62 + "{}" + "}" * 62,
    "text in escapes": '"\\ud834\\udd1e"',
}

# Arguments that it refuses, in JSON.
BAD_VALUES = {
    "a number beyond the doubles": "1e400",
    "one below them": "-1e400",
    "one within an array": "[0,1e309]",
    "one with many digits": "1" + "0" * 400 + ".0",
    "an integer over 2^64 - 1": str(1 << 64),
    "an integer below -2^63": str(-(1 << 63) - 1),
    "an integer of 4,000 digits": "9" * 4000,
    "one within a map": '{"a":[%s]}' % ("9" * 4000),
    "65 deep": "[" * 64 + "]" * 64,
    "65 deep in maps": '{"a":' * 63 + "{}" + "}" * 63,
    "half a character": '"\\ud834"',
    "the other half": '"a\\udd1e"',
    "half a character in a key": '{"\\ud834":1}',
}

# The same. A worker may or may not find the id of such a message.
WORSE_VALUES = {
    "5,000 digits": "9" * 5000,
    "1,000 deep": "[" * 1000 + "]" * 1000,
    "100,000 deep": "[" * 100_000 + "]" * 100_000,
    "100,000 deep in maps": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "bad JSON": "[1",
}

# Tags exist only in version 2. 6.12.
BAD_TAGS = {
    "a tag that is not known": '{"$x":1}',
    "base64 without padding": '{"$bytes":"/w"}',
    "base64 with bits left over": '{"$bytes":"/x=="}',
    "bytes that are no text": '{"$bytes":5}',
    "the bits of a finite number": '{"$double":"3ff0000000000000"}',
    "bits in upper case": '{"$double":"7FF0000000000000"}',
}

# Ids that no request can have, in JSON, and the id of the refusal.
BAD_IDS = {
    "0": 0,
    "-1": -1,
    str(MAX_ID + 1): MAX_ID + 1,
    str(MAX_ID + 2): MAX_ID + 2,
    str(MAX_INT64): MAX_INT64,
    str(-MAX_INT64 - 1): -MAX_INT64 - 1,
    str(MAX_INT64 + 1): None,
    str(1 << 64): None,
    "9" * 4000: None,
    "1.0": None,
    "1e0": None,
    "1e400": None,
    "0.5": None,
    '"1"': None,
    "true": None,
    "null": None,
    "[1]": None,
    '{"id":1}': None,
}

# The same in MessagePack, as far as it can express them.
BAD_PACKED_IDS = {
    b"\x00": 0,
    b"\xff": -1,
    b"\xcf" + struct.pack(">Q", MAX_ID + 1): MAX_ID + 1,
    b"\xcf" + struct.pack(">Q", MAX_INT64): MAX_INT64,
    b"\xd3" + struct.pack(">q", -MAX_INT64 - 1): -MAX_INT64 - 1,
    b"\xcf" + struct.pack(">Q", MAX_INT64 + 1): None,
    b"\xcf" + struct.pack(">Q", (1 << 64) - 1): None,
    b"\xcb" + struct.pack(">d", 1.0): None,
    b"\xca" + struct.pack(">f", 1.0): None,
    b"\xa11": None,
    b"\xc4\x011": None,
    b"\xc3": None,
    b"\xc0": None,
    b"\x91\x01": None,
}

# Wrong grants of credit.
BAD_BYTES = (
    *("0", "-1", str(1 << 31), str(1 << 64), "9" * 4000, "1.0", "1e400"),
    *('"5"', "true", "null", "[5]"),
)


class RequestsTest(WorkerTestCase):
    def workers(self, negotiation):
        """A worker of each SDK."""
        for path in BOTH:
            with self.subTest(worker=os.path.basename(path[0])):
                yield self.stdio(path, negotiation=negotiation)

    def ask(self, worker, payload):
        """The reply to a payload in JSON."""
        worker.send_bytes(frame(payload.encode()))
        return worker.receive()

    def ask_packed(self, worker, payload):
        worker.send_bytes(frame(payload))
        return msgpack.unpackb(worker.receive_bytes())

    def assert_refused(self, reply, request_id, version=2):
        self.assertEqual((request_id, False), (reply["id"], reply["success"]), str(reply)[:500])
        if version == 2:
            self.assertEqual(("INVALID_ARGUMENT", True), (reply["code"], reply["did_not_run"]))

    def assert_serves(self, worker):
        """Checks that the worker has answered everything, and serves on."""
        reply = worker.call("echo", 99, a=1)
        self.assertEqual((99, {"a": 1}), (reply["id"], reply["result"]))

    def test_values_that_are_just_right(self):
        for negotiation in (None, NEGOTIATION):
            for worker in self.workers(negotiation):
                for what, value in GOOD_VALUES.items():
                    reply = self.ask(worker, '{"id":7,"command":"echo","args":{"a":%s}}' % value)
                    self.assertTrue(reply["success"], what)
                    self.assertEqual(repr(json.loads(value)), repr(reply["result"]["a"]), what)

    def test_values_that_cannot_be_right(self):
        for worker in self.workers(NEGOTIATION):
            for what, value in {**BAD_VALUES, **BAD_TAGS}.items():
                for members in ('"id":7,"command":"echo","args":{"a":%s}',
                                '"id":7,"args":{"a":%s},"command":"echo"'):
                    with self.subTest(what=what, members=members):
                        self.assert_refused(self.ask(worker, "{%s}" % (members % value)), 7)
            self.assert_serves(worker)

    def test_values_that_cannot_be_right_in_version_1(self):
        for worker in self.workers(None):
            for what, value in BAD_VALUES.items():
                with self.subTest(what=what):
                    reply = self.ask(worker, '{"id":7,"command":"echo","args":{"a":%s}}' % value)
                    self.assert_refused(reply, 7, version=1)
            self.assert_serves(worker)

    def test_values_that_are_far_from_right(self):
        for version, negotiation in ((1, None), (2, NEGOTIATION)):
            for worker in self.workers(negotiation):
                for what, value in WORSE_VALUES.items():
                    with self.subTest(what=what, version=version):
                        members = '"id":7,"command":"echo","args":{"a":%s}' % value
                        reply = self.ask(worker, "{%s}" % members)
                        self.assertIn(reply["id"], (7, None))
                        self.assert_refused(reply, reply["id"], version)
                self.assert_serves(worker)

    def test_values_in_message_pack(self):
        begin = b"\x83\xa2id\x07\xa7command\xa4echo\xa4args\x81\xa1a"
        for worker in self.workers(MESSAGE_PACK):
            for good in (b"\x91" * 63 + b"\x01", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7)):
                self.assertTrue(self.ask_packed(worker, begin + good)["success"])
            for bad in (b"\x91" * 64 + b"\x01", b"\x81\xa1a" * 64 + b"\x01", b"\xa1\xff",
                        b"\xa3\xed\xa0\x80", b"\x81\x01\x01", b"\xd4\x01\x01"):
                with self.subTest(bad=bad[:80]):
                    self.assert_refused(self.ask_packed(worker, begin + bad), 7)
            for bad in (b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff",
                        b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
                with self.subTest(bad=bad[:80]):
                    reply = self.ask_packed(worker, begin + bad)
                    self.assertIn(reply["id"], (7, None))
                    self.assert_refused(reply, reply["id"])
            self.assertEqual(99, self.ask_packed(worker, msgpack.packb(
                {"id": 99, "command": "echo", "args": {}}))["id"])

    def test_ids(self):
        for version, negotiation in ((1, None), (2, NEGOTIATION)):
            for worker in self.workers(negotiation):
                self.assertEqual(MAX_ID, worker.call("echo", MAX_ID)["id"])
                for bad, answered in BAD_IDS.items():
                    with self.subTest(id=bad[:80], version=version):
                        reply = self.ask(worker, '{"id":%s,"command":"echo","args":{}}' % bad)
                        self.assert_refused(reply, answered, version)
                reply = self.ask(worker, '{"command":"echo","args":{}}')
                self.assert_refused(reply, None, version)
                self.assert_serves(worker)

    def test_ids_in_message_pack(self):
        for worker in self.workers(MESSAGE_PACK):
            for bad, answered in BAD_PACKED_IDS.items():
                with self.subTest(id=bad):
                    payload = b"\x83\xa2id" + bad + b"\xa7command\xa4echo\xa4args\x80"
                    self.assert_refused(self.ask_packed(worker, payload), answered)

    def test_other_members_of_a_request(self):
        for worker in self.workers(NEGOTIATION):
            for member, values in {
                "timeout_ms": ("1e400", "1.0", str(1 << 63), "9" * 4000, '"5"', "null"),
                "stream": ("1", "0", '"true"', "null", "1e400"),
                "session_id": ('""', "5", "null", '"\\ud834"', '"%s"' % ("x" * 257)),
                "command": ("5", "null", '["echo"]', '"\\ud834"'),
                "args": ("[]", "5", '"a"', "false", '{"$bytes":"/w=="}'),
                "stream\":true,\"credit": BAD_BYTES,
            }.items():
                for value in values:
                    with self.subTest(member=member, value=value[:80]):
                        rest = '' if member == "command" else ',"command":"echo"'
                        payload = '{"id":7%s,"%s":%s}' % (rest, member, value)
                        self.assert_refused(self.ask(worker, payload), 7)
            self.assert_serves(worker)

    # Answered without an id, since a failure with it would end the call that has it. 6.1.3.

    def test_a_cancel_that_cannot_be_right(self):
        for worker in self.workers(NEGOTIATION):
            for bad in BAD_IDS:
                with self.subTest(id=bad[:80]):
                    self.assert_refused(self.ask(worker, '{"type":"cancel","id":%s}' % bad), None)
            self.assert_refused(self.ask(worker, '{"type":"cancel"}'), None)
            worker.send({"type": "cancel", "id": 5})  # no such call, so no answer
            self.assert_serves(worker)

    def test_credit_that_cannot_be_right(self):
        for worker in self.workers(NEGOTIATION):
            for bad in BAD_IDS:
                with self.subTest(id=bad[:80]):
                    payload = '{"type":"credit","id":%s,"bytes":5}' % bad
                    self.assert_refused(self.ask(worker, payload), None)
            for bad in BAD_BYTES:
                with self.subTest(bytes=bad[:80]):
                    payload = '{"type":"credit","id":5,"bytes":%s}' % bad
                    self.assert_refused(self.ask(worker, payload), None)
            self.assert_refused(self.ask(worker, '{"type":"credit","id":5}'), None)
            self.assert_refused(self.ask(worker, '{"type":"credit","bytes":5}'), None)
            for granted in (1, (1 << 31) - 1):  # no such call, so no answer
                worker.send({"type": "credit", "id": 5, "bytes": granted})
            self.assert_serves(worker)

    def test_bad_credit_grants_nothing(self):
        for worker in self.workers(NEGOTIATION):
            members = {"stream": True, "credit": 1}
            worker.begin("conf.stream", 1, members=members, count=3)
            self.assertEqual(0, worker.receive()["chunk"]["n"])
            for bad in ("0", "-5", str(1 << 31), '"100"'):
                payload = '{"type":"credit","id":1,"bytes":%s}' % bad
                self.assert_refused(self.ask(worker, payload), None)
            worker.send({"type": "cancel", "id": 1})
            last = worker.receive()
            self.assertEqual((1, True, "CANCELLED"), (last["index"], last["final"], last["code"]))

    def test_the_end_of_a_session_that_cannot_be_right(self):
        for worker in self.workers(NEGOTIATION):
            for bad in ('""', "5", "null", '"\\ud834"', '"%s"' % ("x" * 257), "1e400"):
                with self.subTest(session_id=bad[:80]):
                    payload = '{"type":"end_session","session_id":%s}' % bad
                    self.assert_refused(self.ask(worker, payload), None)
            self.assert_serves(worker)

    # The same as for a request. 6.10.1.

    def test_a_query_with_a_bad_id(self):
        for worker in self.workers(NEGOTIATION):
            for kind in ("health", "info"):
                for bad, answered in BAD_IDS.items():
                    with self.subTest(kind=kind, id=bad[:80]):
                        payload = '{"type":"%s","id":%s}' % (kind, bad)
                        self.assert_refused(self.ask(worker, payload), answered)
                self.assert_refused(self.ask(worker, '{"type":"%s"}' % kind), None)
            self.assert_serves(worker)


if __name__ == "__main__":
    unittest.main()
