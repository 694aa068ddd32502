"""Speaks exactly like the legacy worker written in JavaScript, without node.

Start: python3 js_bridge.py --mode pool-worker
"""

import argparse
import json
import math
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import legacy_stdio  # noqa: E402

# A missing argument, whose member JSON.stringify leaves out.
UNDEFINED = object()


def js_number(text):
    """Every number of JavaScript is a double: above 2^53 integers lose low bits."""
    return float(text)


def to_json(value):
    """The value as JSON.stringify writes it: 2.0 is 2, and Infinity and NaN are null."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {
            key: to_json(item) for key, item in value.items() if item is not UNDEFINED
        }
    return value


def member(value, key):
    return value.get(key, UNDEFINED) if isinstance(value, dict) else UNDEFINED


class JsCommands(legacy_stdio.Commands):
    """The commands of v1, with `random`, and with `power` and `sqrt` in `compute`."""

    bridge_type = "javascript"

    def __init__(self):
        super().__init__(version="1.0.0")
        self.handlers["random"] = self.random

    def call(self, command, args):
        self.requests += 1
        handler = self.handlers.get(command) if isinstance(command, str) else None
        if handler is None:
            name = "undefined" if command is UNDEFINED else command
            raise LookupError(f"Unknown command: {name}")
        return handler(args)

    def ping(self, args):
        result = super().ping(args)
        del result["python_version"]
        result["node_version"] = "v18.0.0"
        return result

    def compute(self, args):
        operation, a = args.get("operation", "add"), args.get("a", 0.0)
        if operation == "power":
            result = a ** args.get("b", 0.0)
        elif operation == "sqrt":
            result = math.sqrt(a)
        else:
            return super().compute(args)
        return {
            "status": "ok",
            "operation": operation,
            "inputs": {"a": a, "b": args.get("b", UNDEFINED)},
            "result": result,
            "timestamp": time.time(),
        }

    def info(self, args):
        result = super().info(args)
        result["system_info"] = {"platform": sys.platform, "node_version": "v18.0.0"}
        return result

    def random(self, args):
        return {"status": "ok", "value": random.random(), "timestamp": time.time()}


def respond(commands, request):
    """The reply, without an `id` if the request had none."""
    reply = {"id": member(request, "id")}
    args = member(request, "args")
    try:
        result = commands.call(
            member(request, "command"), args if isinstance(args, dict) else {}
        )
        reply.update(success=True, result=result)
    except Exception as error:
        reply.update(success=False, error=str(error))
    reply["timestamp"] = legacy_stdio.iso_time()
    return reply


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="pool-worker")
    parser.parse_args()
    legacy_stdio.end_at_once_on_sigterm()
    commands = JsCommands()
    while True:
        try:
            payload = legacy_stdio.read_frame()
        except legacy_stdio.EndOfInput:
            return 0
        try:
            request = json.loads(payload.decode("utf-8"), parse_int=js_number)
        except ValueError as error:
            # It stops reading for ever, but the process stays.
            print(f"SyntaxError: {error}", file=sys.stderr, flush=True)
            while True:
                signal.pause()
        text = json.dumps(to_json(respond(commands, request)), ensure_ascii=False)
        # backslashreplace writes half of a surrogate pair like JSON.stringify.
        legacy_stdio.write_frame(text.encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
