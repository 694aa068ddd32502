"""Serves the mutant worker over stdio, in JSON. PROTOCOL.md 2, 3 and 6."""

import json
import os
import signal
import struct
import sys
import threading
from base64 import b64decode, b64encode
from math import isfinite

from mutant_commands import (
    CAPACITY,
    COMMANDS,
    Call,
    Failure,
    agreed_features,
    version,
)


def tagged(value):
    """The value with tags for the kinds that JSON lacks. PROTOCOL.md 6.12.2."""
    if isinstance(value, float) and not isfinite(value):
        return {"$double": struct.pack(">d", value).hex()}
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, list):
        return [tagged(item) for item in value]
    if isinstance(value, dict):
        escape = "$" if len(value) == 1 and next(iter(value)).startswith("$") else ""
        return {escape + key: tagged(item) for key, item in value.items()}
    return value


def untagged(value):
    """The inverse of tagged()."""
    if isinstance(value, list):
        return [untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key == "$bytes":
            return b64decode(item)
        if key == "$double":
            return struct.unpack(">d", bytes.fromhex(item))[0]
        if key.startswith("$$"):
            return {key[1:]: untagged(item)}
    return {key: untagged(item) for key, item in value.items()}


def read_exactly(size):
    """Reads a message; None at the end of the input."""
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            return None
        data += part
    return data


def read_message():
    header = read_exactly(4)
    if header is None:
        return None
    payload = read_exactly(*struct.unpack(">I", header))
    return None if payload is None else json.loads(payload)


def error_of(failure):
    error = {"error": failure.text, "code": failure.code}
    return {**error, "did_not_run": True} if failure.did_not_run else error


class Connection:
    """The calls in flight."""

    def __init__(self, commands):
        self.commands = commands
        self.lock = threading.Lock()
        self.calls = {}
        self.threads = set()

    def write(self, message):
        """Sends a message and returns the length of its payload. TypeError if it has no encoding."""
        payload = json.dumps(message).encode()
        data = struct.pack(">I", len(payload)) + payload
        with self.lock:
            while data:
                data = data[os.write(1, data) :]
        return len(payload)

    def serve(self):
        while True:
            message = read_message()
            if message is None:
                break
            kind = message.get("type")
            call = self.calls.get(message.get("id"))
            if kind == "protocol_negotiation":
                self.answer_negotiation(message)
            elif kind == "cancel" and call is not None:
                call.cancel()
            elif kind == "credit" and call is not None:
                call.grant(message["bytes"])
            elif kind == "end_session":
                self.commands.end_session(message["session_id"])
            elif kind == "health":
                self.start(self.answer_health, message["id"])
            elif kind == "info":
                info = {"supported_commands": list(COMMANDS)}
                self.write({"id": message["id"], "success": True, "result": info})
            elif kind is None:
                self.begin(message)
        for thread in list(self.threads):
            thread.join()

    def start(self, function, *args):
        def run():
            function(*args)
            self.threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.add(thread)
        thread.start()

    def answer_negotiation(self, message):
        if "json" not in message["supported"]:
            text = "this worker has json alone"
            self.write({"type": "protocol_error", "error": text})
            sys.exit(1)
        bug = self.commands.bug
        answer = {"type": "protocol_selected", "protocol": "json"}
        if version(bug) == 2:
            answer["version"] = 2
            answer["features"] = agreed_features(bug, message.get("features", []))
            answer["capacity"] = CAPACITY
        self.write(answer)

    def answer_health(self, request_id):
        health = self.commands.health()
        self.write({"id": request_id, "success": True, "result": health})

    def begin(self, request):
        call = Call(
            self.commands.bug,
            request["command"],
            untagged(request["args"]),
            request.get("session_id"),
            request.get("timeout_ms", 0),
        )
        call.credit = request.get("credit")
        self.calls[request["id"]] = call
        answer = self.answer_stream if request.get("stream") else self.answer
        self.start(answer, request["id"], call)

    def end(self, request_id, call, succeeded, message):
        """Sends the last message of a call."""
        self.commands.count(succeeded)
        if self.commands.bug == "never-ends-cancelled" and call.is_cancelled:
            return
        del self.calls[request_id]
        self.write({"id": request_id, **message})

    def answer(self, request_id, call):
        try:
            result = tagged(self.commands.run(call))
            json.dumps(result)
            self.end(request_id, call, True, {"success": True, "result": result})
        except Failure as failure:
            message = {"success": False, **error_of(failure)}
            self.end(request_id, call, False, message)
        except TypeError as error:
            message = {"success": False, "error": str(error), "code": "HANDLER_FAILED"}
            self.end(request_id, call, False, message)

    def answer_stream(self, request_id, call):
        index = 0
        try:
            for chunk, final in self.commands.stream(call):
                message = {"type": "chunk", "index": index, "final": final}
                if chunk is not None:
                    message["chunk"] = tagged(chunk)
                    json.dumps(message)
                if final:
                    self.end(request_id, call, True, message)
                    return
                call.wait(lambda: call.credit is None or call.credit > 0)
                size = self.write({"id": request_id, **message})
                if call.credit is not None:
                    call.grant(-size)
                index += 1
        except (Failure, TypeError) as error:
            if isinstance(error, TypeError):
                error = Failure("HANDLER_FAILED", str(error))
            message = {"type": "chunk", "index": index, "final": True, "success": False}
            self.end(request_id, call, False, {**message, **error_of(error)})


def serve(commands):
    """Serves until the end of the input."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Connection(commands).serve()
    os._exit(0)
