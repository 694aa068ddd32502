"""Serves the mutant worker over stdio, in JSON and MessagePack. PROTOCOL.md 1 to 3 and 6."""

import json
import os
import select
import signal
import struct
import sys
import threading
from collections import deque

import msgpack
from mutant_codecs import Undecodable, from_json, from_msgpack, tagged, untagged
from mutant_commands import (
    CAPACITY,
    COMMANDS,
    Call,
    Failure,
    agreed_features,
    version,
)

TIMESTAMP = "2026-01-31T12:00:00Z"
DEFAULT_LIMIT = 64 << 20
MAX_ID = 2**53 - 1
MAX_CREDIT = 2**31 - 1
# Requests that are read and not begun.
MAX_WAITING = 64


def is_integer(value, least, most):
    return type(value) is int and least <= value <= most


def invalid(text):
    return Failure("INVALID_ARGUMENT", text, did_not_run=True)


def error_of(failure):
    error = {"error": failure.text, "code": failure.code}
    return {**error, "did_not_run": True} if failure.did_not_run else error


class Connection:
    """The frames, the handshake and the calls."""

    def __init__(self, commands, limit):
        self.commands = commands
        self.bug = commands.bug
        self.limit = limit  # of what it reads
        self.send_limit = limit
        self.codec = None
        self.version = 1
        self.features = []
        self.input = b""
        self.lock = threading.RLock()
        self.idle = threading.Condition(self.lock)
        self.waiting = deque()
        self.calls = {}  # id -> Call, of those read and not ended
        self.running = 0
        self.is_ending = False

    # Frames.

    def serve(self):
        """Serves until the end of the input, or SIGTERM; the exit code."""
        signals, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end)
        ignores = self.bug == "ignores-sigterm"
        dies = self.bug == "exits-at-sigterm"
        # Otherwise the wakeup descriptor tells.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if dies else None)
        while True:
            ready = select.select([0, signals], [], [])[0]
            if signals in ready and not ignores:
                return self.end_by_signal()
            if signals in ready:
                os.read(signals, 100)
            if 0 not in ready:
                continue
            data = self.read()
            if not data:
                return self.end_of_input()
            self.input += data
            code = self.take_frames()
            if code is not None:
                return code

    def read(self):
        if self.bug == "needs-a-socket":
            import socket

            return socket.socket(fileno=os.dup(0)).recv(65536)
        return os.read(0, 65536)

    def take_frames(self):
        """Serves the whole frames of the input; an exit code when it cannot go on."""
        while len(self.input) >= 4:
            (size,) = struct.unpack(">I", self.input[:4])
            limit = self.limit - (1 if self.bug == "limit-off-by-one" else 0)
            if size > limit and self.bug != "waits-for-oversized":
                if self.bug != "silent-at-oversized":
                    self.refuse(None, invalid("the frame is over the limit"))
                return 0 if self.bug == "exit-0-at-oversized" else 1
            if self.bug == "reserves-by-claim":
                self.reserved = b"\1" * size
            if self.bug == "one-read-one-frame" and len(self.input) < 4 + size:
                print("a read without a whole frame", file=sys.stderr)
                return 1
            if len(self.input) < 4 + size:
                return None
            payload = self.input[4 : 4 + size]
            self.input = b"" if self.bug == "one-frame-a-read" else self.input[4 + size :]
            code = self.take_payload(payload)
            if code is not None:
                return code
        if self.bug == "one-read-one-frame" and self.input:
            print("a read without a whole frame", file=sys.stderr)
            return 1
        return None

    def write(self, message):
        """Sends a message; returns the length of its payload. TypeError if it has no encoding."""
        payload = self.encode(message)
        data = struct.pack(">I", len(payload)) + payload
        with self.lock:
            while data:
                data = data[os.write(1, data) :]
        return len(payload)

    def encode(self, message):
        if self.version == 1 and "type" not in message and self.bug != "no-timestamp":
            message = {**message, "timestamp": TIMESTAMP}
        if self.codec == "msgpack" and self.bug != "answers-in-json":
            return msgpack.packb(message)
        return json.dumps(message).encode()

    def fits(self, message):
        return len(self.encode(message)) <= self.send_limit or self.bug == "ignores-pool-limit"

    # Messages.

    def take_payload(self, payload):
        if self.codec is None and not self.is_message_of_version_1(payload):
            return None if self.bug == "needs-handshake" else self.take_first(payload)
        try:
            message = self.decode(payload)
        except Undecodable as error:
            if self.bug == "exits-at-bad-frame":
                return 1
            if self.bug != "logs-bad-frames":
                self.refuse(None, invalid(f"the message cannot be decoded: {error}"))
            return None
        if type(message) is not dict:
            if self.bug != "ignores-non-maps":
                self.refuse(None, invalid("the message is no map"))
            return None
        if self.version >= 2 and "type" in message:
            self.take_typed(message)
        else:
            self.take_request(message)
        return None

    def decode(self, payload):
        if not payload and self.bug == "exits-at-empty-frame":
            os._exit(1)
        if self.codec == "json":
            return from_json(payload, self.bug)
        try:
            return from_msgpack(payload)
        except Undecodable:
            if self.bug != "falls-back-to-json":
                raise
            return from_json(payload, self.bug)

    def is_message_of_version_1(self, payload):
        """True if the first frame is a request: then it sets the codec."""
        is_msgpack = payload[:1] and (0x80 <= payload[0] <= 0x8F or payload[0] in (0xDE, 0xDF))
        try:
            message = from_msgpack(payload) if is_msgpack else from_json(payload, self.bug)
        except Undecodable:
            return False
        if type(message) is not dict or "command" not in message:
            return False
        if self.bug == "needs-handshake":
            return False
        self.codec = "msgpack" if is_msgpack else "json"
        return True

    def take_first(self, payload):
        """Answers the negotiation, or a first frame that is none."""
        try:
            message = from_json(payload, self.bug)
        except Undecodable:
            message = None
        if type(message) is dict and message.get("type") == "protocol_negotiation":
            return self.answer_negotiation(message)
        if self.bug == "exits-at-bad-first-frame":
            return 1
        self.codec = "msgpack" if payload[:1] >= b"\x80" else "json"
        self.refuse(None, invalid("the first message is neither a request nor a negotiation"))
        self.codec = None
        return None

    def answer_negotiation(self, offer):
        bug = self.bug
        supported = offer.get("supported")
        offered = offer.get("version", 1)
        limit = offer.get("max_frame_bytes", DEFAULT_LIMIT)
        known = ("json",) if bug == "json-alone" else ("json", "msgpack")
        is_readable = type(supported) is list and is_integer(offered, 1, 2**63)
        if offered != 1 and not is_integer(limit, 1024, 2**31 - 1):
            is_readable = False
        if not is_readable and bug == "reads-any-offer":
            is_readable, supported, offered, limit = True, ["json"], 2, DEFAULT_LIMIT
        has = [c for c in supported if c in known] if is_readable else []
        if bug == "takes-any-codec":
            has = has or ["json"]
        if bug == "exits-at-unknown-codec" and len(has) < len(supported):
            has = []
        if bug == "refuses-unknown-members" and "later" in offer:
            has = []
        if not has:
            text = "the offer has no codec of this worker"
            self.write_json({"type": "protocol_error", "error": text})
            return 0 if bug == "exit-0-after-refusal" else 1
        preferred = offer.get("preferred")
        takes = preferred if preferred in has and bug != "ignores-preferred" else has[0]
        answer = {"type": "protocol_selected", "protocol": takes}
        if version(bug) == 2 and (offered >= 2 or bug == "always-says-version"):
            answer["version"] = offered if bug == "echoes-version" else 2
            features = offer.get("features", [])
            features = features if type(features) is list else []
            if bug == "all-features":
                features = ["stream", "session"]
            answer["features"] = agreed_features(bug, features)
            answer["capacity"] = 0 if bug == "capacity-zero" else CAPACITY
            answer["max_frame_bytes"] = self.limit
        self.write_json(answer)
        self.codec = takes
        self.version = 2 if "version" in answer else 1
        self.features = answer.get("features", [])
        self.send_limit = limit
        return None

    def write_json(self, message):
        payload = json.dumps(message).encode()
        os.write(1, struct.pack(">I", len(payload)) + payload)

    def take_typed(self, message):
        kind = message["type"]
        if kind == "cancel":
            self.cancel(message.get("id"))
        elif kind == "credit" and "stream" in self.features:
            self.grant(message)
        elif kind == "end_session" and "session" in self.features:
            self.commands.end_session(message.get("session_id"))
        elif kind in ("health", "info"):
            self.take_query(kind, message)
        elif self.bug == "answers-unknown-types":
            self.refuse(None, invalid("no message has that type"))

    def cancel(self, call_id):
        call = self.calls.get(call_id)
        if call is None:
            if self.bug == "answers-late-cancel":
                self.refuse(call_id, invalid("no call has that id"))
            return
        if self.bug == "chunk-after-cancel" and call.stream and not call.is_cancelled:
            chunk = {"id": call_id, "type": "chunk", "index": call.sent, "final": False}
            self.write({**chunk, "chunk": "late"})
            call.sent += 1
        with self.lock:
            is_waiting = call in self.waiting and self.bug != "runs-cancelled-queue"
            if is_waiting:
                self.waiting.remove(call)
        if is_waiting:
            self.end(call, Failure("CANCELLED", "the caller gave it up", did_not_run=True))
        elif call not in self.waiting:
            call.cancel()

    def grant(self, message):
        call = self.calls.get(message.get("id"))
        if not is_integer(message.get("bytes"), 1, MAX_CREDIT):
            self.refuse(None, invalid("bytes must be 1 to 2147483647"))
        elif call is not None and call.credit is not None:
            call.grant(message["bytes"])
        elif call is None and self.bug == "answers-late-credit":
            self.refuse(message.get("id"), invalid("no call has that id"))

    def take_query(self, kind, message):
        call_id = message.get("id")
        if not is_integer(call_id, 1, MAX_ID) or call_id in self.calls:
            is_free = is_integer(call_id, -(2**63), 2**64 - 1) and call_id not in self.calls
            if self.bug != "ignores-bad-queries":
                self.refuse(call_id if is_free else None, invalid("the id is not allowed"))
        elif kind == "health":
            threading.Thread(target=self.answer_health, args=[call_id], daemon=True).start()
        else:
            info = {"supported_commands": list(COMMANDS), "worker_type": "mutant", "version": "0"}
            for name in ("capabilities", "stats", "system_info"):
                info[name] = {}
            self.write({"id": call_id, "success": True, "result": info})

    def answer_health(self, call_id):
        health = self.commands.health()
        if health.keys() > {"healthy"}:
            health["calls_in_flight"] = len(self.calls)
            if self.bug == "silent-while-busy":
                health["calls_in_flight"] = self.running
        self.write({"id": call_id, "success": True, "result": health})

    # Requests.

    def take_request(self, message):
        try:
            call = self.read_request(message)
        except Failure as failure:
            call_id = message.get("id")
            is_free = is_integer(call_id, -(2**63), 2**64 - 1) and call_id not in self.calls
            if self.bug == "echoes-any-id":
                is_free = True
            if self.bug == "forgets-readable-id":
                is_free = False
            self.refuse(call_id if is_free else None, failure)
            return
        if self.version == 1:
            self.run(call)
            return
        with self.lock:
            is_full = self.running + len(self.waiting) >= CAPACITY + MAX_WAITING
            if not is_full:
                self.calls[call.id] = call
                self.waiting.append(call)
                self.start_next()
        if is_full:
            self.refuse(call.id, invalid("too many calls wait"))

    def read_request(self, message):
        bug = self.bug
        call_id = message.get("id")
        if not is_integer(call_id, 1, MAX_ID):
            raise invalid("id must be an integer, 1 to 2^53 - 1")
        if call_id in self.calls and bug != "runs-duplicate-id":
            raise invalid("the id is that of a call in flight")
        command = message.get("command")
        if type(command) is not str:
            raise invalid("command must be a text")
        if bug == "refuses-unknown-members" and "later" in message:
            raise invalid("no request has the member later")
        args = message.get("args")
        if args is not None and type(args) is not dict:
            raise invalid("args must be a map")
        if self.version == 1:
            return self.new_call(message, command, args or {})
        checks = {"timeout_ms": lambda v: is_integer(v, -(2**63), 2**63 - 1)}
        if "stream" in self.features:
            checks["stream"] = lambda v: type(v) is bool
        if "session" in self.features:
            checks["session_id"] = lambda v: type(v) is str and 1 <= len(v.encode()) <= 256
        if message.get("stream") is True and "stream" in self.features:
            checks["credit"] = lambda v: is_integer(v, 1, MAX_CREDIT)
        for name, is_right in checks.items():
            if name not in message or bug == "takes-bad-members":
                continue
            if message[name] is None and bug == "null-is-absent":
                continue
            if not is_right(message[name]):
                raise invalid(f"{name} is not allowed to be that")
        return self.new_call(message, command, args or {})

    def new_call(self, message, command, args):
        if self.version >= 2 and self.codec == "json":
            args = untagged(args)
        timeout_ms = message.get("timeout_ms") or 0
        if type(timeout_ms) is not int or self.version == 1:
            timeout_ms = 0
        session = message.get("session_id") if "session" in self.features else None
        call = Call(self.bug, command, args, session, timeout_ms)
        call.id = message["id"]
        call.stream = message.get("stream") is True and "stream" in self.features
        credit = message.get("credit")
        if call.stream and type(credit) is int and self.bug != "ignores-credit":
            call.credit = credit
        call.sent = 0
        return call

    def start_next(self):
        """Begins calls that wait, as far as the capacity goes. Called with the lock."""
        while self.waiting and self.running < CAPACITY:
            self.running += 1
            call = self.waiting.popleft()
            threading.Thread(target=self.run_and_go_on, args=[call], daemon=True).start()

    def run_and_go_on(self, call):
        self.run(call)
        with self.lock:
            self.running -= 1
            if not self.is_ending or self.bug == "runs-queued-after-sigterm":
                self.start_next()
            self.idle.notify_all()

    def run(self, call):
        try:
            if call.stream:
                self.run_stream(call)
                return
            result = self.value(self.commands.run(call))
            message = {"success": True, "result": result}
            if not self.fits({"id": call.id, **message}):
                raise Failure("MESSAGE_TOO_LARGE", "the result is over the limit")
            self.end(call, message)
        except Failure as failure:
            self.end(call, failure)
        except TypeError as error:
            self.end(call, Failure("HANDLER_FAILED", str(error)))

    def value(self, value):
        is_tagged = self.version >= 2 and self.codec == "json"
        value = tagged(value) if is_tagged else value
        self.encode({"result": value})
        return value

    def run_stream(self, call):
        bug = self.bug
        try:
            for chunk, final in self.commands.stream(call):
                index = call.sent + (1 if bug == "index-from-1" else 0)
                message = {"type": "chunk", "index": index, "final": final}
                if chunk is not None:
                    message["chunk"] = self.value(chunk)
                if bug == "success-on-chunks":
                    message["success"] = True
                needs_credit = chunk is not None or bug == "final-needs-credit"
                if needs_credit:
                    call.wait(lambda: call.credit is None or call.credit > 0)
                if final:
                    if bug == "unary-success" and call.command == "ping":
                        message = {"success": True, "result": message["chunk"]}
                    self.end(call, message)
                    return
                call_id = call.id + (bug == "wrong-chunk-id" and call.sent == 2)
                size = self.write({"id": call_id, **message})
                if call.credit is not None:
                    call.grant(-1 if bug == "credit-in-chunks" else -size)
                call.sent += 1
        except (Failure, TypeError) as error:
            if isinstance(error, TypeError):
                error = Failure("HANDLER_FAILED", str(error))
            self.end(call, error)

    # The ends.

    def end(self, call, outcome):
        """Sends the last message of a call: a message or a Failure."""
        bug = self.bug
        is_failure = isinstance(outcome, Failure)
        if not (bug == "counts-no-refusals" and is_failure and outcome.code == "UNIMPLEMENTED"):
            self.commands.count(not is_failure)
        if bug == "never-ends-cancelled" and call.is_cancelled:
            return
        message = outcome
        if is_failure:
            message = {"success": False, **self.cut(error_of(outcome))}
            if call.stream:
                index = 0 if bug == "error-index-0" else call.sent
                message = {"type": "chunk", "index": index, "final": True, **message}
            if self.version == 1:
                message = {"success": False, "error": outcome.text}
        with self.lock:
            self.calls.pop(call.id, None)
            self.write({"id": call.id, **message})
            if bug == "replies-twice" and not call.stream:
                self.write({"id": call.id, **message})
            if bug == "heartbeats":
                self.write({"id": None, "success": True, "result": "still here"})
            if bug == "two-last-messages" and call.is_cancelled:
                self.write({"id": call.id, **message})
            if bug == "chunk-after-final" and call.stream:
                late = {"id": call.id, "type": "chunk", "index": call.sent + 1, "final": False}
                self.write({**late, "chunk": None})

    def cut(self, error):
        if self.bug == "error-over-limit":
            return error
        room = max(256, self.send_limit - 512)
        text = error["error"]
        while len(json.dumps(text)) > room:
            text = text[: len(text) * 3 // 4]
        return {**error, "error": text}

    def refuse(self, call_id, failure):
        """Answers a message that is no call."""
        message = {"id": call_id, "success": False, "error": failure.text}
        if self.version >= 2:
            message.update(error_of(failure))
        self.write(message)

    def await_idle(self):
        with self.lock:
            self.idle.wait_for(lambda: not self.running and not self.waiting)

    def end_of_input(self):
        if self.bug == "ignores-eof":
            threading.Event().wait()
        if self.bug == "runs-cut-frame" and len(self.input) > 4:
            self.take_payload(self.input[4:])
        if self.bug == "drops-calls-at-eof":
            return 0
        with self.lock:
            if self.bug == "forgets-queued-at-eof":
                self.waiting.clear()
            for call in self.calls.values():
                if call.credit is not None and self.bug != "waits-for-credit-at-eof":
                    call.cancel()
        self.await_idle()
        if self.bug == "exit-1-at-eof":
            return 1
        return 1 if self.input and self.bug != "exit-0-in-frame" else 0

    def end_by_signal(self):
        with self.lock:
            self.is_ending = True
            waiting = []
            if self.bug != "runs-queued-after-sigterm":
                waiting = list(self.waiting)
                self.waiting.clear()
        for call in waiting if self.bug != "loses-queued-at-sigterm" else []:
            self.end(call, Failure("CANCELLED", "the worker is ending", did_not_run=True))
        self.await_idle()
        return 0


def limit_of(bug):
    """The limit that the environment sets, or the exit code 2."""
    text = os.environ.get("SNAKEPIT_MAX_FRAME_BYTES") or str(DEFAULT_LIMIT)
    if bug == "ignores-environment":
        return DEFAULT_LIMIT
    if not text.isdecimal() or not 1024 <= int(text) <= 2**31 - 1:
        print("SNAKEPIT_MAX_FRAME_BYTES must be 1024 to 2147483647", file=sys.stderr)
        sys.exit(2)
    return int(text)


def serve(commands):
    """Serves until the end of the input, or SIGTERM."""
    if commands.bug == "banner-on-stdout":
        os.write(1, b"worker ready\n")
    code = Connection(commands, limit_of(commands.bug)).serve()
    os._exit(code)
