"""Malformed payloads and invalid requests are refused, and the worker goes on.

PROTOCOL.md 0.6, 2.3.1, 2.6.7, 6.1.3, 6.6, 6.7.4, 6.8.4 and 6.12.7.
"""

import json
import os
import unittest

import msgpack

from harness import FIXTURE, LIMIT_S, NEGOTIATION, WorkerTestCase, frame
from snakepit_bridge import snakepit_pb2 as pb


def arrays(depth):
    return b"[" * depth + b"]" * depth


def packed_arrays(depth):
    return b"\x91" * (depth - 1) + b"\x90"


# Invalid value -> a part of the error's text.
BAD_JSON = {
    b"1e400": "too large for a double",
    b"-1E+400": "too large for a double",
    b"[0,0.5,1e400]": "too large for a double",
    b"1" * 400 + b".0": "too large for a double",
    b"1" * 300 + b"e99": "too large for a double",
    b"18446744073709551616": "outside the range INT64_MIN to UINT64_MAX",
    b"-9223372036854775809": "outside the range INT64_MIN to UINT64_MAX",
    b"7" * 4000: "outside the range INT64_MIN to UINT64_MAX",
    b"7" * 5000: "digits",
    arrays(64): "nested over 64 deep",
    b'{"x":' * 64 + b"{}" + b"}" * 64: "nested over 64 deep",
    arrays(500): "nested over 64 deep",
    b'["[]",' + arrays(63) + b"]": "nested over 64 deep",
    b'"\\ud800"': "surrogates",
    b'{"\\udc00x":1}': "surrogates",
    b"NaN": "NaN is not valid JSON",
}
# The same values beside one long text, and beside many other values.
BAD_JSON |= {
    b'["%b",%b]' % (b"x" * 5000, bad): text for bad, text in BAD_JSON.items() if b"[" not in bad
} | {
    b'["a",%b%b]' % (b'{"a":1.5,"b":[2]},' * 300, bad): text
    for bad, text in BAD_JSON.items()
    if b"[" not in bad
}
GOOD_JSON = (
    b"1.7976931348623157e308",
    b"1e-400",
    b"0e999",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"0." + b"1" * 500,
    b'"' + b"9" * 400 + b'e400"',
    arrays(63),
    b'["' + b"[" * 500 + b'",[]]',
    b'"\\ud834\\udd1e"',
    b"[" + b",".join([arrays(62)] * 100) + b"]",
)
BAD_MESSAGE_PACK = {
    packed_arrays(64): "nested over 64 deep",
    packed_arrays(500): "nested over 64 deep",
    b"\x92\xda\x20\x00" + b"x" * 8192 + packed_arrays(63): "nested over 64 deep",
    b"\x81\xa1x" * 64 + b"\x80": "nested over 64 deep",
    b"\xd4\x05\x00": "extension",
    b"\xc1": "FormatError",
}
BAD_IDS = (
    0,
    -1,
    1 << 53,
    (1 << 63) - 1,
    -(1 << 63),
    (1 << 64) - 1,
    1.0,
    True,
    False,
    "7",
    None,
    [7],
)


class RefusalsTestCase(WorkerTestCase):
    def connected(self, codec, version, arguments=None):
        worker = self.stdio(arguments or FIXTURE)
        worker.send({**NEGOTIATION, "preferred": codec, "version": version})
        worker.receive()
        self.codec, self.version = codec, version
        return worker

    def connections(self):
        for codec in ("json", "msgpack"):
            for version in (1, 2):
                yield self.connected(codec, version)

    def written(self, message):
        return json.dumps(message).encode() if self.codec == "json" else msgpack.packb(message)

    def exchange(self, worker, payload):
        """Sends a payload, and returns the one reply."""
        worker.send_bytes(frame(payload))
        reply = worker.receive_bytes()
        return json.loads(reply) if self.codec == "json" else msgpack.unpackb(reply)

    def assert_refused(self, reply, request_id, text):
        self.assertEqual((request_id, False), (reply["id"], reply["success"]), reply)
        self.assertIn(text, reply["error"])
        self.assertLess(len(reply["error"]), 500)
        if self.version == 2:
            self.assertEqual(("INVALID_ARGUMENT", True), (reply["code"], reply["did_not_run"]))

    def assert_taken(self, reply):
        """Asserts that a request of an unknown command was decoded."""
        self.assertEqual((7, False), (reply["id"], reply["success"]))
        self.assertIn("Unknown command: nothing", reply["error"])

    def assert_serves(self, worker):
        reply = self.exchange(worker, self.written({"id": 99, "command": "ping", "args": {}}))
        self.assertEqual((99, True), (reply["id"], reply["success"]))
        # No refused request has been run or counted.
        self.assertEqual(0, reply["result"]["requests_handled"])


class ValuesTest(RefusalsTestCase):
    def test_values_outside_the_range_are_refused_in_json(self):
        for version in (1, 2):
            worker = self.connected("json", version)
            for bad, text in BAD_JSON.items():
                payload = b'{"id":7,"command":"ping","args":{"a":%b}}' % bad
                # The id cannot be read if the payload is not valid JSON.
                request_id = None if text in ("digits", "NaN is not valid JSON") else 7
                self.assert_refused(self.exchange(worker, payload), request_id, text)
            self.assert_serves(worker)
            for good in GOOD_JSON:
                payload = b'{"id":7,"command":"nothing","args":{"a":%b}}' % good
                self.assert_taken(self.exchange(worker, payload))

    def test_values_outside_the_range_are_refused_beside_tags(self):
        worker = self.connected("json", 2)
        for bad, text in (
            (b'{"$bytes":""},1e400', "too large for a double"),
            (b'{"$double":"7ff0000000000000"},[-1e400]', "too large for a double"),
            (b'{"$$a":{"x":18446744073709551616}}', "outside the range"),
            (b'"$",' + arrays(63), "nested over 64 deep"),
        ):
            payload = b'{"id":7,"command":"ping","args":{"a":[%b]}}' % bad
            self.assert_refused(self.exchange(worker, payload), 7, text)
        # A tag does not count as a nesting level.
        for good in (b'{"$bytes":"AA=="}', b'{"$double":"7ff0000000000000"}'):
            value = b"[" * 63 + good + b"]" * 63
            payload = b'{"id":7,"command":"nothing","args":{"a":%b}}' % value
            self.assert_taken(self.exchange(worker, payload))

    def test_values_outside_the_range_are_refused_in_message_pack(self):
        for version in (1, 2):
            worker = self.connected("msgpack", version)
            for bad, text in BAD_MESSAGE_PACK.items():
                payload = b"\x83\xa2id\x07\xa7command\xa4ping\xa4args\x81\xa1a" + bad
                self.assert_refused(self.exchange(worker, payload), 7, text)
            self.assert_serves(worker)
            payload = b"\x83\xa2id\x07\xa7command\xa7nothing\xa4args\x81\xa1a" + packed_arrays(63)
            self.assert_taken(self.exchange(worker, payload))

    def test_values_outside_the_range_are_refused_over_grpc(self):
        worker = self.grpc(FIXTURE)
        for bad, text in BAD_MESSAGE_PACK.items():
            request = pb.ExecuteRequest(command="ping", typed_args=b"\x81\xa1a" + bad)
            reply = worker.execute(request, timeout=LIMIT_S)
            self.assertEqual(("INVALID_ARGUMENT", True), (reply.code, reply.did_not_run))
            self.assertIn(text, reply.error)
        # Version 1 takes bytes that are no JSON of a value as text. PROTOCOL.md 4.3.2.
        for bad in BAD_JSON:
            request = pb.ExecuteRequest(command="ping", args={"a": bad})
            reply = worker.execute(request, timeout=LIMIT_S)
            self.assertTrue(reply.success, bad[:50])
            self.assertEqual(bad.decode(), json.loads(reply.result["echo"])["a"])


class IdsTest(RefusalsTestCase):
    def test_invalid_ids_are_refused(self):
        for worker in self.connections():
            for bad in BAD_IDS:
                is_int64 = type(bad) is int and -(1 << 63) <= bad < 1 << 63
                payload = self.written({"id": bad, "command": "ping", "args": {}})
                reply = self.exchange(worker, payload)
                self.assert_refused(reply, bad if is_int64 else None, "the id of a request")
            payload = self.written({"id": (1 << 53) - 1, "command": "nothing", "args": {}})
            self.assertEqual((1 << 53) - 1, self.exchange(worker, payload)["id"])

    def test_invalid_ids_are_refused_in_control_messages(self):
        for codec in ("json", "msgpack"):
            worker = self.connected(codec, 2)
            for bad in BAD_IDS:
                for message in (
                    {"type": "cancel", "id": bad},
                    {"type": "credit", "id": bad, "bytes": 1},
                ):
                    reply = self.exchange(worker, self.written(message))
                    self.assert_refused(reply, None, "the id of a request")
            for bad in (0, -1, 1 << 31, 1.0, True, "1", None, [1]):
                reply = self.exchange(
                    worker, self.written({"type": "credit", "id": 7, "bytes": bad})
                )
                self.assert_refused(reply, None, "bytes must be an integer from 1 to 2147483647")
            for message in ({"type": "cancel"}, {"type": "credit", "bytes": 1}):
                reply = self.exchange(worker, self.written(message))
                self.assert_refused(reply, None, "the id of a request")
            reply = self.exchange(worker, self.written({"type": "credit", "id": 7}))
            self.assert_refused(reply, None, "bytes must be")
            self.assert_serves(worker)

    def test_a_malformed_control_message_is_refused_without_an_id(self):
        worker = self.connected("json", 2)
        for kind in (b"cancel", b"credit", b"health", b"later"):
            payload = b'{"type":"%b","id":7,"bytes":1,"args":{"a":1e400}}' % kind
            self.assert_refused(self.exchange(worker, payload), None, "too large for a double")
        worker = self.connected("msgpack", 2)
        for kind in (b"\xa6cancel", b"\xa6credit", b"\xa6health"):
            payload = b"\x83\xa4type" + kind + b"\xa2id\x07\xa1x\xc1"
            self.assert_refused(self.exchange(worker, payload), None, "FormatError")

    def test_a_call_in_flight_is_not_ended_by_a_refusal(self):
        for bad in (
            b'{"id":7,"command":"ping","args":{"a":1e400}}',
            b'{"id":7,"command":"ping","args":{"a":' + arrays(64) + b"}}",
            b'{"type":"cancel","id":7,"args":{"a":1e400}}',
        ):
            worker = self.connected("json", 2)
            started = self.fifo("started")
            worker.begin("until_cancelled", 7, started=started)
            self.await_start(started)
            self.assert_refused(self.exchange(worker, bad), None, "malformed message")
            worker.cancel(7)
            self.assertEqual(7, worker.receive()["id"])
            os.unlink(started)


if __name__ == "__main__":
    unittest.main()
