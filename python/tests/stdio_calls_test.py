"""Version 2 over stdio while handlers run: PROTOCOL.md 6.4 to 6.10."""

import os
import threading
import time
import unittest

import msgpack

from harness import (
    FIXTURE,
    FIXTURE_OF_FOUR,
    LIMIT_S,
    NEGOTIATION,
    CallsTestCase,
    WorkerTestCase,
    frame,
)
from snakepit_bridge.stdio_threads import MAX_WAITING_BYTES, MAX_WAITING_CALLS

MESSAGE_PACK = {**NEGOTIATION, "preferred": "msgpack"}


class CancelTest(CallsTestCase):
    def test_a_cancelled_handler_is_told(self):
        for how in ("raise", "return"):
            for socketpair in (False, True):
                worker = self.worker(socketpair=socketpair)
                self.begin_waiting(worker, how=how)
                worker.cancel()
                reply = worker.receive()
                self.assertEqual((1, "CANCELLED"), (reply["id"], reply["code"]))
                self.assertNotIn("did_not_run", reply)
                self.assertTrue(worker.call("ping", 2)["success"])
                os.unlink(self.path("started1"))

    def test_a_call_cancelled_before_its_turn_is_never_begun(self):
        worker = self.worker()
        self.begin_waiting(worker)
        marker = self.path("marker")
        for request_id in (2, 3, 4):
            worker.begin("blocks", request_id, count=1, size=1, log=marker)
        for request_id in (3, 2, 4):
            worker.cancel(request_id)
            reply = worker.receive()
            self.assertEqual((request_id, "CANCELLED"), (reply["id"], reply["code"]))
            self.assertTrue(reply["did_not_run"])
        worker.cancel(1)
        self.assertEqual(1, worker.receive()["id"])
        self.assertEqual(5, worker.call("ping", 5)["id"])
        self.assertFalse(os.path.exists(marker))

    def test_a_stream_ends_with_one_message_and_its_generator_is_closed(self):
        worker = self.worker()
        log = self.path("log")
        worker.begin("blocks", count=1 << 30, size=1, log=log, members={"stream": True})
        for index in range(10):
            self.assertEqual(index, worker.receive()["index"])
        worker.cancel()
        messages = [worker.receive()]
        while not messages[-1]["final"]:
            messages.append(worker.receive())
        final = messages[-1]
        self.assertEqual("CANCELLED", final["code"])
        self.assertEqual(messages[0]["index"] + len(messages) - 1, final["index"])
        self.assertNotIn("chunk", final)
        self.assertTrue(worker.call("ping", 2)["success"])
        with open(log, encoding="ascii") as file:
            self.assertTrue(file.read().endswith(".closed"))

    def test_a_stream_that_waits_between_chunks_is_woken(self):
        worker = self.worker()
        worker.begin("ticks", interval=3600, members={"stream": True})
        self.assertEqual(0, worker.receive()["index"])
        worker.cancel()
        final = worker.receive()
        self.assertEqual((1, True), (final["index"], final["final"]))
        self.assertEqual("CANCELLED", final["code"])

    def test_a_message_about_no_call_in_flight_is_ignored(self):
        worker = self.worker()
        self.assertTrue(worker.call("ping", 1)["success"])
        for request_id in (1, 99):
            worker.cancel(request_id)
            worker.send({"type": "credit", "id": request_id, "bytes": 5})
        worker.send({"type": "later", "id": 2}, {"type": 5, "id": 2}, {"type": None, "id": 2})
        self.assertEqual(3, worker.call("ping", 3)["id"])

    def test_a_cancel_that_races_the_end_leaves_one_last_message(self):
        worker = self.worker()
        for request_id in range(1, 1000):
            worker.send(
                {"id": request_id, "command": "nap", "args": {"seconds": 0}},
                {"type": "cancel", "id": request_id},
            )
            reply = worker.receive()
            self.assertEqual(request_id, reply["id"])
        self.assertEqual(1000, worker.call("ping", 1000)["id"])


class FlowControlTest(CallsTestCase):
    def test_each_chunk_reduces_the_credit_by_its_payload(self):
        worker = self.worker()
        log = self.path("log")
        options = {"stream": True, "credit": 1}
        worker.begin("blocks", count=50, size=100, log=log, members=options)
        payload = worker.receive_bytes()
        self.assertTrue(worker.is_silent(0.05))
        # One more chunk waits for credit, and no further one is taken from the handler.
        self.assertEqual(2, os.path.getsize(log))
        left = 1 - len(payload)
        worker.send({"type": "credit", "id": 1, "bytes": -left})  # the credit is exactly 0 now
        self.assertTrue(worker.is_silent(0.05))
        worker.send({"type": "credit", "id": 1, "bytes": 1})
        second = worker.receive_bytes()
        self.assertTrue(worker.is_silent(0.05))
        self.assertEqual(3, os.path.getsize(log))
        # This is credit for two chunks and one byte, so three chunks arrive.
        worker.send({"type": "credit", "id": 1, "bytes": 3 * len(second)})
        for _ in range(3):
            worker.receive_bytes()
        self.assertTrue(worker.is_silent(0.05))
        worker.send({"type": "credit", "id": 1, "bytes": (1 << 31) - 1})
        for index in range(5, 50):
            self.assertEqual(index, worker.receive()["index"])
        final = worker.receive()
        self.assertEqual((50, True), (final["index"], final["final"]))

    def test_credit_of_exactly_one_chunk_is_for_one(self):
        worker = self.worker()
        worker.begin("blocks", count=3, size=9, members={"stream": True})
        sizes = [len(worker.receive_bytes()) for _ in range(4)]
        options = {"stream": True, "credit": sizes[0]}
        worker.begin("blocks", 2, count=3, size=9, members=options)
        self.assertEqual(0, worker.receive()["index"])
        self.assertTrue(worker.is_silent(0.05))
        worker.send({"type": "credit", "id": 2, "bytes": sizes[1]})
        self.assertEqual(1, worker.receive()["index"])
        self.assertTrue(worker.is_silent(0.05))
        worker.cancel(2)
        self.assertEqual("CANCELLED", worker.receive()["code"])

    def test_a_last_message_without_a_chunk_needs_no_credit(self):
        worker = self.worker()
        for last in (False, True):
            options = {"stream": True, "credit": 1}
            worker.begin("numbers", count=1 + last, last=last, members=options)
            self.assertEqual(0, worker.receive()["index"])
            if last:  # a last message with a chunk needs credit
                self.assertTrue(worker.is_silent(0.05))
                worker.send({"type": "credit", "id": 1, "bytes": 1 << 20})
            self.assertTrue(worker.receive()["final"])

    def test_a_wait_for_credit_ends_by_cancellation_and_by_deadline(self):
        for arguments in (FIXTURE, FIXTURE_OF_FOUR):
            worker = self.worker(arguments)
            log = self.path("log")
            options = {"stream": True, "credit": 1}
            worker.begin("blocks", count=9, size=1, log=log, members=options)
            self.assertEqual(0, worker.receive()["index"])
            self.assertTrue(worker.is_silent(0.02))
            worker.cancel()
            final = worker.receive()
            self.assertEqual((1, True), (final["index"], final["final"]))
            self.assertEqual("CANCELLED", final["code"])
            with open(log, encoding="ascii") as file:
                self.assertEqual("..closed", file.read())
            os.unlink(log)
            options["timeout_ms"] = 30
            worker.begin("blocks", 2, count=9, size=1, log=log, members=options)
            self.assertEqual(0, worker.receive()["index"])
            self.assertEqual("DEADLINE_EXCEEDED", worker.receive()["code"])
            with open(log, encoding="ascii") as file:
                self.assertEqual("..closed", file.read())
            os.unlink(log)

    def test_the_end_of_the_input_ends_a_wait_for_credit(self):
        worker = self.worker(socketpair=True)
        worker.begin("blocks", count=9, size=1, members={"stream": True, "credit": 1})
        self.assertEqual(0, worker.receive()["index"])
        worker.close_input()
        self.assertEqual("CANCELLED", worker.receive()["code"])
        self.assertIsNone(worker.receive())
        self.assertEqual(0, worker.wait()[0])

    def test_invalid_credit_is_refused(self):
        worker = self.worker()
        for bad in (0, -1, 1 << 31, "5", 1.5, True):
            worker.begin("conf.stream", count=1, members={"stream": True, "credit": bad})
            reply = worker.receive()
            self.assertEqual("INVALID_ARGUMENT", reply["code"], bad)
            self.assertTrue(reply["did_not_run"])

    def test_a_stream_that_stalls_holds_up_no_other(self):
        worker = self.worker(FIXTURE_OF_FOUR)
        stalled = {"stream": True, "credit": 1}
        for request_id in (1, 2, 3):
            worker.begin("blocks", request_id, count=9, size=1, members=stalled)
            self.assertEqual(0, worker.receive()["index"])
        worker.begin("conf.stream", 4, count=1000, members={"stream": True})
        for index in range(1000):
            message = worker.receive()
            self.assertEqual((4, index), (message["id"], message["index"]))
        self.assertTrue(worker.receive()["final"])
        for request_id in (1, 2, 3):
            worker.cancel(request_id)
        self.assertEqual({1, 2, 3}, {worker.receive()["id"] for _ in range(3)})


class MultiplexingTest(CallsTestCase):
    def test_as_many_handlers_as_the_capacity_run_at_once(self):
        worker = self.worker(FIXTURE_OF_FOUR)
        for times in range(1, 11):
            for request_id in range(1, 5):
                worker.begin("meet", request_id, count=4 * times, i=request_id)
            replies = [worker.receive() for _ in range(4)]
            self.assertEqual({1, 2, 3, 4}, {reply["id"] for reply in replies})
            for reply in replies:
                self.assertEqual(reply["id"], reply["result"])

    def test_no_more_than_the_capacity_run_at_once(self):
        for arguments, capacity in ((FIXTURE, 1), (FIXTURE_OF_FOUR, 4)):
            worker = self.worker(arguments)
            worker.send(*({"id": i, "command": "nap"} for i in range(1, 41)))
            most = [worker.receive()["result"] for _ in range(40)]
            self.assertEqual(capacity, max(most))

    def test_with_a_capacity_of_1_all_run_on_the_main_thread_in_order(self):
        worker = self.worker()
        self.begin_waiting(worker)
        for request_id in range(2, 10):
            worker.begin("is_main_thread", request_id)
        worker.cancel(1)
        self.assertEqual(1, worker.receive()["id"])
        for request_id in range(2, 10):
            reply = worker.receive()
            self.assertEqual((request_id, True), (reply["id"], reply["result"]))

    def test_an_id_in_flight_is_refused_and_the_call_goes_on(self):
        worker = self.worker(FIXTURE_OF_FOUR)
        self.begin_waiting(worker)
        for kind in ({"command": "ping"}, {"type": "health"}, {"type": "info"}):
            worker.send({"id": 1, **kind})
            reply = worker.receive()
            self.assertEqual((None, False), (reply["id"], reply["success"]))
            self.assertEqual("INVALID_ARGUMENT", reply["code"])
        worker.cancel()
        reply = worker.receive()
        self.assertEqual((1, "CANCELLED"), (reply["id"], reply["code"]))

    def test_short_calls_after_long_ones_are_answered(self):
        # The main thread and the standby take turns at reading.
        worker = self.worker(FIXTURE_OF_FOUR)
        for round_number in range(30):
            for request_id in range(1, 9):
                worker.begin("nap", request_id, seconds=0.004 * (request_id % 3))
            ids = {worker.receive()["id"] for _ in range(8)}
            self.assertEqual(set(range(1, 9)), ids)
            for request_id in range(9, 20):
                self.assertEqual(request_id, worker.call("ping", request_id)["id"])

    def test_calls_over_the_queues_limit_are_refused(self):
        for size, kept, limit in (
            (1, MAX_WAITING_CALLS, 1 << 20),
            (100_000, 11, 1 << 20),
            (MAX_WAITING_BYTES // 4, 4, 64 << 20),
        ):
            worker = self.worker(SNAKEPIT_MAX_FRAME_BYTES=str(limit))
            end = self.hold(worker)
            args = {"text": "x" * size}
            ids = range(2, kept + 52)
            requests = [{"id": i, "command": "kinds", "args": args} for i in ids]
            sender = threading.Thread(target=worker.send, args=requests, daemon=True)
            sender.start()
            for request_id in ids[kept:]:
                reply = worker.receive()
                self.assertEqual((request_id, False), (reply["id"], reply["success"]))
                self.assertEqual("INVALID_ARGUMENT", reply["code"])
                self.assertIn("too many calls", reply["error"])
                self.assertTrue(reply["did_not_run"])
            sender.join(LIMIT_S)
            worker.send({"type": "health", "id": 10_000})
            self.assertEqual(kept + 1, worker.receive()["result"]["calls_in_flight"])
            end()
            self.assertEqual([1, *ids[:kept]], [worker.receive()["id"] for _ in range(kept + 1)])


class HealthTest(CallsTestCase):
    def test_health_is_answered_while_all_handlers_are_busy(self):
        for arguments, capacity in ((FIXTURE, 1), (FIXTURE_OF_FOUR, 4)):
            worker = self.worker(arguments, SNAKEPIT_WORKER_ID="w7")
            worker.call("ping", 100)
            worker.call("conf.raise", 101)
            for busy in (0, capacity):
                for request_id in range(1, busy + 1):
                    self.begin_waiting(worker, request_id)
                for _ in range(3):
                    worker.send({"type": "health", "id": 50})
                    reply = worker.receive()
                    self.assertEqual((50, True), (reply["id"], reply["success"]))
                    health = reply["result"]
                    self.assertGreaterEqual(health.pop("uptime_ms"), 0)
                    self.assertEqual(
                        {
                            "healthy": True,
                            "worker_id": "w7",
                            "total_requests": 2,
                            "total_errors": 1,
                            "version": "1.2.3",
                            "calls_in_flight": busy,
                        },
                        health,
                    )
            for request_id in range(1, capacity + 1):
                worker.cancel(request_id)
                worker.receive()
                os.unlink(self.path(f"started{request_id}"))

    def test_health_is_answered_while_a_handler_computes(self):
        worker = self.worker()
        started = self.fifo("started")
        worker.begin("burn", started=started, seconds=1)
        self.await_start(started)
        began = time.monotonic()
        worker.send({"type": "health", "id": 2})
        self.assertEqual(2, worker.receive()["id"])
        self.assertLess(time.monotonic() - began, 0.9)
        self.assertEqual(1, worker.receive()["id"])

    def test_info_has_the_fields_of_the_other_transport(self):
        worker = self.worker()
        worker.send({"type": "info", "id": 2})
        info = worker.receive()["result"]
        self.assertEqual(("fixture", "1.2.3"), (info["worker_type"], info["version"]))
        self.assertIn("echo", info["supported_commands"])
        for name in ("capabilities", "stats", "system_info"):
            self.assertIs(dict, type(info[name]))
        self.assertEqual(0, info["stats"]["requests_handled"])
        self.assertEqual(str(worker.process.pid), info["system_info"]["pid"])

    def test_a_health_check_without_an_id_is_refused(self):
        worker = self.worker()
        for message in ({}, {"id": 0}, {"id": "1"}, {"id": None}, {"id": 1 << 53}):
            worker.send({"type": "health", **message})
            reply = worker.receive()
            answered = message.get("id") if type(message.get("id")) is int else None
            self.assertEqual((answered, "INVALID_ARGUMENT"), (reply["id"], reply["code"]))


class SessionTest(CallsTestCase):
    def count_up(self, worker, request_id, session_id):
        members = {"session_id": session_id}
        return worker.call("conf.incr", request_id, members=members)["result"]

    def test_a_session_that_has_ended_begins_anew(self):
        worker = self.worker()
        self.assertEqual([1, 2], [self.count_up(worker, i, "s") for i in (1, 2)])
        for session_id in ("s", "unknown"):
            worker.send({"type": "end_session", "session_id": session_id})
        self.assertEqual(1, self.count_up(worker, 3, "s"))

    def test_calls_in_flight_keep_the_state_of_an_ended_session(self):
        worker = self.worker(FIXTURE_OF_FOUR)
        self.assertEqual(1, self.count_up(worker, 1, "s"))
        members = {"session_id": "s"}
        _, end = self.held(
            lambda **pipes: worker.begin("session_then", 2, members=members, **pipes)
        )
        worker.send({"type": "end_session", "session_id": "s"})
        self.assertEqual(1, self.count_up(worker, 3, "s"))
        end()
        reply = worker.receive()
        self.assertEqual((2, 1), (reply["id"], reply["result"]))
        self.assertEqual(2, self.count_up(worker, 4, "s"))

    def test_an_invalid_session_id_is_refused(self):
        worker = self.worker()
        for bad in ("", "x" * 257, "é" * 129, 5, ["s"], "\ud800"):
            worker.begin("ping", members={"session_id": bad})
            reply = worker.receive()
            self.assertEqual("INVALID_ARGUMENT", reply["code"], bad)
            self.assertTrue(reply["did_not_run"])
        worker.begin("ping", members={"session_id": "é" * 128})
        self.assertTrue(worker.receive()["success"])


class FailureTest(CallsTestCase):
    def test_did_not_run_is_said_where_the_handler_was_not_called(self):
        worker = self.worker()
        for stream in (False, True):
            for command, args, members, code, did_not_run in (
                ("nope", {}, {}, "UNIMPLEMENTED", True),
                ("required", {}, {}, "INVALID_ARGUMENT", True),
                ("ping", {}, {"timeout_ms": -1}, "DEADLINE_EXCEEDED", True),
                ("ping", {}, {"timeout_ms": "1"}, "INVALID_ARGUMENT", True),
                ("ping", {}, {"timeout_ms": None}, "INVALID_ARGUMENT", True),
                ("ping", {}, {"timeout_ms": 1 << 63}, "INVALID_ARGUMENT", True),
                ("ping", {}, {"session_id": None}, "INVALID_ARGUMENT", True),
                ("conf.raise", {}, {}, "HANDLER_FAILED", False),
                ("refuse", {}, {}, "INVALID_ARGUMENT", False),
                ("conf.bad_value", {}, {}, "HANDLER_FAILED", False),
            ):
                members = {**members, "stream": stream}
                worker.begin(command, members=members, **args)
                reply = worker.receive()
                self.assertEqual((code, False), (reply["code"], reply["success"]))
                self.assertIs(did_not_run, reply.get("did_not_run", False), command)

    def test_replies_have_no_members_of_version_1(self):
        worker = self.worker()
        self.assertEqual({"id", "success", "result"}, set(worker.call("echo")))
        self.assertEqual({"id", "success", "error", "code"}, set(worker.call("conf.raise")))

    def test_replies_keep_to_the_pools_limit(self):
        worker = self.stdio(FIXTURE)
        worker.send({**NEGOTIATION, "max_frame_bytes": 2048})
        worker.receive()
        self.assertTrue(worker.call("sized", size=2000)["success"])
        reply = worker.call("sized", size=2048)
        self.assertEqual("MESSAGE_TOO_LARGE", reply["code"])
        self.assertIn("limit of 2048", reply["error"])
        worker.begin("blocks", count=2, size=3000, members={"stream": True})
        self.assertEqual("MESSAGE_TOO_LARGE", worker.receive()["code"])
        # An error's text is cut to fit, however long its encoding is.
        for text in ("x", "é", "\x01", "𝄞"):
            worker.begin("conf.raise", text=text * 1900)
            self.assertLessEqual(len(worker.receive_bytes()), 2048)

    def test_a_deadline_may_pass_while_the_handler_runs(self):
        worker = self.worker()
        worker.begin("nap", seconds=0.05, members={"timeout_ms": 20})
        self.assertEqual("DEADLINE_EXCEEDED", worker.receive()["code"])
        worker.begin("ticks", interval=0.001, members={"timeout_ms": 30, "stream": True})
        messages = [worker.receive()]
        while not messages[-1]["final"]:
            messages.append(worker.receive())
        self.assertEqual("DEADLINE_EXCEEDED", messages[-1]["code"])


class BothWaysTest(CallsTestCase):
    def test_reading_goes_on_while_a_writer_blocks(self):
        # The pool writes and does not read: a worker that stopped reading would deadlock.
        for arguments in (FIXTURE, FIXTURE_OF_FOUR):
            for socketpair in (False, True):
                worker = self.worker(arguments, socketpair=socketpair)
                worker.begin("blocks", count=64, size=1 << 20, members={"stream": True})
                worker.send({"type": "health", "id": 3})
                text = "x" * (8 << 20)
                sender = threading.Thread(
                    target=worker.begin, args=("kinds", 2), kwargs={"text": text}, daemon=True
                )
                sender.start()
                sender.join(LIMIT_S)
                self.assertFalse(sender.is_alive())
                worker.cancel(1)
                seen = {}
                while len(seen) < 3:
                    message = worker.receive()
                    if message.get("final", True):
                        seen[message["id"]] = message
                self.assertEqual("CANCELLED", seen[1]["code"])
                self.assertEqual({"text": "str"}, seen[2]["result"])

    def test_unread_replies_do_not_stop_the_reading(self):
        for socketpair in (False, True):
            worker = self.worker(socketpair=socketpair)
            count = 400
            requests = [
                {"id": i, "command": "echo", "args": {"text": "x" * 4000}}
                for i in range(1, count + 1)
            ]
            sender = threading.Thread(target=worker.send, args=requests, daemon=True)
            sender.start()
            sender.join(LIMIT_S)
            self.assertFalse(sender.is_alive())
            self.assertEqual(
                list(range(1, count + 1)), [worker.receive()["id"] for _ in range(count)]
            )


class MessagePackTest(WorkerTestCase):
    def test_cancel_credit_and_health(self):
        worker = self.stdio(FIXTURE)
        worker.send(MESSAGE_PACK)
        self.assertEqual("msgpack", worker.receive()["protocol"])

        def send(message):
            worker.send_bytes(frame(msgpack.packb(message)))

        def receive():
            return msgpack.unpackb(worker.receive_bytes())

        args = {"count": 9, "size": 10}
        send({"id": 1, "command": "blocks", "args": args, "stream": True, "credit": 1})
        self.assertEqual(
            {"id": 1, "type": "chunk", "index": 0, "final": False, "chunk": b"x" * 10}, receive()
        )
        send({"type": "health", "id": 2})
        self.assertEqual(1, receive()["result"]["calls_in_flight"])
        send({"type": "credit", "id": 1, "bytes": 100})
        self.assertEqual(1, receive()["index"])
        send({"type": "cancel", "id": 1})
        final = receive()
        while not final["final"]:
            final = receive()
        self.assertEqual("CANCELLED", final["code"])


if __name__ == "__main__":
    unittest.main()
