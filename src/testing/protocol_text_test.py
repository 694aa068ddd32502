"""The examples of PROTOCOL.md are right, and its references lead somewhere."""

import base64
import json
import math
import os
import re
import struct
import sys
import unittest

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(_ROOT, "proto"))

import msgpack  # noqa: E402
import snakepit_pb2 as pb2  # noqa: E402

with open(os.path.join(_ROOT, "proto", "PROTOCOL.md"), encoding="utf-8") as file:
    TEXT = file.read()

HEX_BLOCK = r"(?:^    [0-9a-f]{2}(?: +[0-9a-f]{2})*\n)+"
# A JSON text in a block: its first line, and lines that are indented by one more.
JSON_BLOCK = r"^( {4,6})(\{\"(?:.*)(?:\n\1 .+)*)$"
PING = {"id": 1, "command": "ping", "args": {}}
ECHO = {"t": "ab", "b": b"ab", "f": 1.0}
OFFER = {
    "type": "protocol_negotiation",
    "supported": ["json"],
    "preferred": "json",
    "version": 2,
}
ANSWER = {"type": "protocol_selected", "protocol": "json", "version": 2}
PING_STREAM = {
    "id": 7,
    "command": "ping_stream",
    "stream": True,
    "credit": 262144,
    "session_id": "s1",
    "timeout_ms": 30000,
    "args": {"count": 2},
}
REFUSAL = {
    "id": 3,
    "success": False,
    "error": "b is a finite number, not 'x'",
    "code": "INVALID_ARGUMENT",
    "did_not_run": True,
}
TAGGED = {
    "id": 5,
    "command": "echo",
    "args": {
        "b": {"$bytes": "/wA="},
        "x": {"$double": "fff0000000000000"},
        "m": {"$$a": -0.0},
    },
}
OK_REPLY = {
    "id": 1,
    "success": True,
    "result": {"status": "ok"},
    "timestamp": "2026-01-31T12:00:00Z",
}


def decode(block):
    data = bytes.fromhex(block)
    (length,) = struct.unpack(">I", data[:4])
    payload = data[4:]
    if length != len(payload):
        return pb2.ExecuteRequest.FromString(data)
    return (
        json.loads(payload)
        if payload.startswith(b"{")
        else msgpack.unpackb(payload, raw=False)
    )


class ProtocolText(unittest.TestCase):
    def test_the_bytes_of_the_examples_are_the_messages_beside_them(self):
        found = [decode(block) for block in re.findall(HEX_BLOCK, TEXT, re.M)]
        self.assertEqual(found[:2], [PING, PING])
        self.assertEqual(found[2], {"id": 2, "command": "echo", "args": ECHO})
        self.assertEqual(found[3:5], [OK_REPLY, OK_REPLY])
        self.assertEqual(found[5], OFFER)
        self.assertEqual(found[6], {**ANSWER, "capacity": 8})
        self.assertEqual((found[7].command, found[7].request_id), ("echo", "9"))
        self.assertEqual(dict(found[7].args), {"t": b'"5"'})
        typed = found.pop(18)
        self.assertEqual((typed.command, typed.request_id), ("echo", "9"))
        self.assertEqual(msgpack.unpackb(typed.typed_args), {"t": "5"})
        chunk = {"id": 7, "type": "chunk"}
        cancel = {"type": "cancel", "id": 7}
        self.assertEqual(
            found[8:],
            [
                PING_STREAM,
                {**chunk, "index": 0, "final": False, "chunk": {"n": 1}},
                {**chunk, "index": 1, "final": True},
                REFUSAL,
                cancel,
                cancel,
                {"type": "credit", "id": 7, "bytes": 131072},
                {"type": "end_session", "session_id": "s1"},
                {"type": "health", "id": 11},
                {"type": "info", "id": 12},
                TAGGED,
            ],
        )

    def test_the_reply_of_the_example_begins_as_a_map_of_four(self):
        blocks = re.findall(HEX_BLOCK, TEXT, re.M)
        self.assertEqual(0x84, bytes.fromhex(blocks[4])[4])

    def test_the_tags_of_the_example_match_the_text(self):
        args = TAGGED["args"]
        self.assertEqual(base64.b64decode(args["b"]["$bytes"]), b"\xff\x00")
        (double,) = struct.unpack(">d", bytes.fromhex(args["x"]["$double"]))
        self.assertEqual(double, -math.inf)
        self.assertEqual(math.copysign(1, args["m"]["$$a"]), -1)

    def test_the_json_of_the_examples_is_json(self):
        blocks = [match[1] for match in re.findall(JSON_BLOCK, TEXT, re.M)]
        self.assertGreaterEqual(len(blocks), 10)
        for block in blocks:
            self.assertIsInstance(json.loads(block), dict, block)

    def test_every_referenced_clause_exists_once(self):
        clauses = re.findall(r"\*\*(\d+(?:\.\d+)+)[ *]", TEXT)
        clauses += re.findall(r"^### (\d+\.\d+) ", TEXT, re.M)
        self.assertEqual(len(clauses), len(set(clauses)))
        self.assertGreater(len(clauses), 150)
        references = re.findall(r"(?<![\d.])\d\.\d{1,2}\.\d{1,2}\b(?!\.)", TEXT)
        references += re.findall(
            r"\b(?:or|by|in|of|as|with|sections|and|to) (\d\.\d{1,2})\b(?!\.)", TEXT
        )
        self.assertGreater(len(references), 100)
        self.assertEqual(sorted(set(references) - set(clauses)), [])


if __name__ == "__main__":
    unittest.main()
