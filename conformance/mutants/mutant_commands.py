"""The commands of the mutant worker, over any transport. PROTOCOL.md 6."""

import json
import os
import threading
import time

# Number of calls that it takes at a time.
CAPACITY = 4


STREAMS = ("ping_stream", "conf.stream")
COMMANDS = (
    *("ping", "info", "conf.echo", "conf.sleep", "conf.sent_count", "conf.raise"),
    *("conf.bad_value", "conf.incr", *STREAMS),
)

VERSION_1 = ("version-1", "tells-streams-apart", "loses-version")


def version(bug):
    """The protocol version that the worker agrees to."""
    return 1 if bug in VERSION_1 else 2


def agreed_features(bug, offered):
    """The offered features that the worker has."""
    missing = {"no-sessions": "session", "no-streams": "stream"}.get(bug)
    return [f for f in offered if f in ("stream", "session") and f != missing]


class Failure(Exception):
    """A call that fails, with a code of PROTOCOL.md 5.2.1."""

    def __init__(self, code, text, did_not_run=False):
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.did_not_run = did_not_run


class Unencodable:
    """A value that no encoding holds."""


class Call:
    """One call: the request, and its cancellation."""

    def __init__(self, bug, command, args, session_id, timeout_ms):
        self.command = command
        self.args = args
        self.session_id = session_id
        self.tells_handler = bug != "tells-no-handler"
        self.deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        self.changed = threading.Condition()
        self.is_cancelled = False
        self.credit = None  # bytes; None: no limit

    def left_s(self):
        """The seconds left; None without a time limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def cancel(self, *_):
        """Notes that the caller has given the call up."""
        with self.changed:
            self.is_cancelled = self.tells_handler
            self.changed.notify_all()

    def grant(self, credit):
        """Adds credit: bytes of chunks that may be sent."""
        with self.changed:
            self.credit += credit
            self.changed.notify_all()

    def check(self, did_not_run=False):
        """Raises Failure if the call was given up."""
        if self.is_cancelled:
            raise Failure("CANCELLED", "the caller gave it up", did_not_run)
        left = self.left_s()
        if self.tells_handler and left is not None and left <= 0:
            raise Failure("DEADLINE_EXCEEDED", "its time limit passed", did_not_run)

    def wait(self, is_over, seconds=None):
        """Waits until is_over(), or for so many seconds. Raises Failure if the call is given up."""
        end = None if seconds is None else time.monotonic() + seconds
        with self.changed:
            while not is_over() and (end is None or time.monotonic() < end):
                self.check()
                ends = [end - time.monotonic()] if end is not None else []
                if self.deadline is not None and self.tells_handler:
                    ends.append(self.left_s())
                self.changed.wait(max(0, min(ends)) if ends else None)
            self.check()


class Commands:
    """The commands with the bug."""

    def __init__(self, bug):
        self.bug = bug
        self.since = time.monotonic()
        self.lock = threading.Condition()
        self.handlers = 0  # running ones
        self.begun = 0
        self.ended = 0
        self.failed = 0
        self.has_streamed = False
        self.chunks_made = 0
        self.sessions = {}
        self.last_echo = None
        self.turn = threading.Lock()

    # The life of a call, over any transport.

    def begin(self, call):
        """Raises Failure if the handler must not be called."""
        with self.lock:
            self.begun += 1
            if self.bug == "exits-after-100" and self.begun > 100:
                os._exit(0)
            if self.bug == "exits-after-stream" and self.has_streamed:
                os._exit(0)
        call.check(did_not_run=True)
        if self.bug == "one-at-a-time":
            self.turn.acquire()
        with self.lock:
            self.handlers += 1

    def end(self):
        """Notes that the handler has ended."""
        with self.lock:
            self.handlers -= 1
            self.lock.notify_all()
        if self.bug == "one-at-a-time":
            self.turn.release()

    def count(self, succeeded):
        """Counts a call that has ended."""
        with self.lock:
            self.ended += 2 if self.bug == "counts-twice" else 1
            self.failed += 0 if succeeded else 1

    def health(self):
        """The figures of PROTOCOL.md 6.10.3."""
        if self.bug == "counts-queries":
            self.count(True)
        if self.bug == "health-without-figures":
            return {"healthy": True}
        uptime_s = time.monotonic() - self.since
        with self.lock:
            if self.bug == "silent-while-busy":
                self.lock.wait_for(lambda: self.handlers == 0)
            return {
                "healthy": True,
                "worker_id": os.environ.get("SNAKEPIT_WORKER_ID", ""),
                "uptime_ms": int(uptime_s if self.bug == "uptime-in-seconds" else 1000 * uptime_s),
                "total_requests": self.ended,
                "total_errors": self.failed,
                "version": "0",
                "calls_in_flight": self.handlers,
            }

    def end_session(self, session_id):
        """Ends a session: the pool sends no more calls of it."""
        with self.lock:
            if self.bug == "forgets-all":
                self.sessions.clear()
            elif self.bug != "never-forgets":
                self.sessions.pop(session_id, None)

    # The commands.

    def run(self, call):
        """The result of a call for one result. Raises Failure."""
        self.begin(call)
        try:
            if call.command in STREAMS:
                self.check_stream(call)
                return {"chunks": [c for c, _ in self.chunks(call) if c is not None]}
            return self.result(call)
        finally:
            self.end()

    def stream(self, call):
        """The chunks of a streaming call, each with its `final`. Raises Failure.

        The chunk None is no chunk, but the end of the stream.
        """
        self.begin(call)
        try:
            if self.bug == "streams-nothing":
                raise Failure("UNIMPLEMENTED", "this worker has no streams", True)
            if call.command in STREAMS:
                self.check_stream(call)
                self.has_streamed = True
                chunks = self.chunks(call)
                is_list = self.bug in ("collects-chunks", "runs-ahead")
                yield from list(chunks) if is_list else chunks
            elif self.bug == "tells-streams-apart":
                raise Failure("", f"no stream of that name: {call.command}")
            elif self.bug == "unary-gives-no-chunk":
                yield None, True
            else:
                yield self.result(call), True
        except Failure:
            if self.bug != "swallows-stream-errors":
                raise
            yield None, True
        finally:
            self.end()

    def check_stream(self, call):
        if self.bug == "lists-what-it-lacks":
            raise Failure("UNIMPLEMENTED", f"Unknown command: {call.command}", True)

    def result(self, call):
        name = call.command
        handler = {
            "ping": self.ping,
            "info": lambda call: {"bridge_info": {"supported_commands": list(COMMANDS)}},
            "conf.echo": self.echo,
            "conf.sleep": self.sleep,
            "conf.sent_count": lambda call: self.chunks_made,
            "conf.raise": self.fail,
            "conf.bad_value": self.bad_value,
            "conf.incr": self.incr,
        }.get(name)
        if handler is not None:
            return handler(call)
        if self.bug == "unknown-is-success":
            return {}
        if self.bug == "unknown-is-a-failure":
            raise Failure("HANDLER_FAILED", f"there is no {name}")
        if self.bug == "exits-at-unknown":
            os._exit(0)
        raise Failure("UNIMPLEMENTED", f"Unknown command: {name}", did_not_run=True)

    def chunks(self, call):
        if call.command == "ping_stream":
            return self.ping_stream(call)
        return self.numbered(call)

    def ping(self, call):
        result = {"status": "ok", "echo": call.args}
        if self.bug == "ping-without-echo":
            del result["echo"]
        if self.bug == "wrong-echo":
            result["echo"] = {**call.args, "number": 0}
        if self.bug == "no-status" and "initialization" not in call.args:
            del result["status"]
        return result

    def echo(self, call):
        value = call.args.get("value")
        with self.lock:
            last, self.last_echo = self.last_echo, value
            if self.bug == "swaps-replies" and self.handlers > 1:
                return last
        return self.changed(value)

    def changed(self, value):
        """The value as the bug distorts it."""
        kind = type(value)
        if kind is list:
            return [self.changed(item) for item in value]
        if kind is dict:
            return {key: self.changed(item) for key, item in value.items()}
        if self.bug == "bytes-become-text" and kind is bytes:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value
        if self.bug == "text-becomes-json" and kind is str:
            try:
                return json.loads(value)
            except ValueError:
                return value
        if self.bug == "integers-become-doubles" and kind is int:
            return float(value)
        if self.bug == "forgets-nan-payload" and value != value:
            return float("nan")
        return value

    def sleep(self, call):
        left = call.left_s()
        left_ms = None if left is None else int(left * 1000)
        if self.bug == "hides-deadline":
            left_ms = None
        if self.bug == "deadline-in-seconds":
            left_ms = int(left)
        if "begun" in call.args:
            open(call.args["begun"], "x").close()
        seconds = call.args.get("ms", 0) / 1000
        if call.args.get("ignore"):
            time.sleep(seconds)
        else:
            call.wait(lambda: False, seconds)
        return {"left_ms": left_ms}

    def fail(self, call):
        if self.bug == "exits-at-exception":
            os._exit(0)
        text = call.args.get("text", "")
        if self.bug != "hides-exception-type":
            text = f"ValueError: {text}"
        raise Failure("HANDLER_FAILED", text)

    def bad_value(self, call):
        if self.bug == "exits-at-unencodable":
            os._exit(0)
        return None if self.bug == "unencodable-is-null" else Unencodable()

    def incr(self, call):
        with self.lock:
            key = "all" if self.bug == "shares-state" else call.session_id
            count = self.sessions.get(key, 0) + 1
            if call.session_id and self.bug != "keeps-no-state":
                self.sessions[key] = count
            return count

    def numbered(self, call):
        data = "x" * call.args.get("bytes", 0)
        for number in range(call.args.get("count", 0)):
            call.check()
            with self.lock:
                self.chunks_made += 1
            yield {"n": number, "data": data}, False
        if "error" in call.args:
            raise Failure("HANDLER_FAILED", f"ValueError: {call.args['error']}")
        yield None, True

    def ping_stream(self, call):
        count = call.args.get("count", 5)
        numbers = list(range(1, count + 1))
        if self.bug == "swaps-chunks" and count > 3:
            numbers[1], numbers[2] = numbers[2], numbers[1]
        if self.bug == "drops-a-chunk" and count > 10:
            del numbers[5]
        if self.bug == "empty-has-a-chunk" and count == 0:
            numbers = [1]
        if not numbers:
            yield None, True
        last = len(numbers) - (2 if self.bug == "early-final" else 1)
        for place, number in enumerate(numbers):
            if place > 0 and self.bug != "ignores-interval":
                call.wait(lambda: False, call.args.get("interval", 1.0))
            chunk = {"ping_number": number, "message": f"Ping {number} of {count}"}
            yield chunk, place == max(last, 0)
