"""The SDK's public names, used like an author of a worker uses them."""

import contextlib
import functools
import io
import json
import threading
import time
import unittest

from harness import LIMIT_S, NEGOTIATION, WorkerTestCase
from snakepit_bridge import Cancelled, Context, DeadlineExceeded, Last, Worker
from snakepit_bridge.calls import CallError
from snakepit_bridge.sessions import MAX_SESSIONS, SESSION_TTL_S, Sessions
from snakepit_bridge.values import MAX_DEPTH, DecodeError, EncodeError, JsonCodec, MessagePackCodec

TEN_LINES = """from snakepit_bridge import Worker

worker = Worker("greeter")

@worker.command("greet")
def greet(name="world"):
    return {"greeting": f"Hello, {name}!"}

if __name__ == "__main__":
    worker.main()
"""


class TenLineWorkerTest(WorkerTestCase):
    def test_it_serves_both_transports(self):
        arguments = [self.path("greeter.py", TEN_LINES)]
        stdio = self.stdio(arguments, negotiation=NEGOTIATION)
        self.assertEqual("ok", stdio.call("ping")["result"]["status"])
        reply = stdio.call("greet", name="Ada")
        self.assertEqual({"greeting": "Hello, Ada!"}, reply["result"])
        reply = self.grpc(arguments).call("greet", name="Ada")
        self.assertEqual({"greeting": b"Hello, Ada!"}, dict(reply.result))


class HandlerTest(unittest.TestCase):
    def setUp(self):
        self.registry = Worker("test").registry

    def call(self, handler, context=None, **args):
        self.registry.add("x", handler)
        return self.registry.call("x", args, context or Context("w", 7))

    def refusal(self, handler, **args):
        with self.assertRaises(CallError) as raised:
            self.call(handler, **args)
        self.assertEqual("INVALID_ARGUMENT", raised.exception.code)
        return raised.exception.text

    def test_arguments_come_by_name(self):
        def handler(a, b=2, *, c, d=4):
            return [a, b, c, d]

        self.assertEqual([1, 2, 3, 4], self.call(handler, a=1, c=3))
        self.assertEqual('"a" is missing', self.refusal(handler, c=1))
        self.assertEqual('"c" is missing', self.refusal(handler, a=1))
        self.assertEqual(
            'x: unknown argument "e"; takes: a, b, c, d', self.refusal(handler, a=1, c=3, e=5)
        )

    def test_a_first_parameter_named_context_gets_the_context(self):
        def with_context(context, a):
            return [context.request_id, a]

        def positional_only(context, /, **args):
            return [context.request_id, args]

        def elsewhere(a, context):
            return [a, context]

        self.assertEqual([7, 1], self.call(with_context, a=1))
        with self.assertRaisesRegex(CallError, 'unknown argument "context"'):
            self.registry.call("x", {"a": 1, "context": 2}, Context("w", 7))
        self.registry.add("x", positional_only)
        result = self.registry.call("x", {"context": 1}, Context("w", 7))
        self.assertEqual([7, {"context": 1}], result)
        self.registry.add("x", elsewhere)
        result = self.registry.call("x", {"a": 1, "context": 2}, Context("w", 7))
        self.assertEqual([1, 2], result)

    def test_methods_partials_and_wrapped_functions_are_handlers(self):
        class Holder:
            def method(self, a, b=2):
                return [a, b]

            def __call__(self, a):
                return [a]

        def function(a, b):
            return [a, b]

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            return function(*args, **kwargs)

        self.assertEqual([1, 2], self.call(Holder().method, a=1))
        self.assertEqual('"a" is missing', self.refusal(Holder().method))
        self.assertEqual([1], self.call(Holder(), a=1))
        self.assertEqual([1, 5], self.call(functools.partial(function, b=5), a=1))
        self.assertEqual([1, 2], self.call(wrapped, a=1, b=2))
        self.assertEqual('"b" is missing', self.refusal(wrapped, a=1))

    def test_an_invalid_handler_is_refused_when_it_is_added(self):
        async def coroutine():
            pass

        def positional(a, /):
            return a

        for handler in (coroutine, positional):
            with self.assertRaises(TypeError):
                self.registry.add("x", handler)
        with self.assertRaises(ValueError):
            self.registry.add("", print)

    def test_a_generator_is_closed_when_its_stream_is(self):
        closed = []

        def handler():
            try:
                yield 1
                yield Last(2)
                yield 3
            finally:
                closed.append(True)

        # References are kept here, since garbage collection would close the generators, too.
        kept = [handler(), handler(), handler()]
        generators = iter(kept)
        self.registry.add("x", lambda: next(generators))
        stream = self.registry.stream("x", {}, Context("w", 1))
        self.assertEqual((1, False), next(stream))
        stream.close()
        self.assertEqual([True], closed)
        stream = self.registry.stream("x", {}, Context("w", 1))
        self.assertEqual((1, False), next(stream))
        self.assertEqual(
            (2, True), next(stream)
        )  # the generator is closed before its chunk is passed on
        self.assertEqual([True] * 2, closed)
        self.registry.call("x", {}, Context("w", 1))
        self.assertEqual([True] * 3, closed)

    def test_a_deadline_that_has_passed_ends_a_stream_between_chunks(self):
        context = Context("w", 1, timeout_ms=60_000)

        def handler():
            yield 1
            context._deadline_ns = 0
            yield 2  # past the deadline

        self.registry.add("x", handler)
        stream = self.registry.stream("x", {}, context)
        self.assertEqual((1, False), next(stream))
        with self.assertRaises(CallError) as raised:
            next(stream)
        self.assertEqual("DEADLINE_EXCEEDED", raised.exception.code)

    def test_the_context_has_the_time_left(self):
        self.assertIsNone(Context("w", 1).time_left_ms)
        self.assertTrue(0 < Context("w", 1, timeout_ms=9000).time_left_ms <= 9000)
        self.assertEqual(0, Context("w", 1, timeout_ms=-5).time_left_ms)

    def test_the_context_has_the_command(self):
        def handler(context):
            yield context.command

        for name in ("a", "b"):
            self.registry.add(name, handler)
            for context in (Context("w", 1), Context("w", 1, timeout_ms=9000)):
                self.assertEqual({"chunks": [name]}, self.registry.call(name, {}, context))

    def test_a_result_past_the_deadline_is_dropped(self):
        context = Context("w", 1, timeout_ms=60_000)

        def handler():
            context._deadline_ns = 0
            return 1

        with self.assertRaises(CallError) as raised:
            self.call(handler, context)
        self.assertEqual("DEADLINE_EXCEEDED", raised.exception.code)
        self.assertFalse(raised.exception.did_not_run)

    def test_a_handler_that_was_not_called_did_not_run(self):
        called = []

        def handler(a):
            called.append(a)
            raise ValueError("no row 2")

        cancelled = Context("w", 1)
        cancelled.cancel()
        late = Context("w", 1, timeout_ms=-1)
        self.registry.add("x", handler)
        for name, args, context, code in (
            ("nope", {}, Context("w", 1), "UNIMPLEMENTED"),
            ("x", {}, Context("w", 1), "INVALID_ARGUMENT"),
            ("x", {"a": 1}, cancelled, "CANCELLED"),
            ("x", {"a": 1}, late, "DEADLINE_EXCEEDED"),
        ):
            for run in (self.registry.call, self.first_of_stream):
                with self.assertRaises(CallError) as raised:
                    run(name, args, context)
                self.assertEqual(code, raised.exception.code)
                self.assertTrue(raised.exception.did_not_run, code)
        self.assertEqual([], called)
        with self.assertRaises(CallError) as raised:
            self.registry.call("x", {"a": 1}, Context("w", 1))
        self.assertEqual("ValueError: no row 2", raised.exception.text)
        self.assertFalse(raised.exception.did_not_run)

    def first_of_stream(self, *args):
        return next(self.registry.stream(*args))

    def test_a_cancelled_stream_ends_and_closes_its_generator(self):
        for gives_more in (True, False):
            context, closed = Context("w", 1), []

            def handler():
                try:
                    yield 1
                    context.cancel()
                    if gives_more:
                        yield 2
                finally:
                    closed.append(True)

            kept = handler()
            self.registry.add("x", lambda: kept)
            stream = self.registry.stream("x", {}, context)
            self.assertEqual((1, False), next(stream))
            with self.assertRaises(CallError) as raised:
                next(stream)
            self.assertEqual("CANCELLED", raised.exception.code)
            self.assertEqual([True], closed)

    def test_a_handler_may_end_itself_as_cancelled(self):
        def handler(context):
            context.cancel()
            context.check()

        def returns(context):
            context.cancel()
            waited.append(context.wait(3600))
            return "dropped"

        def raises():
            raise Cancelled()

        waited = []
        for cancelled in (handler, returns, raises):
            with self.assertRaises(CallError) as raised:
                self.call(cancelled)
            self.assertEqual("CANCELLED", raised.exception.code)
        self.assertEqual([False], waited)


class CancelTest(unittest.TestCase):
    def test_callbacks_are_called_once_each(self):
        context, called = Context("w", 1), []
        context.on_cancel(lambda: called.append(1))
        context.on_cancel(lambda: called.append(2))
        self.assertFalse(context.cancelled)
        context.check()
        context.cancel()
        context.cancel()
        self.assertEqual([1, 2], called)
        context.on_cancel(lambda: called.append(3))
        self.assertEqual([1, 2, 3], called)
        self.assertTrue(context.cancelled)
        with self.assertRaises(Cancelled):
            context.check()

    def test_an_exception_of_a_callback_stops_no_other(self):
        context, called = Context("w", 1), []
        context.on_cancel(lambda: 1 / 0)
        context.on_cancel(lambda: called.append(2))
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            context.cancel()
        self.assertEqual([2], called)
        self.assertIn("ZeroDivisionError", errors.getvalue())

    def test_a_call_that_has_ended_is_not_cancelled(self):
        context, called = Context("w", 1), []
        context.on_cancel(lambda: called.append(1))
        context.end()
        context.cancel()
        self.assertEqual(([], False), (called, context.cancelled))

    def test_a_wait_is_woken(self):
        context = Context("w", 1)
        self.assertIs(True, context.wait(0))
        threading.Thread(target=context.cancel).start()
        self.assertIs(False, context.wait(LIMIT_S))
        self.assertIs(False, context.wait(0))

    def test_a_wait_is_true_only_if_it_took_its_whole_time(self):
        for timeout_ms, seconds, expected in (
            (0, 0.01, True),
            (60_000, 0.01, True),
            (20, 3600, False),
            (-5, 0, False),
            (-5, 3600, False),
        ):
            context = Context("w", 1, timeout_ms=timeout_ms)
            began = time.monotonic()
            self.assertIs(expected, context.wait(seconds), (timeout_ms, seconds))
            took = time.monotonic() - began
            self.assertGreaterEqual(took, seconds if expected else max(0, timeout_ms / 1000))
            self.assertLess(took, LIMIT_S)
            self.assertFalse(context.cancelled)

    def test_a_wait_that_the_deadline_ends_leaves_no_time(self):
        context = Context("w", 1, timeout_ms=5)
        context.wait(3600)
        self.assertEqual(0, context.time_left_ms)
        with self.assertRaises(DeadlineExceeded):
            context.check()

    def test_the_capacity_has_a_range(self):
        for bad in (0, -1, 65_537, 1.0, True, None):
            with self.assertRaises(ValueError) as raised:
                Worker("test", capacity=bad)
            text = f"capacity must be an integer from 1 to 65536, not {bad}"
            self.assertEqual(text, str(raised.exception))
        self.assertEqual(65_536, Worker("test", capacity=65_536).capacity)


class SessionsTest(unittest.TestCase):
    def test_a_session_is_kept_until_unused_for_its_time(self):
        now = [0.0]
        sessions = Sessions(clock=lambda: now[0])
        sessions.get("a")["x"] = 1
        now[0] += SESSION_TTL_S - 1
        self.assertEqual({"x": 1}, sessions.get("a"))
        now[0] += SESSION_TTL_S - 1
        sessions.get("b")
        now[0] += 1
        self.assertEqual(1, sessions.count())
        self.assertEqual({}, sessions.get("a"))

    def test_the_session_unused_longest_makes_room(self):
        sessions = Sessions()
        for number in range(MAX_SESSIONS):
            sessions.get(str(number))["n"] = number
        sessions.get("0")
        sessions.get("one more")
        self.assertEqual(MAX_SESSIONS, sessions.count())
        self.assertEqual({"n": 0}, sessions.get("0"))
        self.assertEqual({}, sessions.get("1"))

    def test_an_ended_session_begins_anew_and_calls_keep_its_state(self):
        sessions = Sessions()
        state = sessions.get("a")
        state["x"] = 1
        sessions.end("a")
        sessions.end("unknown")
        self.assertEqual(0, sessions.count())
        self.assertEqual({}, sessions.get("a"))
        self.assertEqual({"x": 1}, state)


class CodecTest(unittest.TestCase):
    def test_values_come_back_equal_type_for_type(self):
        value = {
            "a": [None, True, False, 0, -1, (1 << 64) - 1, -(1 << 63)],
            "b": [1.0, -0.0, 5e-324],
            "\0é𝄞": ["", {}, [], "\x7f"],
        }
        for codec in (JsonCodec(), MessagePackCodec()):
            back = codec.decode(codec.encode(value))
            self.assertEqual(repr(value), repr(back))

    def test_json_is_raw_utf_8_and_strict(self):
        self.assertEqual('{"é":1}'.encode(), JsonCodec().encode({"é": 1}))
        for bad in (float("nan"), float("inf"), b"x"):
            with self.assertRaises(EncodeError):
                JsonCodec().encode([bad])
        for bad in (b"NaN", b"[-Infinity]", b"\xef\xbb\xbf{}", b"\xff", b"", b"{} {}"):
            with self.assertRaises(DecodeError):
                JsonCodec().decode(bad)

    def test_nesting_has_a_limit(self):
        def nested(depth):
            return functools.reduce(lambda inner, _: [inner], range(depth), 1)

        for codec in (JsonCodec(), MessagePackCodec()):
            codec.encode(nested(MAX_DEPTH))
            codec.encode({"result": nested(MAX_DEPTH)})  # a message is no nesting level
            with self.assertRaises(EncodeError):
                codec.encode({"result": nested(MAX_DEPTH + 1)})
        self.assertEqual([[1]], json.loads(JsonCodec().encode(nested(2))))


if __name__ == "__main__":
    unittest.main()
