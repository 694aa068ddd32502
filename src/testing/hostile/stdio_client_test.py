"""A hostile pool at a worker's stdio costs both SDKs bounded resources."""

import resource
import struct
import unittest

from hostile_client import LIMIT_S, TOKEN, WORKERS, ClientTestCase, Stdio, frame, settled

MIB = 1 << 20
# Most threads beside the capacity.
MOST_THREADS = 32
# The limit of decoded values, with the share of the allocator and copies of the message.
DECODED_MIB = 512 * 1.5 + 128
# Bytes that a parser needs for each byte of JSON with small values.
PARSED = 12


class UnreadAnswersTest(ClientTestCase):
    def unread(self, name, messages, capacity):
        """Sends messages while nobody reads: the answers to them."""
        worker = self.worker(Stdio, name, capacity=capacity)
        self.assertTrue(worker.is_well(1))
        descriptors, threads = worker.descriptors(), worker.threads()
        with self.grows_at_most(48, worker):
            left = worker.flood(b"".join(map(worker.pack, messages)))
            most = settled(worker.threads)
            self.assertLessEqual(most, capacity + MOST_THREADS)
            self.assertLessEqual(worker.descriptors(), descriptors + 8)
        answers = worker.write_and_read(left, len(messages))
        self.assertEqual(
            sorted(message["id"] for message in messages),
            sorted(answer["id"] for answer in answers),
        )
        self.assertTrue(worker.is_well(9999))
        self.assert_comes_back_to(descriptors, max(threads, capacity + 4), worker)
        return answers

    def test_queries(self):
        for name in WORKERS:
            for capacity in (1, 4):
                with self.subTest(name, capacity=capacity):
                    queries = [{"type": "health", "id": n} for n in range(2, 3002)]
                    answers = self.unread(name, queries, capacity)
                    self.assertTrue(all(answer["result"]["healthy"] for answer in answers))

    def test_calls(self):
        for name in WORKERS:
            for capacity in (1, 4):
                with self.subTest(name, capacity=capacity):
                    calls = [
                        {"id": n, "command": "echo", "args": {"fill": "x" * 100}}
                        for n in range(2, 3002)
                    ]
                    for answer in self.unread(name, calls, capacity):
                        if not answer["success"]:  # a call over the limit
                            self.assertEqual("INVALID_ARGUMENT", answer["code"])
                            self.assertTrue(answer["did_not_run"])

    def test_unknown_commands(self):
        for name in WORKERS:
            with self.subTest(name):
                unknown = [{"id": n, "command": "nope" * 20} for n in range(2, 3002)]
                self.unread(name, unknown, 1)

    def test_a_cancel_is_read_while_answers_wait_to_be_read(self):
        # The queries block every thread but the last one that reads.
        for name in WORKERS:
            with self.subTest(name):
                worker = self.worker(Stdio, name)
                queries = [{"type": "health", "id": n} for n in range(2, 3000)]
                sent = [{"id": 1, "command": "conf.sleep", "args": {"ms": 60_000}}, *queries]
                sent.append({"type": "cancel", "id": 1})
                left = worker.flood(b"".join(map(worker.pack, sent)))
                ids = [answer["id"] for answer in worker.write_and_read(left, 2999)]
                self.assertEqual(list(range(1, 3000)), sorted(ids))

    def test_a_stream_without_credit(self):
        for name in WORKERS:
            with self.subTest(name):
                worker = self.worker(Stdio, name, codec="msgpack")
                args = {"total_bytes": 256 * MIB, "chunk_bytes": MIB}
                with self.grows_at_most(32, worker):
                    call = {"id": 1, "command": "stream_bytes", "args": args}
                    worker.send({**call, "stream": True, "credit": 1})
                    self.assertEqual(0, worker.receive()["index"])
                    self.assertTrue(worker.is_well(2))
                    worker.send({"type": "cancel", "id": 1})
                    last = worker.receive()
                    self.assertEqual((1, "CANCELLED"), (last["id"], last.get("code")), last)

    def test_a_stream_that_nobody_reads(self):
        for name in WORKERS:
            with self.subTest(name):
                worker = self.worker(Stdio, name, codec="msgpack")
                args = {"total_bytes": 256 * MIB, "chunk_bytes": MIB}
                with self.grows_at_most(32, worker):
                    worker.send({"id": 1, "command": "stream_bytes", "args": args, "stream": True})
                    settled(lambda: worker.threads())
                    index = 0
                    while not worker.receive()["final"]:
                        index += 1
                self.assertIn(index, (255, 256))


class WaitingTest(ClientTestCase):
    def test_requests_that_wait_are_bounded_in_bytes(self):
        limit, count = 4 * MIB, 100
        large = [
            {"id": n, "command": "echo", "args": {"text": "x" * (2 * MIB)}}
            for n in range(2, count + 2)
        ]
        for name in WORKERS:
            with self.subTest(name):
                worker = self.worker(Stdio, name, SNAKEPIT_MAX_FRAME_BYTES=str(limit))
                sent = b"".join(map(worker.pack, large))

                def hold(args):
                    worker.send({"id": 1, "command": "hold", "args": args})

                # 200 MiB: the worker keeps at most one frame's limit, beside the one that it reads.
                with self.held(hold), self.grows_at_most(64, worker):
                    # The first two may wait. The others are refused, so all are read.
                    refused = worker.write_and_read(sent, count - 2)
                    self.assertEqual({"INVALID_ARGUMENT"}, {answer["code"] for answer in refused})
                served = worker.write_and_read(b"", 3)
                self.assertTrue(all(answer["success"] for answer in served))


class TokenTest(ClientTestCase):
    def test_the_token_is_not_in_the_environment(self):
        for name in WORKERS:
            worker = self.worker(Stdio, name, SNAKEPIT_TOKEN=TOKEN)
            self.assertIn(b"PYTHONPATH=", worker.environment())
            self.assertFalse(TOKEN.encode() in worker.environment(), "the token is there")


class NoThreadTest(ClientTestCase):
    """The system gives no thread, since no stack has room."""

    def test_calls_run_one_after_the_other(self):
        huge = 1 << 46
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        if hard != resource.RLIM_INFINITY and hard < huge:
            self.skipTest("the limit of stacks cannot be raised here")
        wrapper = ("/bin/sh", "-c", f'ulimit -S -s {huge // 1024} && exec "$@"', "sh")
        worker = self.worker(Stdio, "cpp", capacity=4, wrapper=wrapper)
        worker.send(*({"id": n, "command": "echo", "args": {"n": n}} for n in range(1, 101)))
        for n in range(1, 101):
            answer = worker.receive()
            self.assertEqual((n, {"n": n}), (answer["id"], answer["result"]))
        self.assertEqual(1, worker.threads())
        # This call waits for credit, which nobody could read.
        call = {"id": 200, "command": "conf.stream", "args": {"count": 3}}
        worker.send({**call, "stream": True, "credit": 1})
        answer = worker.receive()
        self.assertEqual(
            (200, "INVALID_ARGUMENT", True), (answer["id"], answer["code"], answer["did_not_run"])
        )
        self.assertIn("no thread", answer["error"])
        worker.end_input()
        self.assertEqual(0, worker.process.wait(LIMIT_S))
        worker.errors.seek(0)
        self.assertEqual(1, worker.errors.read().count(b"no thread"))


class MalformedTest(ClientTestCase):
    def test_a_claim_within_the_limit_takes_no_memory(self):
        for name in WORKERS:
            worker = self.worker(Stdio, name)
            with self.grows_at_most(8, worker):
                worker.write(struct.pack(">I", 60 * MIB) + b'{"id":')
                settled(worker.threads)
            worker.end_input()
            self.assertEqual(1, worker.process.wait(LIMIT_S))

    def test_a_claim_over_the_limit_is_answered_and_the_end(self):
        for name in WORKERS:
            for length in (64 * MIB + 1, 0x7FFFFFFF, 0xFFFFFFFF):
                worker = self.worker(Stdio, name)
                worker.write(struct.pack(">I", length) + b"x")
                reply = worker.receive()
                self.assertEqual((None, False), (reply["id"], reply["success"]))
                self.assertEqual(1, worker.process.wait(LIMIT_S))

    def test_the_end_within_a_frame_is_the_end(self):
        for name in WORKERS:
            for codec in ("json", "msgpack"):
                for begin in (b"\0", b"\0\0\0\x40", b"\0\0\0\x40{\"id\":1,\"command\":\"echo\""):
                    worker = self.worker(Stdio, name, codec=codec)
                    worker.write(begin)
                    worker.end_input()
                    self.assertEqual(1, worker.process.wait(LIMIT_S))

    def test_a_frame_that_comes_byte_by_byte_is_one(self):
        for name in WORKERS:
            worker = self.worker(Stdio, name)
            for byte in worker.pack({"type": "health", "id": 1}):
                worker.write(bytes([byte]))
            self.assertEqual(1, worker.receive()["id"])

    def test_half_a_frame_holds_up_no_call(self):
        for name in WORKERS:
            worker = self.worker(Stdio, name)
            query = worker.pack({"type": "health", "id": 2})
            call = worker.pack({"id": 1, "command": "conf.sleep", "args": {"ms": 200}})
            worker.write(call + query[:7])
            self.assertEqual({"left_ms": None}, worker.receive()["result"])
            worker.write(query[7:])
            self.assertEqual(2, worker.receive()["id"])

    def test_cancel_and_credit_for_unknown_calls(self):
        for name in WORKERS:
            worker = self.worker(Stdio, name)
            descriptors, threads = worker.descriptors(), worker.threads()
            with self.grows_at_most(16, worker):
                for first in range(1, 100_000, 1000):
                    messages = []
                    for number in range(first, first + 1000):
                        messages.append({"type": "cancel", "id": number})
                        messages.append({"type": "credit", "id": number, "bytes": 1})
                        messages.append({"type": "end_session", "session_id": str(number)})
                    worker.send(*messages)
                self.assertTrue(worker.is_well(200_000))  # and there was no other answer
            # A second reading thread may have come, with its descriptors.
            self.assert_comes_back_to(descriptors + 4, threads + 4, worker)

    def test_wrong_payloads_are_answered_in_bounded_memory(self):
        for name in WORKERS:
            worker = self.worker(Stdio, name)
            with self.grows_at_most(16, worker):
                for payload in (b"", b"\xff", b"[1]", b"{", b'{"id":1}'):
                    answers = worker.write_and_read(frame(payload) * 1000, 1000)
                    self.assertTrue(all(not answer["success"] for answer in answers))
                self.assertTrue(worker.is_well(9))


class ElementsTest(ClientTestCase):
    def test_small_elements_are_refused_by_their_decoded_size(self):
        # 16 Mi empty maps: over 1 GiB in memory in any language.
        for name in WORKERS:
            for codec, parsed_mib in (("json", PARSED * 48), ("msgpack", 0)):
                with self.subTest(name, codec=codec):
                    worker = self.worker(Stdio, name, codec=codec)
                    with self.grows_at_most(DECODED_MIB + parsed_mib, worker):
                        data = worker.request_of(7, "maps", 16 * MIB)
                        [reply] = worker.write_and_read(data, 1)
                        del data
                    self.assertEqual(7, reply["id"])
                    self.assertEqual("MESSAGE_TOO_LARGE", reply["code"])
                    self.assertTrue(reply["did_not_run"])
                    self.assertTrue(worker.is_well(8))
                    self.assertEqual({"a": 1}, worker.call("echo", 9, a=1)["result"])

    def test_small_elements_that_fit_are_served(self):
        for name in WORKERS:
            for codec in ("json", "msgpack"):
                with self.subTest(name, codec=codec):
                    worker = self.worker(Stdio, name, codec=codec)
                    data = worker.request_of(7, "nulls", MIB)
                    [reply] = worker.write_and_read(data, 1)
                    self.assertEqual(MIB, len(reply["result"]["a"]))


if __name__ == "__main__":
    unittest.main()
