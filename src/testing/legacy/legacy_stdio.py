"""The common part of the legacy stdio workers: frames, commands, the Python main loop.

These workers stand for those in the field, bugs included. PROTOCOL.md 2 tells how a
pool copes with each; nothing here may be "mended".
"""

import datetime
import json
import os
import platform
import signal
import struct
import sys
import time

READ_BYTES = 65536


class EndOfInput(Exception):
    """stdin ended, between frames or within one."""


class UnencodableResult(Exception):
    """A result that the codec cannot carry."""


def read_exactly(size):
    """Reads bytes of stdin. A huge length allocates nothing until they come."""
    parts = []
    while size > 0:
        part = os.read(0, min(size, READ_BYTES))
        if not part:
            raise EndOfInput
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame():
    (length,) = struct.unpack(">I", read_exactly(4))
    return read_exactly(length)


def write_bytes(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def write_frame(payload):
    write_bytes(struct.pack(">I", len(payload)) + payload)


def iso_time():
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def end_at_once_on_sigterm():
    """Exits with 0, even in the middle of a reply. Children live on."""
    signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(0))


class JsonCodec:
    """Python's json: ASCII escapes, and Infinity and NaN, which are not JSON."""

    name = "json"

    def decode(self, payload):
        return json.loads(payload.decode("utf-8"))

    def encode(self, message):
        try:
            return json.dumps(message).encode("utf-8")
        except (TypeError, ValueError) as error:
            raise UnencodableResult(str(error)) from error


class Commands:
    """The ping, echo, compute and info of the v1 and v2 workers."""

    bridge_type = "generic"

    def __init__(self, version):
        self.version = version
        self.started = time.time()
        self.requests = 0
        self.handlers = {
            "ping": self.ping,
            "echo": self.echo,
            "compute": self.compute,
            "info": self.info,
        }

    def run(self, command, args):
        """The result. An unknown command and a failed handler are results, too."""
        self.requests += 1
        handler = self.handlers.get(command)
        if handler is None:
            return {
                "status": "error",
                "error": f"Unknown command: {command}",
                "supported_commands": list(self.handlers),
                "timestamp": time.time(),
            }
        try:
            return handler(args)
        except Exception as error:
            return {"status": "error", "error": str(error), "timestamp": time.time()}

    def ping(self, args):
        return {
            "status": "ok",
            "bridge_type": self.bridge_type,
            "uptime": time.time() - self.started,
            "requests_handled": self.requests,
            "timestamp": time.time(),
            "python_version": platform.python_version(),
            "worker_id": args.get("worker_id", "unknown"),
            "echo": args,
        }

    def echo(self, args):
        return {"status": "ok", "echoed": args, "timestamp": time.time()}

    def compute(self, args):
        operation = args.get("operation", "add")
        a, b = args.get("a", 0), args.get("b", 0)
        if operation == "add":
            result = a + b
        elif operation == "subtract":
            result = a - b
        elif operation == "multiply":
            result = a * b
        elif operation == "divide":
            result = a / b
        else:
            raise ValueError(f"Unsupported operation: {operation}")
        return {
            "status": "ok",
            "operation": operation,
            "inputs": {"a": a, "b": b},
            "result": result,
            "timestamp": time.time(),
        }

    def info(self, args):
        return {
            "status": "ok",
            "bridge_info": {
                "name": "Legacy bridge",
                "version": self.version,
                "supported_commands": list(self.handlers),
                "uptime": time.time() - self.started,
                "total_requests": self.requests,
            },
            "system_info": {
                "platform": sys.platform,
                "python_version": platform.python_version(),
            },
            "timestamp": time.time(),
        }


def answer(commands, request):
    """The reply to a decoded request. AttributeError if the request is no map."""
    result = commands.run(request.get("command"), request.get("args", {}))
    return {
        "id": request.get("id"),
        "success": True,
        "result": result,
        "timestamp": iso_time(),
    }


def serve(codec, respond):
    """The main loop of a Python worker, with its faults."""
    while True:
        try:
            payload = read_frame()
        except EndOfInput:
            return 0
        try:
            request = codec.decode(payload)
        except Exception as error:
            # No reply: the caller waits until its deadline.
            print(f"undecodable request: {error}", file=sys.stderr, flush=True)
            continue
        if not request:  # An empty map counts as the end of input.
            return 0
        try:
            reply = respond(request)
        except AttributeError as error:
            print(f"request is no object: {error}", file=sys.stderr, flush=True)
            return 1
        try:
            payload = codec.encode(reply)
        except UnencodableResult as error:
            print(f"unencodable result: {error}", file=sys.stderr, flush=True)
            return 0
        write_frame(payload)
