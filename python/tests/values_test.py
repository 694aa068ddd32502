"""Values come back unchanged in version 2. PROTOCOL.md 0.6 and 6.12."""

import collections
import enum
import functools
import json
import os
import random
import struct
import unittest

import msgpack

from harness import FIXTURE, NEGOTIATION, WorkerTestCase, frame
from snakepit_bridge.calls import NO_CHUNK
from snakepit_bridge.lossless import LosslessJsonCodec, LosslessMessagePackCodec
from snakepit_bridge.values import MAX_DEPTH, DecodeError, EncodeError

JSON, MESSAGE_PACK = LosslessJsonCodec(), LosslessMessagePackCodec()
NANS = [
    struct.unpack(">d", bytes.fromhex(bits))[0]
    for bits in ("7ff8000000000000", "fff8000000000000", "7ff0000000000001", "ffffffffffffffff")
]


def exact(value):
    """A form that is equal for equal values only; doubles are compared bit for bit."""
    if isinstance(value, float):
        return ("double", struct.pack(">d", value).hex())
    if isinstance(value, dict):
        return ("map", sorted((key, exact(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("array", [exact(item) for item in value])
    return (type(value).__name__, value)


def through_json(value):
    return json_back(JSON.encode_result(1, value))


def json_back(payload):
    """The result in a reply, decoded like a pool does."""
    return JSON.decode(payload.replace(b'"result":', b'"args":', 1))["args"]


def through_message_pack(value):
    back = MESSAGE_PACK.decode(MESSAGE_PACK.encode_result(1, value))["result"]
    assert exact(back) == exact(MESSAGE_PACK.decode(MESSAGE_PACK.encode_value(value)))
    return back


def decode_args(payload):
    return JSON.decode(b'{"id":7,"args":' + payload + b"}")["args"]


class RoundTripTest(unittest.TestCase):
    def test_random_values_come_back_equal(self):
        seed = int(os.environ.get("VALUES_SEED", random.SystemRandom().randrange(1 << 32)))
        values = Values(seed)
        for number in range(3000):
            value = values.any(random.Random(seed + number).randrange(5))
            for through in (through_json, through_message_pack):
                self.assertEqual(
                    exact(value),
                    exact(through(value)),
                    f"VALUES_SEED={seed}, value {number}, {through.__name__}",
                )

    def test_the_corners_of_each_kind_come_back_equal(self):
        for value in (
            None,
            True,
            False,
            0,
            -1,
            -(1 << 63),
            (1 << 63),
            (1 << 64) - 1,
            0.0,
            -0.0,
            1.0,
            5e-324,
            1.7976931348623157e308,
            float("inf"),
            float("-inf"),
            *NANS,
            "",
            "\0",
            "\x7f",
            "é",
            "𝄞",
            "\ud7ff\ue000",
            '"$',
            '{"$bytes":""}',
            "\\u0024",
            b"",
            b"\0",
            b"\xff" * 1000,
            bytes(range(256)),
            b"abc",
            [],
            {},
            [[]],
            {"": {}},
            {"$": 1},
            {"$$": 1},
            {"$bytes": b"x"},
            {"$bytes": "eA=="},
            {"$double": "7ff8000000000000"},
            {"$$double": NANS[0]},
            {"$a": {"$b": {"$c": b""}}},
            {"$a": 1, "$b": b""},
            {"a": {"$bytes": 1}},
            [{"$": []}, {"$": {}}],
        ):
            for through in (through_json, through_message_pack):
                self.assertEqual(exact(value), exact(through(value)), through.__name__)

    def test_nesting_has_a_limit_and_tags_are_no_level(self):
        def nested(depth, leaf):
            return functools.reduce(
                lambda inner, n: [inner] if n % 2 else {"$": inner}, range(depth), leaf
            )

        for leaf in (1, b"x", NANS[0]):
            value = nested(MAX_DEPTH, leaf)
            for through in (through_json, through_message_pack):
                self.assertEqual(exact(value), exact(through(value)))
            for codec in (JSON, MESSAGE_PACK):
                for encode in (
                    functools.partial(codec.encode_result, 1),
                    functools.partial(codec.encode_chunk, 1, 0, False),
                ):
                    encode(value)
                    with self.assertRaises(EncodeError):
                        encode([value])

    def test_a_value_of_a_derived_type_is_of_its_base_type(self):
        class Colour(enum.IntEnum):
            RED = 1

        class Number(float):
            pass

        for value, expected in (
            (Colour.RED, 1),
            (Number("inf"), float("inf")),
            (collections.OrderedDict(a=b"x"), {"a": b"x"}),
            (bytearray(b"\xff"), b"\xff"),
            (memoryview(b"abc"), b"abc"),
            ((1, (b"x",)), [1, [b"x"]]),
        ):
            for through in (through_json, through_message_pack):
                self.assertEqual(exact([expected]), exact(through([value])))

    def test_a_value_without_a_form_is_an_error(self):
        for value in (
            1 << 64,
            -(1 << 63) - 1,
            {1: 2},
            {b"a": 1},
            {None: 1},
            "\ud800",
            {"\udfff": 1},
            object(),
            {1, 2},
            1j,
            [b"", "\udc80"],
            {"$": "\ud800"},
        ):
            for through in (through_json, through_message_pack):
                with self.assertRaises(EncodeError, msg=repr(value)):
                    through(value)


class WireTest(unittest.TestCase):
    def test_the_example_of_the_protocol(self):
        payload = bytes.fromhex(
            "7b226964223a352c22636f6d6d616e64223a226563686f222c2261726773223a7b226222"
            "3a7b22246279746573223a222f77413d227d2c2278223a7b2224646f75626c65223a2266"
            "666630303030303030303030303030227d2c226d223a7b22242461223a2d302e307d7d7d"
        )
        self.assertEqual(0x6C, len(payload))
        args = {"b": b"\xff\0", "x": float("-inf"), "m": {"$a": -0.0}}
        self.assertEqual(exact(args), exact(JSON.decode(payload)["args"]))
        encoded = JSON.encode_result(5, args)
        self.assertEqual(payload[payload.index(b'{"b"') : -1], encoded[encoded.index(b'{"b"') : -1])

    def test_chunks_as_the_protocol_has_them(self):
        for codec, expected in (
            (JSON, b'{"id":7,"type":"chunk","index":1,"final":true}'),
            (
                MESSAGE_PACK,
                bytes.fromhex("84a2696407a474797065a56368756e6ba5696e64657801a566696e616cc3"),
            ),
        ):
            self.assertEqual(expected, codec.encode_chunk(7, 1, True, NO_CHUNK))
        self.assertEqual(
            b'{"id":7,"type":"chunk","index":0,"final":false,"chunk":{"n":1}}',
            JSON.encode_chunk(7, 0, False, {"n": 1}),
        )

    def test_tags_in_any_spelling_are_read(self):
        for payload, expected in (
            (rb'{"a":{"\u0024bytes":"/wA="}}', {"a": b"\xff\0"}),
            (rb'{ "a" : { "$bytes" : "" } }', {"a": b""}),
            (rb'{"\u0024\u0024":1}', {"$": 1}),
            (rb'{"$$bytes":1}', {"$bytes": 1}),
            (rb'{"$bytes":1,"x":2}', {"$bytes": 1, "x": 2}),
            (rb'{"a":"\ud834\udd1e$"}', {"a": "𝄞$"}),
            (rb'{"a":"\\u0024"}', {"a": "\\u0024"}),
        ):
            self.assertEqual(exact(expected), exact(decode_args(payload)), payload)

    def test_a_map_like_a_tag_that_is_none_cannot_be_decoded(self):
        for payload in (
            b'{"$":1}',
            b'{"$a":1}',
            b'{"$Bytes":""}',
            b'{"$bytes":1}',
            b'{"$bytes":null}',
            b'{"$bytes":"/wA"}',
            b'{"$bytes":"/w A="}',
            b'{"$bytes":"/wA=\\n"}',
            b'{"$bytes":"_w=="}',
            b'{"$bytes":"/x=="}',
            b'{"$bytes":"="}',
            b'{"$bytes":"\xc3\xa9"}',
            b'{"$double":"7FF8000000000000"}',
            b'{"$double":"7ff800000000000"}',
            b'{"$double":"3ff0000000000000"}',
            b'{"$double":5}',
            b'{"$double":"+ff8000000000000"}',
            b'"\\ud800"',
            b'{"\\udc00":1}',
            b'["$",NaN]',
        ):
            with self.assertRaises(DecodeError, msg=payload) as raised:
                decode_args(b'{"x":' + payload + b"}")
            expected = None if b"NaN" in payload else 7
            self.assertEqual(expected, raised.exception.request_id, payload)

    def test_message_pack_is_strict(self):
        for payload in (
            b"\x81\xc4\x01a\x01",
            b"\x81\x01\x02",
            b"\x91\x81\xc4\x01a\x01",
            b"\xd4\x05\x01",
            b"\xa1\xff",
            b"\xa3\xed\xa0\x80",
            b"\x81\xa1a",
            b"",
            b"\xc0\xc0",
            b"\xc1",
        ):
            with self.assertRaises(DecodeError, msg=payload):
                MESSAGE_PACK.decode(payload)
        self.assertEqual(1.5, MESSAGE_PACK.decode(b"\xca\x3f\xc0\0\0"))


class WorkerValuesTest(WorkerTestCase):
    def test_a_worker_gives_back_what_it_gets(self):
        seed = random.SystemRandom().randrange(1 << 32)
        values = [Values(seed + n).any(n % 5) for n in range(200)]
        json_worker = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        message_pack_worker = self.stdio(FIXTURE)
        message_pack_worker.send({**NEGOTIATION, "preferred": "msgpack"})
        message_pack_worker.receive()
        for number, value in enumerate(values):
            text = JSON.encode_result(1, {"value": value}).decode()
            text = text.replace('"success":true,"result":', '"command":"conf.echo","args":', 1)
            json_worker.send_bytes(frame(text.encode()))
            back = json_back(json_worker.receive_bytes())
            self.assertEqual(exact(value), exact(back), f"seed {seed}, value {number}")
            request = {"id": 1, "command": "conf.echo", "args": {"value": value}}
            message_pack_worker.send_bytes(frame(msgpack.packb(request)))
            back = msgpack.unpackb(message_pack_worker.receive_bytes())["result"]
            self.assertEqual(exact(value), exact(back), f"seed {seed}, value {number}")

    def test_buffers_arrive_as_bytes(self):
        worker = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        self.assertEqual([{"$bytes": "/wE="}, {"$bytes": "YWJj"}], worker.call("buffers")["result"])

    def test_args_that_cannot_be_decoded_are_refused_with_their_id(self):
        worker = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        for args in ({"value": {"$x": 1}}, {"value": "\ud800"}, {"$bytes": "eA=="}):
            worker.send({"id": 5, "command": "conf.echo", "args": args})
            reply = worker.receive()
            self.assertEqual((5, "INVALID_ARGUMENT"), (reply["id"], reply["code"]))
            self.assertTrue(reply["did_not_run"])
        worker.send({"id": 6, "command": "kinds", "args": {"$$a": 1}})
        self.assertEqual({"$a": "int"}, list_of_one(worker.receive()["result"]))
        worker.send({"id": 7, "command": "$x", "args": {"b": 1}})
        self.assertEqual("UNIMPLEMENTED", worker.receive()["code"])


def list_of_one(value):
    """A map with one member, decoded like a pool does."""
    return decode_args(json.dumps(value).encode())


class Values:
    """Random values, reproducible from a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def any(self, depth):
        pick = self._random
        kind = pick.randrange(9 if depth > 0 else 6)
        if kind == 0:
            return pick.choice([None, True, False])
        if kind == 1:
            bits = pick.randrange(65)
            number = pick.getrandbits(bits)
            return pick.choice([number, -(number >> 1), -(1 << 63)])
        if kind == 2:
            return struct.unpack(">d", pick.randbytes(8))[0]
        if kind == 3:
            return pick.choice([*NANS, float("inf"), float("-inf"), -0.0, 0.0, 1.0, 1e16, 5e-324])
        if kind == 4:
            return self.text()
        if kind == 5:
            return pick.randbytes(pick.choice([0, 1, 2, 3, 31, 32, 255, 256, 300]))
        if kind == 6:
            return [self.any(depth - 1) for _ in range(pick.randrange(5))]
        if kind == 7:
            return {self.key(): self.any(depth - 1)}
        return {self.key(): self.any(depth - 1) for _ in range(pick.randrange(5))}

    def key(self):
        pick = self._random
        if pick.randrange(2):
            return self.text()
        return pick.choice(["$", "$$", "$bytes", "$double", "$$bytes", "$a", "a", "", "id", "type"])

    def text(self):
        pick = self._random
        parts = ["a", "$", '"', "\\", "\\u0024", '{"$', "\0", "\n", "é", "€", "𝄞", "\x7f", " "]
        return "".join(pick.choice(parts) for _ in range(pick.randrange(6)))


if __name__ == "__main__":
    unittest.main()
