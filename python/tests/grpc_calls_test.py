"""Version 2 over gRPC: PROTOCOL.md 6.11 and 6.13."""

import os
import struct
import subprocess
import sys
import time
import unittest

import grpc
import msgpack

from grpc_client import pb
from harness import ENVIRONMENT, FIXTURE, FIXTURE_OF_FOUR, LIMIT_S, WorkerTestCase
from snakepit_bridge import secret
from snakepit_bridge.grpc_service import WAITING_THREADS

TOKEN = "0123456789abcdefABCDEF0123456789"
SCRIPT_THAT_SHOWS_ITS_ENVIRONMENT = """
import snakepit_bridge, sys
sys.stdout.write(open("/proc/self/environ").read())
"""


class GrpcTestCase(WorkerTestCase):
    def call(self, worker, command, metadata=None, request_id="r", **args):
        """The reply to Execute with typed values."""
        request = pb.ExecuteRequest(
            command=command, typed_args=msgpack.packb(args), request_id=request_id
        )
        return worker.execute(request, timeout=LIMIT_S, metadata=metadata)

    def stream(self, worker, command, request_id="r", timeout=LIMIT_S, **args):
        """The call object of ExecuteStream with typed values."""
        request = pb.ExecuteRequest(
            command=command, typed_args=msgpack.packb(args), request_id=request_id
        )
        return worker.execute_stream(request, timeout=timeout)

    def begin_waiting(self, worker, request_id, **args):
        """The future of a call of until_cancelled, once its handler runs."""
        started = self.fifo(f"started {request_id}")
        future = worker.execute.future(
            pb.ExecuteRequest(
                command="until_cancelled",
                typed_args=msgpack.packb({"started": started, **args}),
                request_id=request_id,
            )
        )
        self.await_start(started)
        return future

    def active(self, worker):
        """The request ids of the running handlers."""
        return list(worker.health(pb.HealthRequest(), timeout=LIMIT_S).active_request_ids)

    def wait_until(self, condition):
        end = time.monotonic() + LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.001)


class AgreementTest(GrpcTestCase):
    def test_version_2_is_agreed_by_get_info(self):
        env = {"SNAKEPIT_WORKER_ID": "w7", "SNAKEPIT_MAX_FRAME_BYTES": "8192"}
        worker = self.grpc(FIXTURE_OF_FOUR, **env)
        offer = pb.InfoRequest(
            protocol_version=3, features=["session", "later"], max_message_bytes=4096
        )
        info = worker.get_info(offer)
        self.assertEqual((2, ["session"]), (info.protocol_version, list(info.features)))
        self.assertEqual((4, 8192), (info.capacity, info.max_message_bytes))
        self.assertEqual("w7", info.worker_id)
        # The pool's limit holds for replies of version 2 only.
        reply = self.call(worker, "sized", size=4096)
        self.assertEqual("MESSAGE_TOO_LARGE", reply.code)
        self.assertIn("limit of 4096", reply.error)
        self.assertTrue(self.call(worker, "sized", size=3000).success)
        self.assertTrue(worker.call("sized", size=6000).success)

    def test_a_pool_of_version_1_is_told_nothing_of_version_2(self):
        worker = self.grpc(FIXTURE)
        for version in (0, 1):
            info = worker.get_info(pb.InfoRequest(protocol_version=version))
            self.assertEqual(
                (0, [], 0, 0, ""),
                (
                    info.protocol_version,
                    list(info.features),
                    info.capacity,
                    info.max_message_bytes,
                    info.worker_id,
                ),
            )

    def test_a_limit_out_of_range_is_refused(self):
        worker = self.grpc(FIXTURE)
        for bad in (-1, 1023, 1 << 31):
            with self.assertRaises(grpc.RpcError) as raised:
                worker.get_info(pb.InfoRequest(protocol_version=2, max_message_bytes=bad))
            self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, raised.exception.code())


class ValueTest(GrpcTestCase):
    def test_values_come_back_as_they_went(self):
        worker = self.grpc(FIXTURE)
        nan = struct.pack(">d", struct.unpack(">d", b"\x7f\xf0\0\0\0\0\0\1")[0])
        for value in (
            None,
            True,
            0,
            -(1 << 63),
            (1 << 64) - 1,
            1.0,
            -0.0,
            float("inf"),
            "5",
            "null",
            b"abc",
            b"\xff\0",
            [],
            {},
            {"$bytes": "x"},
            {"": [b"", "", {"a": None}]},
        ):
            reply = self.call(worker, "conf.echo", value=value)
            self.assertEqual(repr(value), repr(msgpack.unpackb(reply.typed_result)))
            self.assertEqual({}, dict(reply.result))
            (message,) = self.stream(worker, "conf.echo", value=value)
            self.assertEqual(repr(value), repr(msgpack.unpackb(message.typed_chunk)))
            self.assertEqual((True, {}), (message.is_final, dict(message.chunk)))
        packed = b"\x81\xa5value\xcb" + nan
        reply = worker.execute(pb.ExecuteRequest(command="conf.echo", typed_args=packed))
        self.assertEqual(b"\xcb" + nan, reply.typed_result)

    def test_an_empty_map_is_a_chunk_and_may_be_the_last(self):
        worker = self.grpc(FIXTURE)
        (message,) = self.stream(worker, "conf.echo", value={})
        self.assertEqual((True, b"\x80"), (message.is_final, message.typed_chunk))
        messages = list(self.stream(worker, "conf.stream", count=1))
        self.assertEqual([b"", True], [messages[1].typed_chunk, messages[1].is_final])

    def test_args_that_are_no_map_with_text_keys_are_refused(self):
        worker = self.grpc(FIXTURE)
        for bad in (b"\xc0", b"\x90", b"\x81\x01\x02", b"\x81\xc4\x01a\x02", b"\xc1", b"\x81"):
            reply = worker.execute(pb.ExecuteRequest(command="kinds", typed_args=bad))
            self.assertEqual("INVALID_ARGUMENT", reply.code, bad)
            self.assertTrue(reply.did_not_run)
            (message,) = worker.execute_stream(pb.ExecuteRequest(command="kinds", typed_args=bad))
            self.assertEqual((True, True), (message.is_final, message.did_not_run))

    def test_requests_of_both_versions_are_served_side_by_side(self):
        worker = self.grpc(FIXTURE)
        for _ in range(3):
            reply = self.call(worker, "kinds", a=b"x")
            self.assertEqual({"a": "bytes"}, msgpack.unpackb(reply.typed_result))
            reply = worker.call("kinds", a=b"x")
            self.assertEqual({"a": b"str"}, dict(reply.result))
            self.assertEqual(b"", reply.typed_result)


class FailureTest(GrpcTestCase):
    def test_did_not_run_is_said_where_the_handler_was_not_called(self):
        worker = self.grpc(FIXTURE)
        for command, args, timeout_ms, code, did_not_run in (
            ("nope", {}, 0, "UNIMPLEMENTED", True),
            ("required", {}, 0, "INVALID_ARGUMENT", True),
            ("ping", {}, -1, "DEADLINE_EXCEEDED", True),
            ("conf.raise", {}, 0, "HANDLER_FAILED", False),
            ("refuse", {}, 0, "INVALID_ARGUMENT", False),
            ("bad_value", {"kind": "set"}, 0, "HANDLER_FAILED", False),
            ("nap", {"seconds": 0.05}, 20, "DEADLINE_EXCEEDED", False),
        ):
            request = pb.ExecuteRequest(
                command=command, typed_args=msgpack.packb(args), timeout_ms=timeout_ms
            )
            (message,) = worker.execute_stream(request)
            for reply in (worker.execute(request), message):
                self.assertEqual(code, reply.code, command)
                self.assertEqual(did_not_run, reply.did_not_run, command)

    def test_the_worker_lives_on(self):
        worker = self.grpc(FIXTURE)
        reply = self.call(worker, "conf.raise", text="it broke")
        self.assertEqual("ValueError: it broke", reply.error)
        self.assertTrue(self.call(worker, "ping").success)


class CancelTest(GrpcTestCase):
    def test_a_cancelled_handler_is_told_and_listed_until_its_end(self):
        worker = self.grpc(FIXTURE)
        future = self.begin_waiting(worker, "one")
        self.assertEqual(["one"], self.active(worker))
        future.cancel()
        self.wait_until(lambda: not self.active(worker))
        health = worker.health(pb.HealthRequest())
        self.assertEqual((1, 1), (health.total_requests, health.total_errors))
        self.assertTrue(self.call(worker, "ping").success)

    def test_a_handler_that_ignores_a_cancel_is_listed_until_its_end(self):
        worker = self.grpc(FIXTURE)

        def begin(**pipes):
            args = msgpack.packb(pipes)
            request = pb.ExecuteRequest(command="hold", typed_args=args, request_id="deaf")
            return worker.execute.future(request)

        future, end = self.held(begin)
        future.cancel()
        for _ in range(20):
            self.assertEqual(["deaf"], self.active(worker))
        end()
        self.wait_until(lambda: not self.active(worker))

    def test_a_call_cancelled_before_its_turn_is_never_begun(self):
        worker = self.grpc(FIXTURE)
        first = self.begin_waiting(worker, "first")
        marker = self.path("marker")
        args = msgpack.packb({"count": 1, "size": 1, "log": marker})
        request = pb.ExecuteRequest(command="blocks", typed_args=args, request_id="second")
        waiting = [worker.execute.future(request) for _ in range(8)]
        streams = [worker.execute_stream(request) for _ in range(8)]
        self.assertEqual(["first"], self.active(worker))
        for call in waiting + streams:
            call.cancel()
        first.cancel()
        self.wait_until(lambda: not self.active(worker))
        self.assertTrue(self.call(worker, "ping").success)
        self.assertFalse(os.path.exists(marker))

    def test_calls_cancelled_before_their_turn_free_their_threads(self):
        worker = self.grpc(FIXTURE)
        first = self.begin_waiting(worker, "first")
        ping = pb.ExecuteRequest(command="ping")
        waiting = [worker.execute.future(ping) for _ in range(2 * WAITING_THREADS)]
        for _ in range(20):
            worker.health(pb.HealthRequest(), timeout=LIMIT_S)
        for call in waiting:
            call.cancel()
        # This request waits for no turn, but needs a thread.
        request = pb.SessionRequest(session_id="s", end_session=True)
        # The limit is shorter than the first call's own.
        reply = worker.execute_in_session(request, timeout=LIMIT_S / 2)
        self.assertTrue(reply.success)
        first.cancel()

    def test_a_cancel_at_any_time_leaves_nothing_running(self):
        worker = self.grpc(FIXTURE_OF_FOUR)
        for round_number in range(200):
            request = pb.ExecuteRequest(
                command="nap",
                typed_args=msgpack.packb({"seconds": 0.001}),
                request_id=str(round_number),
            )
            future = worker.execute.future(request)
            if round_number % 3:
                time.sleep(0.0005 * (round_number % 3))
            future.cancel()
        self.wait_until(lambda: not self.active(worker))
        replies = [self.call(worker, "ping") for _ in range(4)]
        self.assertTrue(all(reply.success for reply in replies))

    def test_the_deadline_of_the_rpc_cancels_likewise(self):
        worker = self.grpc(FIXTURE)
        stream = self.stream(worker, "ticks", timeout=0.2, interval=3600)
        next(stream)
        try:
            # The worker may see the deadline pass just before the client does.
            self.assertEqual("DEADLINE_EXCEEDED", next(stream).code)
        except grpc.RpcError as error:
            self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, error.code())
        self.wait_until(lambda: not self.active(worker))

    def test_a_stream_that_nobody_reads_is_closed_when_it_is_cancelled(self):
        worker = self.grpc(FIXTURE)
        log = self.path("log")
        stream = self.stream(worker, "blocks", count=1 << 20, size=1 << 20, log=log)
        next(stream)
        self.assertEqual(["r"], self.active(worker))
        stream.cancel()
        self.wait_until(lambda: not self.active(worker))
        with open(log, encoding="ascii") as file:
            self.assertTrue(file.read().endswith(".closed"))


class CapacityTest(GrpcTestCase):
    def test_as_many_handlers_as_the_capacity_run_and_no_more(self):
        for arguments, capacity in ((FIXTURE, 1), (FIXTURE_OF_FOUR, 4)):
            worker = self.grpc(arguments)
            request = pb.ExecuteRequest(command="nap", typed_args=b"\x80")
            calls = [worker.execute.future(request) for _ in range(20)]
            most = [msgpack.unpackb(call.result(LIMIT_S).typed_result) for call in calls]
            self.assertEqual(capacity, max(most))
            worker.kill()

    def test_health_and_info_are_answered_however_many_calls_there_are(self):
        worker = self.grpc(FIXTURE_OF_FOUR)
        calls = [self.stream(worker, "ticks", interval=3600) for _ in range(100)]
        for _ in range(20):
            self.assertTrue(worker.health(pb.HealthRequest(), timeout=LIMIT_S).healthy)
            worker.get_info(pb.InfoRequest(), timeout=LIMIT_S)
        for call in calls:
            call.cancel()
        self.wait_until(lambda: not self.active(worker))


class FlowControlTest(GrpcTestCase):
    def test_a_stream_that_nobody_reads_takes_no_memory(self):
        worker = self.grpc(FIXTURE)
        self.assertTrue(self.call(worker, "ping").success)
        log = self.path("log")
        before = rss_bytes(worker.process.pid)
        # The stream has 1 GiB, of which the client reads one chunk.
        stream = self.stream(worker, "blocks", count=16384, size=1 << 16, log=log)
        next(stream)
        self.wait_until(lambda: is_still(log))
        self.assertLess(os.path.getsize(log), 200)
        self.assertLess(rss_bytes(worker.process.pid) - before, 16 << 20)
        stream.cancel()


class SessionTest(GrpcTestCase):
    def count_up(self, worker):
        request = pb.SessionRequest(command="conf.incr", session_id="s", typed_args=b"\x80")
        return msgpack.unpackb(worker.execute_in_session(request, timeout=LIMIT_S).typed_result)

    def end(self, worker, **fields):
        request = pb.SessionRequest(end_session=True, request_id="e", **fields)
        return worker.execute_in_session(request, timeout=LIMIT_S)

    def test_a_session_that_has_ended_begins_anew(self):
        worker = self.grpc(FIXTURE)
        self.assertEqual([1, 2], [self.count_up(worker), self.count_up(worker)])
        reply = self.end(worker, session_id="s")
        self.assertEqual((True, "e"), (reply.success, reply.request_id))
        self.assertTrue(self.end(worker, session_id="unknown").success)
        self.assertEqual(1, self.count_up(worker))
        health = worker.health(pb.HealthRequest())
        self.assertEqual(3, health.total_requests)

    def test_a_session_is_ended_while_all_handlers_are_busy(self):
        worker = self.grpc(FIXTURE)
        self.assertEqual(1, self.count_up(worker))
        future = self.begin_waiting(worker, "busy")
        self.assertTrue(self.end(worker, session_id="s").success)
        future.cancel()
        self.assertEqual(1, self.count_up(worker))

    def test_an_end_of_a_session_with_a_command_is_refused(self):
        worker = self.grpc(FIXTURE)
        reply = self.end(worker, session_id="s", command="ping")
        self.assertEqual((False, "INVALID_ARGUMENT"), (reply.success, reply.code))
        self.assertTrue(reply.did_not_run)


class EndTest(GrpcTestCase):
    def test_a_worker_that_is_ending_refuses_calls(self):
        worker = self.grpc(FIXTURE_OF_FOUR)
        future = self.begin_waiting(worker, "busy")
        worker.process.terminate()
        # The worker may serve calls until it has handled the signal.
        reply = self.call(worker, "ping")
        while reply.success:
            reply = self.call(worker, "ping")
        self.assertEqual(("CANCELLED", True), (reply.code, reply.did_not_run))
        future.cancel()
        self.assertEqual(0, worker.wait()[0])


class TokenTest(GrpcTestCase):
    METHODS = (
        "Execute",
        "ExecuteStream",
        "ExecuteInSession",
        "ExecuteInSessionStream",
        "Health",
        "GetInfo",
        "Later",
    )

    def test_every_method_refuses_calls_without_the_token(self):
        worker = self.grpc(FIXTURE, SNAKEPIT_TOKEN=TOKEN)
        texts = set()
        for method in self.METHODS:
            for metadata in (
                (),
                (("snakepit-token", ""),),
                (("snakepit-token", TOKEN[:-1]),),
                (("snakepit-token", TOKEN + "x"),),
                (("snakepit-token", TOKEN), ("snakepit-token", TOKEN[::-1])),
                (("snakepit-token", TOKEN[::-1]), ("snakepit-token", TOKEN)),
                (("snakepit-token", TOKEN), ("snakepit-token", TOKEN)),
                (("other", TOKEN),),
            ):
                for make in (worker.channel.unary_unary, worker.channel.unary_stream):
                    call = make("/snakepit.SnakepitBridge/" + method)
                    with self.assertRaises(grpc.RpcError) as raised:
                        reply = call(b"", timeout=LIMIT_S, metadata=metadata)
                        next(reply)
                    code = raised.exception.code()
                    self.assertEqual(grpc.StatusCode.UNAUTHENTICATED, code, method)
                    texts.add(raised.exception.details())
        self.assertEqual(1, len(texts))
        self.assertNotIn(TOKEN, texts.pop())
        with_token = (("snakepit-token", TOKEN),)
        self.assertTrue(self.call(worker, "ping", metadata=with_token).success)
        health = worker.health(pb.HealthRequest(), metadata=with_token)
        self.assertEqual(1, health.total_requests)
        worker.process.terminate()
        status, errors = worker.wait()
        self.assertEqual((0, False), (status, TOKEN in errors))

    def test_no_handler_and_no_child_sees_the_token(self):
        worker = self.grpc(FIXTURE, SNAKEPIT_TOKEN=TOKEN)
        with_token = (("snakepit-token", TOKEN),)
        reply = self.call(worker, "environment", metadata=with_token)
        self.assertTrue(reply.success)
        self.assertNotIn(TOKEN.encode(), reply.typed_result)
        self.assertNotIn(b"SNAKEPIT_TOKEN", reply.typed_result)
        stdio = self.stdio(FIXTURE, SNAKEPIT_TOKEN=TOKEN)
        self.assertNotIn(TOKEN, str(stdio.call("environment")))

    def test_no_other_process_sees_the_token(self):
        for worker in (
            self.grpc(FIXTURE, SNAKEPIT_TOKEN=TOKEN, LATER="kept"),
            self.stdio(FIXTURE, SNAKEPIT_TOKEN=TOKEN, LATER="kept"),
        ):
            if hasattr(worker, "health"):
                worker.health(pb.HealthRequest(), metadata=(("snakepit-token", TOKEN),))
            else:
                worker.call("ping")
            with open(f"/proc/{worker.process.pid}/environ", "rb") as file:
                environment = file.read()
            self.assertNotIn(TOKEN.encode(), environment)
            self.assertIn(b"\0LATER=kept\0", environment)

    def test_the_name_of_the_program_does_not_matter(self):
        script = self.path("worker.py", SCRIPT_THAT_SHOWS_ITS_ENVIRONMENT)
        for name in ("a) b (c", "))) 1 2 3", "x\ny"):
            program = self.path(name)
            os.symlink(sys.executable, program)
            shown = subprocess.run(
                [program, script],
                env={**ENVIRONMENT, "SNAKEPIT_TOKEN": TOKEN, "LATER": "kept"},
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            self.assertNotIn(TOKEN.encode(), shown)
            self.assertIn(b"\0LATER=kept\0", shown)

    def test_without_proc_the_token_stays_and_nothing_fails(self):
        for process in ("/proc/no/such", self.folder):
            secret._wipe(b"PATH", process)
        # Contents of /proc/PID/stat that no kernel gives.
        for stat in ("", "1 (", "1 (a) S", "1 (a) " + "0 " * 60, "1 (a) " + "x " * 60):
            self.path("stat", stat)
            self.path("mem", "")
            secret._wipe(b"PATH", self.folder)

    def test_an_invalid_token_is_a_usage_error_that_does_not_show_it(self):
        for bad in ("short", "x" * 129, "-" * 40, "é" * 40):
            worker = self.grpc(FIXTURE, SNAKEPIT_TOKEN=bad)
            status, errors = worker.wait()
            self.assertEqual((2, False), (status, bad in errors))
            worker.channel.close()

    def test_without_a_token_all_calls_are_served(self):
        worker = self.grpc(FIXTURE, SNAKEPIT_TOKEN="")
        with_token = (("snakepit-token", TOKEN),)
        self.assertTrue(self.call(worker, "ping").success)
        self.assertTrue(self.call(worker, "ping", metadata=with_token).success)


def rss_bytes(pid):
    """The resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_still(path):
    """True if the file is not empty and does not grow for 0.3 s."""
    before = os.path.getsize(path) if os.path.exists(path) else 0
    time.sleep(0.3)
    return before > 0 and os.path.getsize(path) == before


if __name__ == "__main__":
    unittest.main()
