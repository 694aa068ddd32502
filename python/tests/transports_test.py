"""The same handlers behave the same over both transports."""

import os
import select
import unittest

import grpc

from grpc_client import decode, encode, pb
from harness import FIXTURE, FIXTURE_OF_FOUR, LIMIT_S, NEGOTIATION, WorkerTestCase

# Fields that differ from call to call.
_VOLATILE = {"timestamp", "uptime", "pid", "processed_at", "worker_id"}


def steady(value):
    """The value without the fields that differ from call to call."""
    if isinstance(value, dict):
        return {k: steady(v) for k, v in value.items() if k not in _VOLATILE}
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value


class SameResultsTest(WorkerTestCase):
    def test_unary_commands_have_the_same_results(self):
        stdio, over_grpc = self.stdio(negotiation=NEGOTIATION), self.grpc()
        for command, args in (
            ("ping", {"initialization": True}),
            ("echo", {"a": 1, "b": [None, True, 1.5], "c": {"d": "é"}, "context": 1}),
            ("compute", {"operation": "add", "a": 1 << 62, "b": 1 << 62}),
            ("compute", {"operation": "divide", "a": 1, "b": 4}),
            ("ping_stream", {"count": 3, "interval": 0}),
        ):
            one = stdio.call(command, **args)
            other = over_grpc.call(command, **args)
            self.assertTrue(one["success"] and other.success, (one, other))
            self.assertEqual(steady(one["result"]), steady(decode(other.result)))
        one = stdio.call("info")["result"]
        other = decode(over_grpc.call("info").result)
        self.assertEqual(one["status"], other["status"])
        self.assertEqual(
            one["bridge_info"]["supported_commands"], other["bridge_info"]["supported_commands"]
        )
        self.assertEqual(stdio.process.pid, one["system_info"]["pid"])

    def test_errors_are_the_same(self):
        stdio, over_grpc = self.stdio(negotiation=NEGOTIATION), self.grpc()
        for command, args, code, text in (
            ("nope", {}, "UNIMPLEMENTED", "Unknown command: nope"),
            ("compute", {"a": 1, "b": 2}, "INVALID_ARGUMENT", '"operation" is missing'),
            ("info", {"x": 1}, "INVALID_ARGUMENT", 'unknown argument "x"'),
            (
                "compute",
                {"operation": "root", "a": 1, "b": 2},
                "INVALID_ARGUMENT",
                "add, subtract, multiply, divide",
            ),
            (
                "compute",
                {"operation": "add", "a": "1x", "b": 2},
                "INVALID_ARGUMENT",
                '"a" must be a finite number, not "1x"',
            ),
            (
                "compute",
                {"operation": "divide", "a": 1, "b": 0},
                "HANDLER_FAILED",
                "ZeroDivisionError: division by zero",
            ),
            (
                "compute",
                {"operation": "multiply", "a": 1e300, "b": 1e300},
                "HANDLER_FAILED",
                "OverflowError: ",
            ),
            (
                "compute",
                {"operation": "multiply", "a": 1 << 63, "b": 2},
                "HANDLER_FAILED",
                "OverflowError: ",
            ),
        ):
            one = stdio.call(command, **args)
            other = over_grpc.call(command, **args)
            self.assertEqual((False, False), (one["success"], other.success), command)
            self.assertEqual(one["error"], other.error)
            self.assertEqual((1, "call"), (one["id"], other.request_id))
            self.assertEqual(code, one["code"])
            self.assertIn(text, one["error"])
        self.assertIn("ping_stream", stdio.call("nope")["error"])

    def test_streams_are_the_same(self):
        log = self.path("log", "ERROR one\ninfo two\nwarn three")
        data = self.path("data.csv", "name,n\nx,1\ny,2.5\nz,oops\n")
        stdio, over_grpc = self.stdio(negotiation=NEGOTIATION), self.grpc()
        for command, args, count in (
            ("ping_stream", {"count": 3, "interval": 0.001}, 3),
            ("batch_inference", {"batch_items": ["where is my parcel", 5]}, 2),
            ("process_large_dataset", {"total_rows": 250}, 3),
            ("process_large_dataset", {"path": data, "chunk_size": 2}, 2),
            ("tail_and_analyze", {"path": log}, 3),
            ("tail_and_analyze", {"path": log, "patterns": ["o"]}, 2),
            ("echo", {"unary": "as a stream"}, 1),
        ):
            one = stdio.stream(command, **args)
            other = list(over_grpc.stream(command, **args))
            self.assertEqual(count, len(one), command)
            self.assertEqual(
                [steady(message["chunk"]) for message in one],
                [steady(decode(message.chunk)) for message in other],
            )
            finals = [False] * (count - 1) + [True]
            self.assertEqual(finals, [message["final"] for message in one])
            self.assertEqual(finals, [message.is_final for message in other])
            self.assertEqual(list(range(count)), [m["index"] for m in one])
            self.assertEqual(list(range(count)), [m.chunk_index for m in other])
            self.assertEqual({1}, {m["id"] for m in one})
            self.assertEqual({"chunk"}, {m["type"] for m in one})
            self.assertEqual({"stream"}, {m.request_id for m in other})

    def test_a_stream_without_last_ends_with_an_empty_final_message(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        over_grpc = self.grpc(FIXTURE)
        for count in (0, 2):
            final = stdio.stream("conf.stream", count=count)[-1]
            self.assertEqual((count, True), (final["index"], final["final"]))
            self.assertNotIn("chunk", final)
            final = list(over_grpc.stream("conf.stream", count=count))[-1]
            self.assertEqual((count, True), (final.chunk_index, final.is_final))
            self.assertEqual(({}, ""), (dict(final.chunk), final.error))

    def test_an_error_after_k_chunks_has_index_k(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        over_grpc = self.grpc(FIXTURE)
        for k, command, args, text in (
            (0, "conf.stream", {"count": 0, "error": "midway"}, "ValueError: midway"),
            (2, "conf.stream", {"count": 2, "error": "midway"}, "ValueError: midway"),
            (2, "numbers", {"count": 9, "bad_at": 2}, "cannot be encoded"),
        ):
            messages = stdio.stream(command, **args)
            self.assertEqual(k + 1, len(messages))
            final = messages[-1]
            self.assertEqual((k, True), (final["index"], final["final"]))
            self.assertIs(False, final["success"])
            self.assertEqual("HANDLER_FAILED", final["code"])
            self.assertNotIn("chunk", final)
            replies = list(over_grpc.stream(command, **args))
            self.assertEqual(k + 1, len(replies))
            self.assertEqual((k, True), (replies[-1].chunk_index, replies[-1].is_final))
            self.assertIn(text, final["error"])
            self.assertIn(text, replies[-1].error)
        self.assertTrue(stdio.call("ping")["success"])

    def test_a_stream_called_as_unary_gives_its_chunks_up_to_a_limit(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        for last in (False, True):
            reply = stdio.call("numbers", count=3, last=last)
            self.assertEqual({"chunks": [0, 1, 2]}, reply["result"])
        self.assertTrue(stdio.call("numbers", count=10_000)["success"])
        self.assertIn("10000 chunks", stdio.call("numbers", count=10_001)["error"])

    def test_handler_failures_end_the_call_and_not_the_worker(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        over_grpc = self.grpc(FIXTURE)
        for command, args, code, text in (
            ("conf.raise", {"text": "it broke"}, "HANDLER_FAILED", "ValueError: it broke"),
            ("conf.raise", {"text": ""}, "HANDLER_FAILED", "ValueError"),
            ("conf.raise", {"text": "\x00"}, "HANDLER_FAILED", "ValueError: \x00"),
            ("exit", {}, "HANDLER_FAILED", "SystemExit: 0"),
            ("refuse", {"text": "it broke"}, "INVALID_ARGUMENT", "it broke"),
        ):
            one = stdio.call(command, **args)
            self.assertEqual((code, text), (one["code"], one["error"]))
            self.assertEqual(text, over_grpc.call(command, **args).error)
        self.assertTrue(stdio.call("ping")["success"])
        self.assertTrue(over_grpc.call("ping").success)

    def test_a_result_that_cannot_be_encoded_fails_its_call_only(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        legacy = self.stdio(FIXTURE)
        over_grpc = self.grpc(FIXTURE)
        kinds = ("nan", "big", "key", "surrogate", "cycle", "set")
        calls = [("bad_value", {"kind": kind}) for kind in kinds]
        for command, args in [("conf.bad_value", {}), *calls]:
            one = stdio.call(command, **args)
            is_nan = args.get("kind") == "nan"
            self.assertEqual(is_nan, one["success"])  # version 2 has a form for it
            if not is_nan:
                self.assertEqual("HANDLER_FAILED", one["code"])
                self.assertIn("cannot be encoded", one["error"])
            one = legacy.call(command, **args)
            other = over_grpc.call(command, **args)
            self.assertEqual((False, False), (one["success"], other.success), args)
            self.assertIn("cannot be encoded", one["error"])
            self.assertIn("cannot be encoded", other.error)
        self.assertTrue(stdio.call("ping")["success"])
        self.assertTrue(legacy.call("ping")["success"])
        self.assertTrue(over_grpc.call("ping").success)

    def test_a_result_over_the_message_limit_fails_its_call_only(self):
        env = {"SNAKEPIT_MAX_FRAME_BYTES": "8192"}
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION, **env)
        self.assertIn("limit of 8192", stdio.call("sized", size=9000)["error"])
        self.assertTrue(stdio.call("sized", size=7000)["success"])
        over_grpc = self.grpc(FIXTURE, **env)
        self.assertIn("limit of 8192", over_grpc.call("sized", size=9000).error)
        self.assertTrue(over_grpc.call("sized", size=7000).success)

    def test_the_context_describes_the_call(self):
        env = {"SNAKEPIT_WORKER_ID": "w3"}
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION, **env)
        request = {"id": 4, "command": "context", "args": {}}
        stdio.send(request, {**request, "session_id": "s", "timeout_ms": 9000})
        plain, full = stdio.receive()["result"], stdio.receive()["result"]
        self.assertEqual((None, None), (plain["session_id"], plain["time_left_ms"]))
        self.assertEqual("s", full["session_id"])
        self.assertLess(0, full["time_left_ms"])
        self.assertEqual((4, "w3"), (full["request_id"], full["worker_id"]))
        over_grpc = self.grpc(FIXTURE, **env)
        full = decode(
            over_grpc.execute_in_session(
                pb.SessionRequest(
                    command="context", session_id="s", request_id="r", timeout_ms=9000
                )
            ).result
        )
        self.assertEqual("s", full["session_id"])
        self.assertLess(0, full["time_left_ms"])
        self.assertEqual(("r", "w3"), (full["request_id"], full["worker_id"]))

    def test_sessions_are_kept_apart_and_from_call_to_call(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        over_grpc = self.grpc(FIXTURE)
        counts = {"stdio": [], "grpc": []}
        for session in ("a", "b", "a", "a"):
            reply = stdio.call("conf.incr", members={"session_id": session})
            counts["stdio"].append(reply["result"])
            request = pb.SessionRequest(command="conf.incr", session_id=session)
            reply = over_grpc.execute_in_session(request)
            counts["grpc"].append(decode(reply.result)["result"])
        self.assertEqual({"stdio": [1, 1, 2, 3], "grpc": [1, 1, 2, 3]}, counts)
        info = over_grpc.get_info(pb.InfoRequest(include_stats=True))
        self.assertEqual(2, info.stats.active_sessions)

    def test_a_deadline_ends_a_wait(self):
        stdio = self.stdio(FIXTURE, negotiation=NEGOTIATION)
        request = {"id": 1, "command": "conf.sleep", "args": {"ms": 3_600_000}}
        for timeout_ms in (20, -1):
            stdio.send({**request, "timeout_ms": timeout_ms})
            self.assertEqual("DEADLINE_EXCEEDED", stdio.receive()["code"])
        over_grpc = self.grpc(FIXTURE)
        reply = over_grpc.execute(
            pb.ExecuteRequest(command="conf.sleep", args=encode({"ms": 3_600_000}), timeout_ms=20)
        )
        self.assertIn("time limit", reply.error)


class HealthTest(WorkerTestCase):
    def stdio_worker(self):
        worker = self.stdio(FIXTURE_OF_FOUR, negotiation=NEGOTIATION)

        def is_healthy():
            worker.send({"type": "health", "id": 9})
            return worker.receive()["result"]["healthy"]

        def takes_calls():
            return worker.call("echo", 2)["success"]

        return worker, is_healthy, takes_calls, lambda: worker.cancel(1)

    def grpc_worker(self):
        worker = self.grpc(FIXTURE_OF_FOUR)
        calls = []

        def is_healthy():
            return worker.health(pb.HealthRequest(), timeout=LIMIT_S).healthy

        def begin(command, **args):
            request = pb.ExecuteRequest(command=command, args=encode(args))
            calls.append(worker.execute.future(request, timeout=LIMIT_S))

        def takes_calls():
            return worker.call("echo").success

        worker.begin = begin
        return worker, is_healthy, takes_calls, lambda: calls[0].cancel()

    def test_a_worker_says_whether_it_can_take_calls(self):
        for make in (self.stdio_worker, self.grpc_worker):
            worker, is_healthy, _, _ = make()
            self.assertIs(True, is_healthy())
            for healthy in (False, True, False):
                worker.call("set_healthy", healthy=healthy)
                self.assertIs(healthy, is_healthy(), make.__name__)

    def test_a_worker_that_drains_is_as_healthy_as_before(self):
        for make in (self.stdio_worker, self.grpc_worker):
            for healthy in (True, False):
                worker, is_healthy, takes_calls, cancel = make()
                worker.call("set_healthy", healthy=healthy)
                started = self.fifo("started")
                worker.begin("until_cancelled", started=started)
                self.await_start(started)
                worker.process.terminate()
                while takes_calls():
                    pass
                self.assertIs(healthy, is_healthy(), make.__name__)
                cancel()
                self.assertEqual(0, worker.process.wait(LIMIT_S))
                os.unlink(started)


class GrpcTest(WorkerTestCase):
    def test_counters_are_exact(self):
        worker = self.grpc(FIXTURE, SNAKEPIT_WORKER_ID="w1")
        for _ in range(5):
            self.assertTrue(worker.call("echo").success)
        for _ in range(3):
            self.assertFalse(worker.call("conf.raise").success)
        self.assertFalse(worker.call("nope").success)
        list(worker.stream("conf.stream", count=3))
        list(worker.stream("conf.stream", count=1, error="midway"))
        health = worker.health(pb.HealthRequest())
        self.assertEqual((11, 5), (health.total_requests, health.total_errors))
        self.assertEqual((True, "w1"), (health.healthy, health.worker_id))
        self.assertEqual("1.2.3", health.version)
        later = worker.health(pb.HealthRequest())
        self.assertGreaterEqual(later.uptime_ms, health.uptime_ms)
        self.assertEqual(11, later.total_requests)

    def test_get_info_describes_the_worker(self):
        worker = self.grpc(FIXTURE)
        info = worker.get_info(pb.InfoRequest())
        self.assertEqual("fixture", info.worker_type)
        self.assertEqual(str(worker.process.pid), info.system_info["pid"])
        self.assertEqual({}, dict(info.capabilities))
        self.assertFalse(info.HasField("stats"))
        for command in info.supported_commands:
            # No handler runs: it has no such argument, or only gives it back.
            self.assertNotIn("Unknown command", worker.call(command, no_argument=1).error)
        info = worker.get_info(pb.InfoRequest(include_capabilities=True, include_stats=True))
        self.assertEqual("true", info.capabilities["streaming"])
        self.assertGreater(info.stats.memory_usage_bytes, 1 << 20)
        self.assertEqual(len(info.supported_commands), info.stats.requests_handled)

    def test_values_are_read_as_the_legacy_wire_has_them(self):
        worker = self.grpc(FIXTURE)
        for data, kind in (
            (b"\xff\xfe", "bytes"),
            (b"abc", "str"),
            (b'"abc"', "str"),
            (b"12", "int"),
            (b"1.0", "float"),
            (b"null", "NoneType"),
            (b"NaN", "str"),
            (b"", "str"),
            (b"[1]", "list"),
        ):
            reply = worker.call("kinds", data=data)
            self.assertEqual(kind, reply.result["data"].decode(), data)
        for data, expected in ((b"\xff\xfe", b"\xff\xfe"), (b'"abc"', b"abc")):
            reply = worker.call("conf.echo", value=data)
            self.assertEqual(expected, reply.result["result"])

    def test_messages_up_to_64_mib_pass_both_ways(self):
        worker = self.grpc()
        text = "x" * (40 << 20)
        reply = worker.execute(pb.ExecuteRequest(command="echo", args={"text": text.encode()}))
        self.assertEqual(text, decode(reply.result)["echoed"]["text"])

    def test_health_and_others_are_answered_while_all_handlers_are_busy(self):
        worker = self.grpc(FIXTURE_OF_FOUR)
        streams = [worker.stream("ticks", interval=0.001) for _ in range(4)]
        for stream in streams:
            next(stream)
        waiting = [worker.stream("conf.stream", count=0) for _ in range(16)]
        for _ in range(3):
            self.assertTrue(worker.health(pb.HealthRequest(), timeout=LIMIT_S).healthy)
            worker.get_info(pb.InfoRequest(), timeout=LIMIT_S)
        for stream in streams:
            stream.cancel()
        for stream in waiting:
            self.assertTrue(next(stream).is_final)

    def test_cancelling_a_stream_ends_its_generator(self):
        worker = self.grpc(FIXTURE)
        args = {"waiting": self.fifo("waiting"), "closed": self.fifo("closed")}
        # The request has no deadline, since that would end the wait, too.
        stream = worker.execute_stream(pb.ExecuteRequest(command="wait_stream", args=encode(args)))
        next(stream)
        self.await_start(args["waiting"])
        closed = os.open(args["closed"], os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, closed)
        stream.cancel()
        self.assertTrue(select.select([closed], [], [], LIMIT_S)[0])
        self.assertEqual(b"closed", os.read(closed, 100))

    def test_an_empty_session_id_is_refused(self):
        reply = self.grpc().execute_in_session(pb.SessionRequest(command="ping"))
        self.assertFalse(reply.success)
        self.assertIn("session_id", reply.error)

    def test_the_socket_is_this_users_alone(self):
        self.grpc()
        self.assertEqual(0, os.stat(self.path("worker socket")).st_mode & 0o077)

    def test_an_unknown_method_is_unimplemented(self):
        worker = self.grpc()
        call = worker.channel.unary_unary("/snakepit.SnakepitBridge/Later")
        with self.assertRaises(grpc.RpcError) as raised:
            call(b"", timeout=LIMIT_S)
        self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, raised.exception.code())


if __name__ == "__main__":
    unittest.main()
