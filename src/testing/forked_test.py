"""A child that a handler forks is not a worker. PROTOCOL.md 1.3.6."""

import os
import signal
import socket
import unittest

from both_sdks import BOTH
from harness import LIMIT_S, NEGOTIATION, WorkerTestCase


class ForkedTest(WorkerTestCase):
    def workers(self):
        """(a function that calls it, the worker), for each way to serve."""
        for path in BOTH:
            for capacity in ("1", "4"):
                fixture = [*path, "--capacity", capacity]
                for negotiation in (None, NEGOTIATION):
                    stdio = self.stdio(fixture, negotiation=negotiation)
                    yield lambda name, w=stdio, **args: w.call(name, **args)["result"], stdio
                grpc = self.grpc(fixture)
                yield lambda name, w=grpc, **args: int(w.call(name, **args).result["result"]), grpc
                grpc.kill()

    def test_a_child_that_comes_back_is_ended_without_a_reply(self):
        for call, worker in self.workers():
            self.assertEqual(1, call("fork_child", how="return"))
            self.assertEqual(1, call("fork_child", how="raise"))
            self.assertEqual(7, call("fork_child", how="exit"))
            # Only the replies to the requests come.
            self.assertEqual(1, call("fork_child", how="return"))
            worker.process.terminate()
            status, errors = worker.wait()
            self.assertEqual(0, status)
            self.assertIn("has returned from the handler that forked it", errors)
            self.assertIn("raised in the child", errors)

    def test_a_child_reads_nothing_of_the_connection(self):
        for path in BOTH:
            for socketpair in (False, True):
                worker = self.stdio(path, socketpair=socketpair)
                worker.send({"id": 1, "command": "fork_child", "args": {"how": "read"}})
                worker.send({"id": 2, "command": "ping"})
                self.assertEqual(0, worker.receive()["result"])
                self.assertEqual(2, worker.receive()["id"])

    def test_everything_about_the_pool_refuses_by_name(self):
        for call, _ in self.workers():
            self.assertEqual(0, call("fork_child", how="use"))

    def test_a_signal_to_a_child_is_not_the_workers(self):
        for call, _ in self.workers():
            self.assertEqual(-signal.SIGTERM, call("fork_child", how="wait"))
            self.assertEqual(-signal.SIGTERM, call("fork_child", how="wait"))

    def test_a_child_on_another_thread_sends_no_reply(self):
        for path in BOTH:
            worker = self.stdio([*path, "--capacity", "4"], negotiation=NEGOTIATION)
            end = self.hold(worker)
            for how, status in (("return", 1), ("raise", 1), ("wait", -signal.SIGTERM)):
                self.assertEqual(status, worker.call("fork_child", 2, how=how)["result"])
            end()
            self.assertEqual("held", worker.receive()["result"])

    def test_a_child_sends_no_chunk(self):
        for path in BOTH:
            worker = self.stdio(path, negotiation=NEGOTIATION)
            messages = worker.stream("fork_stream")
            chunks = [m["chunk"] for m in messages if "chunk" in m]
            self.assertEqual([{"number": 0}, {"number": 1}], chunks)
            self.assertTrue(worker.call("ping", 2)["success"])
            worker = self.grpc(path)
            chunks = [dict(m.chunk) for m in worker.stream("fork_stream") if m.chunk]
            self.assertEqual([{"number": b"0"}, {"number": b"1"}], chunks)
            worker.kill()

    def test_a_child_that_lives_on_holds_no_connection_open(self):
        for path in BOTH:
            for socketpair in (False, True):
                worker = self.stdio(path, socketpair=socketpair)
                child = worker.call("fork_and_stay")["result"]
                self.addCleanup(os.kill, child, signal.SIGKILL)
                worker.process.kill()
                self.assertIsNone(worker.receive())
            worker = self.grpc(path)
            with socket.socket(socket.AF_UNIX) as accepted:
                accepted.connect(self.path("worker socket"))
                accepted.settimeout(LIMIT_S)
                accepted.recv(1)  # now the worker has it
                child = int(worker.call("fork_and_stay").result["result"])
                self.addCleanup(os.kill, child, signal.SIGKILL)
                worker.process.kill()
                worker.process.wait(LIMIT_S)
                while accepted.recv(4096):
                    pass
            with socket.socket(socket.AF_UNIX) as late:
                with self.assertRaises(ConnectionRefusedError):
                    late.connect(self.path("worker socket"))


if __name__ == "__main__":
    unittest.main()
