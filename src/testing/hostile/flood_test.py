"""A pool that sends without end and reads nothing, and messages that are small and grow in memory:
what a worker takes of the system is bounded, and it serves again afterwards."""

import os
import resource
import threading
import unittest

import msgpack

from both_sdks import BOTH, CPP
from grpc_client import pb
from harness import LIMIT_S, NEGOTIATION, StdioWorker, WorkerTestCase, frame

MESSAGE_PACK = {**NEGOTIATION, "preferred": "msgpack"}
QUERIES = 3000
# Beside one for each call that its capacity allows.
MAX_THREADS = 8
MIB = 1 << 20


def threads(worker):
    return len(os.listdir(f"/proc/{worker.process.pid}/task"))


def memory(worker, figure="VmHWM"):
    """In bytes; VmHWM is the most that it had at a time."""
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(figure + ":"):
                return int(line.split()[1]) * 1024
    raise ValueError(figure)


class FloodTest(WorkerTestCase):
    def flood(self, worker, messages):
        """Writes them all from a thread of its own, and returns that."""
        writer = threading.Thread(target=worker.send, args=messages, daemon=True)
        writer.start()
        return writer

    def await_rest(self, worker, writer):
        """Until the worker reads no more, or has read everything; the most threads seen."""
        most, before, still = 0, None, 0
        ticks = threading.Event()
        while still < 20 and writer.is_alive():
            most = max(most, threads(worker))
            with open(f"/proc/{worker.process.pid}/io", encoding="ascii") as file:
                now = file.readline()  # the bytes read
            still = still + 1 if now == before else 0
            before = now
            ticks.wait(0.01)
        return max(most, threads(worker))

    def test_queries_whose_answers_nobody_reads(self):
        messages = [{"type": "health", "id": i} for i in range(1, QUERIES + 1)]
        for path in BOTH:
            worker = self.stdio(path, negotiation=NEGOTIATION)
            before = memory(worker)
            writer = self.flood(worker, messages)
            self.assertLessEqual(self.await_rest(worker, writer), MAX_THREADS, path)
            self.assertLess(memory(worker) - before, 32 * MIB, path)
            answered = [worker.receive() for _ in messages]
            self.assertEqual(list(range(1, QUERIES + 1)), sorted(r["id"] for r in answered))
            self.assertTrue(all(reply["success"] for reply in answered))
            self.assertTrue(worker.call("echo", QUERIES + 1)["success"])

    def test_calls_whose_answers_nobody_reads(self):
        messages = [
            {"id": i, "command": "echo", "args": {"text": "x" * 200}} for i in range(1, QUERIES + 1)
        ]
        for path in BOTH:
            for capacity in (1, 4):
                worker = self.stdio(path, negotiation=NEGOTIATION, FIXTURE_CAPACITY=str(capacity))
                writer = self.flood(worker, messages)
                self.assertLessEqual(
                    self.await_rest(worker, writer), MAX_THREADS + capacity, path
                )
                # Each has one answer; those that it could not keep were refused.
                answered = [worker.receive() for _ in messages]
                self.assertEqual(list(range(1, QUERIES + 1)), sorted(r["id"] for r in answered))
                for reply in answered:
                    if not reply["success"]:
                        self.assertEqual(
                            ("INVALID_ARGUMENT", True), (reply["code"], reply["did_not_run"])
                        )
                self.assertTrue(worker.call("echo", QUERIES + 1)["success"])

    def test_requests_that_wait_are_bounded_in_bytes(self):
        # Of 200 MiB it keeps no more than one frame may have, beside the one that it reads.
        limit = 4 * MIB
        for path in BOTH:
            worker = self.stdio(
                path, negotiation=NEGOTIATION, SNAKEPIT_MAX_FRAME_BYTES=str(limit)
            )
            started, release = self.fifo("started"), self.fifo("release")
            worker.begin("hold", 1, started=started, release=release)
            with open(started, "rb"):
                pass
            before = memory(worker)
            large = {"text": "x" * (2 * MIB)}
            count = 100
            writer = self.flood(
                worker, [{"id": i, "command": "echo", "args": large} for i in range(2, count + 2)]
            )
            # The first two may wait; the refusals of the others are read, so all are taken.
            refused = [worker.receive() for _ in range(count - 2)]
            self.assertEqual({"INVALID_ARGUMENT"}, {reply["code"] for reply in refused}, path)
            writer.join(LIMIT_S)
            self.assertLess(memory(worker) - before, 64 * MIB, path)
            os.close(os.open(release, os.O_WRONLY | os.O_NONBLOCK))
            self.assertTrue(worker.receive()["success"])
            kept = [worker.receive() for _ in range(2)]
            self.assertTrue(all(reply["success"] for reply in kept))
            os.unlink(started)
            os.unlink(release)

    def test_a_cancel_is_read_while_answers_wait_to_be_read(self):
        # As many queries as block, with the call, every thread but the last that reads.
        for path in BOTH:
            worker = self.stdio(path, negotiation=NEGOTIATION)
            worker.begin("sleep", 1, ms=60_000)
            writer = self.flood(
                worker,
                [{"type": "health", "id": i} for i in range(2, QUERIES)]
                + [{"type": "cancel", "id": 1}],
            )
            self.await_rest(worker, writer)
            ids = [worker.receive()["id"] for _ in range(1, QUERIES)]
            self.assertEqual(list(range(1, QUERIES)), sorted(ids))


class SmallElementsTest(WorkerTestCase):
    """Empty maps: one, of a byte or of three, takes some 70 in memory."""

    DECODED = 512 * MIB  # what a worker decodes at most
    PACKED = b"\x81\xa1a\xdd" + (24 * MIB).to_bytes(4, "big") + b"\x80" * (24 * MIB)
    JSON = b"[" + b"{}," * (8 * MIB) + b"0]"

    def assert_refused(self, worker, reply, sent, before):
        self.assertEqual(("MESSAGE_TOO_LARGE", True), (reply["code"], reply["did_not_run"]))
        # With what the allocator adds, the message, and what a parser needs for that.
        self.assertLess(memory(worker) - before, self.DECODED * 1.25 + 20 * len(sent))

    def test_over_stdio_in_message_pack(self):
        worker = self.stdio(CPP, negotiation=MESSAGE_PACK)
        before = memory(worker)
        sent = b"\x83\xa2id\x07\xa7command\xa4echo\xa4args" + self.PACKED
        for _ in range(2):
            worker.send_bytes(frame(sent))
            reply = msgpack.unpackb(worker.receive_bytes())
            self.assertEqual(7, reply["id"])
            self.assert_refused(worker, reply, sent, before)
        worker.send_bytes(frame(msgpack.packb({"id": 8, "command": "echo", "args": {"a": 1}})))
        self.assertEqual({"a": 1}, msgpack.unpackb(worker.receive_bytes())["result"])

    def test_over_stdio_in_json(self):
        worker = self.stdio(CPP, negotiation=NEGOTIATION)
        before = memory(worker)
        sent = b'{"args":{"a":' + self.JSON + b'},"id":7,"command":"echo"}'
        worker.send_bytes(frame(sent))
        reply = worker.receive()
        self.assertEqual(7, reply["id"])
        self.assert_refused(worker, reply, sent, before)
        self.assertEqual({"a": 1}, worker.call("echo", 8, a=1)["result"])

    def test_over_grpc(self):
        worker = self.grpc(CPP)
        self.assertTrue(worker.call("echo").success)
        before = memory(worker)
        for request in (
            pb.ExecuteRequest(command="echo", typed_args=self.PACKED),
            pb.ExecuteRequest(command="echo", args={"a": self.JSON}),
        ):
            reply = worker.execute(request, timeout=LIMIT_S)
            members = {"code": reply.code, "did_not_run": reply.did_not_run}
            self.assert_refused(worker, members, self.JSON, before)
            self.assertTrue(worker.call("echo").success)


class NoThreadTest(WorkerTestCase):
    """The system gives no thread: no stack has room."""

    def test_calls_run_one_after_the_other(self):
        huge = 1 << 46
        soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
        if hard != resource.RLIM_INFINITY and hard < huge:
            self.skipTest("the limit of stacks cannot be raised here")
        worker = StdioWorker(
            ["/bin/sh", "-c", 'ulimit -S -s "$0" && exec "$@"', str(huge // 1024), *CPP],
            False,
            {"FIXTURE_CAPACITY": "4"},
        )
        self.addCleanup(worker.kill)
        worker.send(NEGOTIATION)
        self.assertEqual(2, worker.receive()["version"])
        worker.send(*({"id": i, "command": "echo", "args": {"i": i}} for i in range(1, 101)))
        for i in range(1, 101):
            self.assertEqual((i, {"i": i}), tuple(map(worker.receive().get, ("id", "result"))))
        self.assertEqual(1, threads(worker))
        # It waits for credit, which nobody could read.
        worker.send({"id": 200, "command": "count", "args": {"n": 3}, "stream": True, "credit": 1})
        reply = worker.receive()
        self.assertEqual((200, "INVALID_ARGUMENT", True),
                         (reply["id"], reply["code"], reply["did_not_run"]))
        self.assertIn("no thread", reply["error"])
        worker.close_input()
        status, errors = worker.wait()
        self.assertEqual(0, status)
        self.assertEqual(1, errors.count("no thread"), errors)


if __name__ == "__main__":
    unittest.main()
