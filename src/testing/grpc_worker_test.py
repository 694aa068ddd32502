"""The demands of PROTOCOL.md on a worker over gRPC, checked on both SDKs."""

import os
import subprocess
import unittest

import grpc
import msgpack

from both_sdks import BOTH
from grpc_client import Client, pb
from harness import LIMIT_S, WorkerTestCase, start

TOKEN = "0123456789abcdefABCDEF0123456789"
MAX_INT32 = (1 << 31) - 1


class GrpcWorkerTest(WorkerTestCase):
    def workers(self, capacity=1, **env):
        """A worker of each SDK; the last one is ended before the next starts."""
        for path in BOTH:
            worker = self.grpc([*path, "--capacity", str(capacity)], **env)
            yield worker
            worker.kill()

    def execute(self, worker, command, session_id=None, request_id="r", **fields):
        """The reply in version 2; of a stream, its last message."""
        request = {"command": command, "request_id": request_id, "typed_args": b"\x80", **fields}
        if session_id is None:
            request = pb.ExecuteRequest(**request)
            methods = worker.execute, worker.execute_stream
        else:
            request = pb.SessionRequest(session_id=session_id, **request)
            methods = worker.execute_in_session, worker.execute_in_session_stream
        *_, last = methods[1](request, timeout=LIMIT_S)
        return methods[0](request, timeout=LIMIT_S), last

    def count_up(self, worker):
        """Number of calls that the session has had."""
        request = pb.SessionRequest(command="conf.incr", session_id="s", typed_args=b"\x80")
        return msgpack.unpackb(worker.execute_in_session(request, timeout=LIMIT_S).typed_result)

    def assert_refused(self, reply, code="INVALID_ARGUMENT"):
        self.assertEqual((code, True), (reply.code, reply.did_not_run), reply)
        self.assertTrue(reply.error)

    def hold(self, worker, request_id="held"):
        """Begins a call: its future, and a function that lets it end."""

        def begin(**pipes):
            args = msgpack.packb(pipes)
            request = pb.ExecuteRequest(command="hold", typed_args=args, request_id=request_id)
            return worker.execute.future(request, timeout=LIMIT_S)

        return self.held(begin)

    def test_a_port_is_announced_as_each_pool_expects_it(self):
        for path in BOTH:
            ready_file = self.path("ready")
            process = start(
                [*path, "--transport", "grpc"],
                subprocess.DEVNULL,
                subprocess.PIPE,
                SNAKEPIT_READY_FILE=ready_file,
            )
            # Both in one write, since pools look at the text of one read.
            announced = os.read(process.stdout.fileno(), 4096).decode()
            with open(ready_file, encoding="ascii") as file:
                port = file.read()
            self.assertEqual(
                f"GRPC_READY:{port}\nGRPC_SERVER_READY_ON_PORT={port}\n", announced
            )
            client = Client(f"127.0.0.1:{port}")
            self.assertTrue(client.call("echo").success)
            client.channel.close()
            process.kill()
            process.communicate()
            os.unlink(ready_file)

    def test_a_socket_is_announced_and_leaves_the_ready_file_alone(self):
        for worker in self.workers(SNAKEPIT_READY_FILE=self.path("ready")):
            self.assertEqual(f"GRPC_READY:{self.path('worker socket')}\n", worker.announced)
            self.assertFalse(os.path.exists(self.path("ready")))

    def test_a_session_has_1_to_256_bytes(self):
        for worker in self.workers():
            for bad in ("", "x" * 257, "é" * 129):
                for reply in self.execute(worker, "conf.incr", bad):
                    self.assert_refused(reply)
            for good in ("x", "é" * 128):
                reply, last = self.execute(worker, "conf.incr", good)
                self.assertEqual(2, msgpack.unpackb(reply.typed_result))
                self.assertEqual(1, msgpack.unpackb(last.typed_chunk))

    def test_the_end_of_a_session_is_no_call(self):
        for worker in self.workers():
            self.execute(worker, "conf.incr", "s")
            for reply in self.execute(worker, "conf.incr", "s", end_session=True):
                self.assert_refused(reply)
            *_, last = worker.execute_in_session_stream(
                pb.SessionRequest(session_id="s", end_session=True), timeout=LIMIT_S
            )
            self.assert_refused(last)
            self.assertEqual(3, self.count_up(worker))
            for session_id, success in (("s", True), ("unknown", True), ("", False)):
                request = pb.SessionRequest(session_id=session_id, end_session=True)
                reply = worker.execute_in_session(request, timeout=LIMIT_S)
                self.assertEqual(success, reply.success)
            self.assertEqual(1, self.count_up(worker))

    def test_figures_are_of_calls_that_have_ended(self):
        for worker in self.workers():
            self.execute(worker, "nope")  # 2
            self.execute(worker, "conf.raise")  # 4
            self.execute(worker, "echo", typed_args=b"\xc1")  # 6
            self.execute(worker, "echo", "")  # 8
            self.execute(worker, "echo")  # 10
            self.execute(worker, "conf.stream", typed_args=msgpack.packb({"count": 3}))  # 12
            request = pb.SessionRequest(session_id="s", end_session=True)
            worker.execute_in_session(request, timeout=LIMIT_S)
            future, end = self.hold(worker)
            health = worker.health(pb.HealthRequest(), timeout=LIMIT_S)
            self.assertEqual((12, 8), (health.total_requests, health.total_errors))
            end()
            self.assertTrue(future.result().success)
            stats = worker.get_info(pb.InfoRequest(include_stats=True), timeout=LIMIT_S).stats
            self.assertEqual((13, 8), (stats.requests_handled, stats.requests_failed))

    def test_a_call_without_an_id_is_not_listed(self):
        for worker in self.workers(capacity=2):
            for request_id, listed in (("", []), ("held", ["held"])):
                future, end = self.hold(worker, request_id)
                health = worker.health(pb.HealthRequest(), timeout=LIMIT_S)
                self.assertEqual(listed, list(health.active_request_ids))
                end()
                self.assertTrue(future.result().success)

    def test_a_wrong_limit_is_refused(self):
        for worker in self.workers():
            for bad in (-1, 1, 1023, 1 << 31):
                request = pb.InfoRequest(protocol_version=2, max_message_bytes=bad)
                with self.assertRaises(grpc.RpcError) as raised:
                    worker.get_info(request, timeout=LIMIT_S)
                self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, raised.exception.code())
                # Version 1 ignores it.
                info = worker.get_info(pb.InfoRequest(max_message_bytes=bad), timeout=LIMIT_S)
                self.assertEqual(0, info.protocol_version)

    def test_the_last_limit_counts(self):
        large = msgpack.packb({"value": "x" * 5000})
        for worker in self.workers():
            for limit, success in ((4096, False), (8192, True), (4096, False), (0, True)):
                request = pb.InfoRequest(protocol_version=2, max_message_bytes=limit)
                self.assertEqual(2, worker.get_info(request, timeout=LIMIT_S).protocol_version)
                reply, _ = self.execute(worker, "echo", typed_args=large)
                self.assertEqual(success, reply.success)

    def test_an_error_always_has_a_text(self):
        args = msgpack.packb({"text": ""})
        for worker in self.workers():
            for command in ("refuse", "conf.raise"):
                for reply in self.execute(worker, command, typed_args=args):
                    self.assertRegex(reply.error, "^[A-Za-z:_]+$")

    def test_the_longest_time_limit_is_one(self):
        for worker in self.workers():
            args = msgpack.packb({"ms": 1})
            request = pb.ExecuteRequest(command="conf.sleep", typed_args=args, timeout_ms=MAX_INT32)
            self.assertTrue(worker.execute(request).success)
            request.timeout_ms = -MAX_INT32 - 1
            self.assert_refused(worker.execute(request), "DEADLINE_EXCEEDED")

    def test_one_token_and_no_other(self):
        one = ("snakepit-token", TOKEN)
        for worker in self.workers(SNAKEPIT_TOKEN=TOKEN):
            for metadata in ((), (one, one), (one, ("snakepit-token", TOKEN[::-1]))):
                with self.assertRaises(grpc.RpcError) as raised:
                    worker.health(pb.HealthRequest(), timeout=LIMIT_S, metadata=metadata)
                self.assertEqual(grpc.StatusCode.UNAUTHENTICATED, raised.exception.code())
            self.assertTrue(worker.health(pb.HealthRequest(), metadata=(one,)).healthy)
        for worker in self.workers(SNAKEPIT_TOKEN=""):
            self.assertTrue(worker.health(pb.HealthRequest(), timeout=LIMIT_S).healthy)

    def test_a_malformed_token_is_not_served(self):
        for bad in ("short", "x" * 129, "-" * 40):
            for worker in self.workers(SNAKEPIT_TOKEN=bad):
                status, errors = worker.wait()
                self.assertEqual(2, status)
                self.assertIn("SNAKEPIT_TOKEN", errors)
                self.assertNotIn(bad, errors)


if __name__ == "__main__":
    unittest.main()
