"""An intruder, and a client that sends too much, at a worker's gRPC port."""

import os
import threading
import unittest

import grpc

from both_sdks import BOTH, CPP
from grpc_client import Client, encode, pb
from harness import LIMIT_S, NEGOTIATION, WorkerTestCase

TOKEN = "0123456789abcdefABCDEF0123456789"
OTHER = "0123456789abcdefABCDEF012345678A"
MIB = 1 << 20


def memory(worker):
    """The most that it had at a time, in bytes."""
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise ValueError("no VmHWM")


class ClientTest(WorkerTestCase):
    def test_bodies_without_the_token_take_no_memory(self):
        request = pb.ExecuteRequest(command="echo", typed_args=bytes(48 * MIB))
        for path in BOTH:
            worker = self.grpc(path, SNAKEPIT_TOKEN=TOKEN)
            address = "unix:" + self.path("worker socket").replace(" ", "%20")
            worker.health(pb.HealthRequest(), timeout=LIMIT_S, metadata=[("snakepit-token", TOKEN)])
            before = memory(worker)
            codes = []

            def intrude(metadata):
                client = Client(address)
                try:
                    client.execute(request, timeout=LIMIT_S, metadata=metadata)
                except grpc.RpcError as error:
                    codes.append(error.code())
                client.channel.close()

            wrong = ([], [("snakepit-token", OTHER)],
                     [("snakepit-token", TOKEN), ("snakepit-token", OTHER)])
            threads = [threading.Thread(target=intrude, args=[wrong[i % 3]]) for i in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual([grpc.StatusCode.UNAUTHENTICATED] * 12, codes)
            # Of 576 MiB; a connection has windows of its own.
            self.assertLess(memory(worker) - before, 24 * MIB, path)
            worker.kill()

    def test_calls_over_the_capacity_are_left_with_the_client(self):
        worker = self.grpc(CPP)
        started, release = self.fifo("started"), self.fifo("release")
        request = pb.ExecuteRequest(
            command="hold", args=encode({"started": started, "release": release})
        )
        held = worker.execute.future(request, timeout=LIMIT_S)
        with open(started, "rb"):
            pass
        before = memory(worker)
        args = b"\x81\xa1a\xc6\x01\0\0\0" + bytes(16 * MIB)
        request = pb.ExecuteRequest(command="nope", typed_args=args)
        calls = [worker.execute.future(request, timeout=LIMIT_S) for _ in range(20)]
        # Queries are answered, and whatever the transport takes in is there by then.
        for _ in range(50):
            self.assertTrue(worker.health(pb.HealthRequest(), timeout=LIMIT_S).healthy)
        # Of 320 MiB: two requests are kept, each twice for a moment, and windows.
        self.assertLess(memory(worker) - before, 140 * MIB)
        os.close(os.open(release, os.O_WRONLY | os.O_NONBLOCK))
        self.assertTrue(held.result().success)
        for call in calls:
            self.assertEqual("UNIMPLEMENTED", call.result().code)


class TokenTest(WorkerTestCase):
    """Who may read the worker's environment does not learn its token from it."""

    def assert_wiped(self, worker):
        with open(f"/proc/{worker.process.pid}/environ", "rb") as file:
            environment = file.read()
        self.assertIn(b"SNAKEPIT_WORKER_ID=wiped", environment)  # it is this process' own
        self.assertNotIn(TOKEN.encode(), environment)

    def test_over_grpc(self):
        worker = self.grpc(CPP, SNAKEPIT_TOKEN=TOKEN, SNAKEPIT_WORKER_ID="wiped")
        self.assert_wiped(worker)
        with self.assertRaises(grpc.RpcError) as raised:
            worker.call("echo")
        self.assertEqual(grpc.StatusCode.UNAUTHENTICATED, raised.exception.code())

    def test_over_stdio(self):
        worker = self.stdio(
            CPP, negotiation=NEGOTIATION, SNAKEPIT_TOKEN=TOKEN, SNAKEPIT_WORKER_ID="wiped"
        )
        self.assert_wiped(worker)


if __name__ == "__main__":
    unittest.main()
