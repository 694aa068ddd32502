"""Each fault shows at its time, and no other fault does."""

import json
import os
import signal
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from raw_worker import Worker, request  # noqa: E402


def worker_with(fault, *argv):
    return Worker("misbehaving_worker.py", "--fault", fault, *argv)


def call_fault(worker, id=2):
    """Makes a ping, which must work, and then the failing call."""
    assert worker.call(1, "ping")["result"]["status"] == "ok"
    worker.send(request(id, "fault"))


class StartUpFault(unittest.TestCase):
    def test_exits_at_once(self):
        with worker_with("exits-at-once") as worker:
            self.assertEqual((worker.rest(), worker.wait()), (b"", 3))
            self.assertEqual(worker.stderr_line(), "fatal: no such model\n")

    def test_hangs_in_start_up(self):
        with worker_with("hangs-in-start-up") as worker:
            worker.close_stdin()
            self.assertIsNone(worker.process.poll())
            worker.terminate()
            worker.wait()
            self.assertEqual(worker.rest(), b"")

    def test_prints_before_ready(self):
        with worker_with("prints-before-ready") as worker:
            worker.send(request(1, "ping"))
            self.assertEqual(worker.process.stdout.read(6), b"hello\n")
            self.assertEqual(worker.read()["id"], 1)

    def test_ignores_sigterm(self):
        with worker_with("ignores-sigterm") as worker:
            self.assertEqual(worker.call(1, "ping")["id"], 1)
            worker.terminate()
            self.assertEqual(worker.call(2, "ping")["id"], 2)


class CallFault(unittest.TestCase):
    def expect_output(self, fault, expected):
        with worker_with(fault) as worker:
            call_fault(worker)
            self.assertEqual(worker.process.stdout.read(len(expected)), expected)
            self.assertIsNone(worker.process.poll())

    def expect_reply(self, fault, check):
        """Checks a frame with `check`; the worker must serve the next call."""
        with worker_with(fault) as worker:
            call_fault(worker)
            check(worker.read_payload())
            self.assertEqual(worker.call(3, "ping")["id"], 3)

    def expect_end(self, fault, status, output=b""):
        with worker_with(fault) as worker:
            call_fault(worker)
            self.assertEqual(worker.rest(), output)
            self.assertEqual(worker.wait(), status)

    def test_none(self):
        with worker_with("none") as worker:
            call_fault(worker)
            self.assertEqual(worker.read()["result"]["error"], "Unknown command: fault")

    def test_prints_in_handler(self):
        with worker_with("prints-in-handler") as worker:
            call_fault(worker)
            self.assertEqual(worker.process.stdout.read(6), b"hello\n")
            self.assertEqual(worker.read()["id"], 2)

    def test_garbage(self):
        with worker_with("garbage") as worker:
            call_fault(worker)
            data = worker.process.stdout.read(256)
            self.assertGreater(struct.unpack(">I", data[:4])[0], 0x7FFFFFFF)

    def test_claims_2gib(self):
        self.expect_output("claims-2gib", b"\x7f\xff\xff\xff{")

    def test_zero_length_frame(self):
        self.expect_reply("zero-length-frame", lambda p: self.assertEqual(p, b""))

    def test_bad_json(self):
        self.expect_reply(
            "bad-json",
            lambda payload: self.assertRaises(ValueError, json.loads, payload),
        )

    def test_reply_without_id(self):
        self.expect_reply(
            "reply-without-id", lambda p: self.assertNotIn("id", json.loads(p))
        )

    def test_wrong_id(self):
        self.expect_reply(
            "wrong-id", lambda p: self.assertEqual(json.loads(p)["id"], 1_000_002)
        )

    def test_success_without_result(self):
        def check(payload):
            reply = json.loads(payload)
            self.assertIs(reply["success"], True)
            self.assertNotIn("result", reply)

        self.expect_reply("success-without-result", check)

    def test_infinity(self):
        self.expect_reply("infinity", lambda p: self.assertIn(b": Infinity", p))

    def test_half_a_frame(self):
        with worker_with("half-a-frame") as worker:
            call_fault(worker)
            data = worker.rest()
            self.assertLess(len(data), 4 + struct.unpack(">I", data[:4])[0])
            self.assertEqual(worker.wait(), 0)

    def test_closes_stdout(self):
        with worker_with("closes-stdout") as worker:
            call_fault(worker)
            self.assertEqual(worker.rest(), b"")
            self.assertIsNone(worker.process.poll())

    def test_exits_mid_request(self):
        self.expect_end("exits-mid-request", 7)

    def test_killed_mid_request(self):
        self.expect_end("killed-mid-request", -signal.SIGSEGV)

    def test_silent(self):
        with worker_with("silent") as worker:
            call_fault(worker)
            self.assertEqual(worker.call(3, "ping")["id"], 3)

    def test_late_reply(self):
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "told")
            os.mkfifo(fifo)
            with worker_with("late-reply", "--until", fifo) as worker:
                call_fault(worker)
                with open(fifo, "wb"):  # Opens when the worker has come to wait.
                    os.set_blocking(worker.process.stdout.fileno(), False)
                    self.assertIsNone(worker.process.stdout.read(1))
                    os.set_blocking(worker.process.stdout.fileno(), True)
                self.assertEqual(worker.read()["id"], 2)

    def test_stderr_flood(self):
        with worker_with("stderr-flood") as worker:
            call_fault(worker)
            left = 64 << 20
            while left > 0:
                left -= len(worker.process.stderr.read1(1 << 20))
            self.assertEqual(left, 0)
            self.assertEqual(worker.read()["id"], 2)

    def test_grandchild(self):
        with worker_with("grandchild") as worker:
            call_fault(worker)
            word, pid = worker.stderr_line().split()
            self.assertEqual(word, "grandchild")
            self.assertEqual(worker.wait(), 7)
            self.assertEqual(os.getpgid(int(pid)), worker.process.pid)

    def test_requests_are_recorded(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "record")
            with worker_with("silent", "--record", path) as worker:
                call_fault(worker)
                worker.call(3, "ping")
                pid = worker.process.pid
            with open(path) as file:
                self.assertEqual(
                    file.read(), f"{pid} ping 1\n{pid} fault 2\n{pid} ping 3\n"
                )


if __name__ == "__main__":
    unittest.main()
