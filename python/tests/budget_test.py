"""The limit on a decoded message's memory: max_decoded_bytes."""

import functools
import json
import random
import resource
import struct
import tracemalloc
import unittest

import msgpack
from msgpack import fallback

from harness import FIXTURE, LIMIT_S, NEGOTIATION, WorkerTestCase, frame
from snakepit_bridge import budget
from snakepit_bridge import snakepit_pb2 as pb
from snakepit_bridge.lossless import LosslessJsonCodec, LosslessMessagePackCodec
from snakepit_bridge.values import (
    MAX_DEPTH,
    MAX_REFUSED_BYTES,
    DecodeError,
    JsonCodec,
    MessagePackCodec,
)

CODECS = (JsonCodec, LosslessJsonCodec, MessagePackCodec, LosslessMessagePackCodec)
LIMIT = 512 << 20


def size_of(value):
    """The numbers of (values, containers), by a plain walk; the expressions must find the same."""
    values, containers = 1, 0
    if type(value) in (list, dict):
        containers = 1
        items = list(value)
        if type(value) is dict:
            items += value.values()
        for item in items:
            more = size_of(item)
            values, containers = values + more[0], containers + more[1]
    return values, containers


def any_value(rng, depth):
    kind = rng.randrange(10 if depth else 7)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice([0, -1, 127, -33, 200, 70_000, -70_000, 1 << 40, (1 << 64) - 1])
    if kind == 2:
        return rng.random()
    if kind < 6:
        return rng.choice('a,[{é"\\:]}') * rng.choice([0, 1, 2, 5, 31, 32, 255, 256, 300])
    if kind == 6:
        return rng.randrange(100)
    if kind < 9:
        return [any_value(rng, depth - 1) for _ in range(rng.choice([0, 1, 3, 20, 300]))]
    keys = [f"k{i}" * rng.choice([1, 100]) for i in range(rng.randrange(20))]
    return {key: any_value(rng, depth - 1) for key in keys}


def in_any_form(rng, value):
    """MessagePack whose lengths and integers may be longer than necessary."""

    def header(size, fixed, forms):
        if fixed and size < fixed[1] and rng.random() < 0.5:
            return bytes([fixed[0] + size])
        fit = [(code, n) for code, n in forms if size < 1 << (8 * n)]
        code, n = rng.choice(fit)
        return bytes([code]) + size.to_bytes(n, "big")

    if type(value) is str:
        data = value.encode()
        return header(len(data), (0xA0, 32), [(0xD9, 1), (0xDA, 2), (0xDB, 4)]) + data
    if type(value) is list:
        return header(len(value), (0x90, 16), [(0xDC, 2), (0xDD, 4)]) + b"".join(
            in_any_form(rng, item) for item in value
        )
    if type(value) is dict:
        return header(len(value), (0x80, 16), [(0xDE, 2), (0xDF, 4)]) + b"".join(
            in_any_form(rng, part) for pair in value.items() for part in pair
        )
    if type(value) is int and 0 <= value < 256:
        return rng.choice([b"\xcc" + bytes([value]), b"\xcf" + struct.pack(">Q", value)])
    return msgpack.packb(value)


def in_json(rng, value):
    return json.dumps(
        value,
        ensure_ascii=rng.random() < 0.5,
        indent=rng.choice([None, None, 1]),
        separators=rng.choice([None, (",", ":"), (" , ", " : ")]),
    ).encode()


class CountTest(unittest.TestCase):
    def test_each_value_is_counted_once_however_it_is_written(self):
        seed = random.SystemRandom().randrange(1 << 32)
        for number in range(80):
            rng = random.Random(seed + number)
            value = any_value(rng, rng.randrange(4))
            values, containers = size_of(value)
            for data, check in (
                (in_any_form(rng, value), budget.check_message_pack),
                (msgpack.packb(value), budget.check_message_pack),
                (in_json(rng, value), budget.check_json),
            ):
                size = len(data) + 56 * (values + containers)
                with self.subTest(seed=seed, number=number, check=check.__name__):
                    check(data, size)
                    with self.assertRaises(budget.OverBudget) as raised:
                        check(data, size - 1)
                    self.assertIn(f"{size} bytes", str(raised.exception))

    def test_timestamps_are_counted_although_they_are_refused(self):
        # Timestamps in each of their forms, which a decoder reads as values before the refusal.
        for stamp in (
            b"\xd6\xff" + bytes(4),
            b"\xd7\xff" + bytes(8),
            b"\xc7\x0c\xff" + bytes(12),
            b"\xc7\x04\xff" + bytes(4),
            b"\xc8\x00\x08\xff" + bytes(8),
            b"\xc9\x00\x00\x00\x0c\xff" + bytes(12),
        ):
            data = b"\x92" + stamp + b"\x90"
            size = len(data) + 56 * 5
            budget.check_message_pack(data, size)
            with self.assertRaises(budget.OverBudget):
                budget.check_message_pack(data, size - 1)
            for codec in (MessagePackCodec(), LosslessMessagePackCodec()):
                with self.assertRaises(DecodeError) as raised:
                    codec.decode(b"\x82\xa2id\x07\xa4args\x81\xa1a" + stamp)
                self.assertIn("extension", str(raised.exception))
                self.assertEqual(7, raised.exception.request_id)

    def test_the_default_is_that_of_the_other_sdk(self):
        self.assertEqual(LIMIT, budget.decoded_limit(64 << 20))
        self.assertEqual(LIMIT, budget.decoded_limit(1024))
        self.assertEqual(8 << 30, budget.decoded_limit(1 << 30))

    def test_a_message_too_small_to_be_inspected_is_within_the_limit(self):
        for data in (b"\x80" * 1000, b"\x81\xa0" * 500 + b"\x80", b"\xc0" * 1000):
            limit = 113 * len(data)
            self.assertGreater(budget.smallest_over(limit), len(data))
            budget.check_message_pack(data, limit)

    def test_the_count_is_near_the_memory_that_a_message_takes(self):
        for name, element in {
            "empty maps": {},
            "empty arrays": [],
            "nulls": None,
            "texts": "ab",
            "a letter": "ա",
            "doubles": 1.5,
            "integers": 70_000,
            "maps of one": {"": None},
            "arrays of one": [None],
            "maps in maps": {"": {"": {"": {"": {}}}}},
            "records": {"a": 1, "b": "text", "c": [1.5]},
        }.items():
            message = {"id": 1, "command": "c", "args": {"a": [element] * 10_000}}
            values, containers = size_of(message)
            for codec in (made() for made in CODECS):
                data = codec.encode(message)
                codec.decode(data)  # creates everything that is created only once
                tracemalloc.start()
                decoded = codec.decode(data)
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                self.assertEqual(message, decoded)
                counted = len(data) + 56 * (values + containers)
                self.assertLess(peak, 1.75 * counted, f"{name}, {type(codec).__name__}")


class IdTest(unittest.TestCase):
    def test_the_id_is_found_wherever_it_is(self):
        args = {"x": [{"id": 5, "a": '"id":6'}, [[]], {}], "id": 6}
        for message, request_id in (
            ({"id": 7, "command": "c", "args": args}, 7),
            ({"command": "c", "args": args, "id": 7}, 7),
            ({"args": args}, None),
            ({"id": "7", "args": args}, None),
            ({"id": 7.0, "args": args}, None),
            ({"id": [7], "args": args}, None),
        ):
            for codec in (made(80) for made in CODECS):
                data = json.dumps(message).encode()
                if "Message" in type(codec).__name__:
                    data = msgpack.packb(message)
                with self.assertRaises(DecodeError) as raised:
                    codec.decode(data)
                self.assertTrue(raised.exception.is_too_large)
                got = raised.exception.request_id
                self.assertEqual(request_id, got if type(got) is int else None, message)

    def test_a_control_message_of_version_2_is_refused_without_an_id(self):
        message = {"id": 7, "type": "cancel", "x": [{}] * 100}
        for codec, data in (
            (LosslessJsonCodec(100), json.dumps(message).encode()),
            (LosslessMessagePackCodec(100), msgpack.packb(message)),
        ):
            with self.assertRaises(DecodeError) as raised:
                codec.decode(data)
            self.assertIsNone(raised.exception.request_id)


class RefusedTest(unittest.TestCase):
    def test_the_python_decoder_takes_over_and_reads_the_same(self):
        message = {"id": 1, "command": "c", "args": {"a": [{}, 1, 1.5, "é", b"\xff", None, True]}}
        good = msgpack.packb(message)
        for made in (MessagePackCodec, LosslessMessagePackCodec):
            codec = made()
            bad = b"\x82\xa2id\x07\xa1x\xc1"
            for _ in range(2 + MAX_REFUSED_BYTES // len(bad)):
                with self.assertRaises(DecodeError) as raised:
                    codec.decode(bad)
                self.assertEqual(7, raised.exception.request_id)
            self.assertIs(fallback.unpackb, codec._unpack)
            self.assertEqual(message, codec.decode(good))
            self.assertEqual(message, codec.decode(bytearray(good)))
            if made is MessagePackCodec:
                keys = msgpack.packb({"id": 1, "args": {5: {b"k": b"v"}}})
                self.assertEqual({"5": {"k": b"v"}}, codec.decode(keys)["args"])
            for fault in (b"\xd4\x05\x00", b"\xd6\xff" + bytes(4), b"\x81\x90\x02", b""):
                request = b"\x82\xa2id\x07\xa4args\x81\xa1a" + fault
                for again in (codec, made()):
                    with self.assertRaises(DecodeError) as raised:
                        again.decode(request)
                    self.assertEqual(7, raised.exception.request_id)

    def test_legal_messages_of_version_1_do_not_count(self):
        quick = msgpack.unpackb
        for args in ({5: 6}, {"b": b"\xff\xfe" * MAX_REFUSED_BYTES}):
            codec = MessagePackCodec()
            message = {"id": 1, "command": "c", "args": args}
            data = msgpack.packb(message, use_bin_type=False)
            for _ in range(3):
                decoded = codec.decode(data)["args"]
                self.assertEqual({str(key): value for key, value in args.items()}, decoded)
            self.assertIs(quick, codec._unpack)
            self.assertEqual(0, codec._refused_bytes)

    def test_a_refused_message_counts_once(self):
        bad = b"\x82\xa2id\x07\xa1x\xc1"
        for codec in (MessagePackCodec(), LosslessMessagePackCodec()):
            for count in (1, 2, 3):
                with self.assertRaises(DecodeError):
                    codec.decode(bad)
                self.assertEqual(count * len(bad), codec._refused_bytes)

    def test_a_message_nested_too_deep_was_decoded_and_does_not_count(self):
        deep = functools.reduce(lambda inner, _: [inner], range(MAX_DEPTH), 1)
        data = msgpack.packb({"id": 7, "command": "c", "args": {"a": deep}})
        for codec in (MessagePackCodec(), LosslessMessagePackCodec()):
            with self.assertRaises(DecodeError) as raised:
                codec.decode(data)
            self.assertIn("nested over 64 deep", str(raised.exception))
            self.assertEqual(7, raised.exception.request_id)
            self.assertEqual(0, codec._refused_bytes)
        with self.assertRaises(DecodeError):
            codec.decode_args(msgpack.packb({"a": deep}))
        self.assertEqual(0, codec._refused_bytes)


def peak_mib(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


# Legal messages that take more memory than the limit. ALLOWED_MIB is the memory of a worker with a
# few copies of the message.
MAPS = b"\xdd" + struct.pack(">I", 8 << 20) + b"\x80" * (8 << 20)
NULLS = b"\xdd" + struct.pack(">I", 20 << 20) + b"\xc0" * (20 << 20)
JSON_MAPS = b"[" + b"{}," * (5 << 20) + b"{}]"
ALLOWED_MIB = 160


class WorkerTest(WorkerTestCase):
    def refused(self, codec, version, payload):
        negotiation = {**NEGOTIATION, "preferred": codec, "version": version}
        worker = self.stdio(FIXTURE)
        worker.send(negotiation)
        worker.receive()
        read = json.loads if codec == "json" else msgpack.unpackb
        worker.send_bytes(frame(payload))
        reply = read(worker.receive_bytes())
        self.assertEqual((7, False), (reply["id"], reply["success"]))
        self.assertIn("over the limit max_decoded_bytes of 536870912", reply["error"])
        if version == 2:
            self.assertEqual(("MESSAGE_TOO_LARGE", True), (reply["code"], reply["did_not_run"]))
        self.assertLess(peak_mib(worker.process), ALLOWED_MIB)
        request = {"id": 8, "command": "ping", "args": {}}
        worker.send_bytes(
            frame(json.dumps(request).encode() if codec == "json" else msgpack.packb(request))
        )
        self.assertTrue(read(worker.receive_bytes())["success"])

    def test_message_pack_over_the_limit_is_refused(self):
        request = b"\x83\xa2id\x07\xa7command\xa4echo\xa4args\x81\xa1a"
        for version, value in ((1, MAPS), (2, NULLS)):
            with self.subTest(version=version):
                self.refused("msgpack", version, request + value)

    def test_json_over_the_limit_is_refused(self):
        request = b'{"id":7,"command":"echo","args":{"a":' + JSON_MAPS + b"}}"
        self.refused("json", 2, request)

    def test_without_memory_the_worker_goes_on(self):
        # The request takes 350 MiB or more, which is within the limit.
        request = b'{"id":7,"command":"echo","args":{"a":[' + b"{}," * (4 << 20) + b"{}]}}"
        worker = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        self.leave_memory(worker, 100 << 20)
        worker.send_bytes(frame(request))
        reply = worker.receive()
        self.assertEqual(
            (7, "MESSAGE_TOO_LARGE", True), (reply["id"], reply["code"], reply["did_not_run"])
        )
        self.assertIn("out of memory for a message of", reply["error"])
        self.assertTrue(worker.call("ping")["success"])

    def leave_memory(self, worker, size):
        """Limits a worker to `size` bytes more memory than it has now."""
        pid = worker.process.pid
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            size += int(file.read().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (size, size))

    def test_a_first_frame_over_the_limit_is_refused(self):
        for payload, read in (
            (b'{"type":"protocol_negotiation","id":7,"x":' + JSON_MAPS + b"}", json.loads),
            (b"\x83\xa2id\x07\xa7command\xa4echo\xa4args\x81\xa1a" + MAPS, msgpack.unpackb),
        ):
            worker = self.stdio(FIXTURE)
            worker.send_bytes(frame(payload))
            reply = read(worker.receive_bytes())
            self.assertEqual((7, False), (reply["id"], reply["success"]))
            self.assertIn("max_decoded_bytes", reply["error"])
            self.assertLess(peak_mib(worker.process), ALLOWED_MIB)


class GrpcWorkerTest(WorkerTestCase):
    def test_punctuation_outside_json_is_not_counted(self):
        worker = self.grpc(FIXTURE)
        table = b"1," * (12 << 20)
        for args in ({"a": table}, {"a": b' "' + table + b'"'}, {"a": b" \xff[" + table}):
            request = pb.ExecuteRequest(command="nothing", args=args)
            self.assertEqual("UNIMPLEMENTED", worker.execute(request, timeout=LIMIT_S).code)

    def test_arguments_in_either_form_are_refused_over_the_limit(self):
        for fields in (
            {"typed_args": b"\x81\xa1a" + MAPS},
            {"args": {"a": b"[" + b"{}," * (2 << 20) + b"{}]", "b": JSON_MAPS[:-1] + b",{}]"}},
        ):
            worker = self.grpc(FIXTURE)
            request = pb.ExecuteRequest(command="echo", request_id="7", **fields)
            reply = worker.execute(request, timeout=LIMIT_S)
            self.assertEqual(
                ("MESSAGE_TOO_LARGE", True, "7"), (reply.code, reply.did_not_run, reply.request_id)
            )
            self.assertIn("over the limit max_decoded_bytes of 536870912", reply.error)
            self.assertLess(peak_mib(worker.process), ALLOWED_MIB + 40)
            self.assertTrue(worker.call("ping").success)
            worker.kill()

    def test_calls_that_wait_for_their_turn_are_not_decoded(self):
        worker = self.grpc(FIXTURE)
        # The calls' own limit is longer: they take a while together if the machine is loaded.
        timeout_s = 5 * LIMIT_S

        def begin(**pipes):
            request = pb.ExecuteRequest(command="hold", typed_args=msgpack.packb(pipes))
            return worker.execute.future(request, timeout=timeout_s)

        first, end = self.held(begin)
        maps = b"\x81\xa1a\xdd" + struct.pack(">I", 1 << 20) + b"\x80" * (1 << 20)
        large = pb.ExecuteRequest(command="nothing", typed_args=maps)
        futures = [worker.execute.future(large, timeout=timeout_s) for _ in range(8)]
        for _ in range(200):  # the requests arrive meanwhile
            worker.health(pb.HealthRequest(), timeout=LIMIT_S)
        end()
        self.assertTrue(first.result().success)
        self.assertEqual({"UNIMPLEMENTED"}, {f.result().code for f in futures})
        # Each of the requests takes 88 MiB when decoded.
        self.assertLess(peak_mib(worker.process), 250)


if __name__ == "__main__":
    unittest.main()
