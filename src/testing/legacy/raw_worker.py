"""Drives a worker with bare bytes, without any interpretation."""

import contextlib
import json
import os
import signal
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"


def frame(message):
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">I", len(payload)) + payload


def request(id, command, args=None):
    return {"id": id, "command": command, "args": args or {}, "timestamp": "ignored"}


class Worker:
    """A worker in a process group of its own, which is killed on leaving."""

    def __init__(self, script, *argv, environment=None):
        self.process = subprocess.Popen(
            [PYTHON, os.path.join(HERE, script), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in [self.process.stdin, self.process.stdout, self.process.stderr]:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def send(self, *messages):
        self.process.stdin.write(b"".join(frame(message) for message in messages))
        self.process.stdin.flush()

    def send_bytes(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close_stdin(self):
        self.process.stdin.close()

    def read_payload(self):
        header = self.process.stdout.read(4)
        assert len(header) == 4, f"end of output after {header!r}"
        (length,) = struct.unpack(">I", header)
        return self.process.stdout.read(length)

    def read(self):
        return json.loads(self.read_payload())

    def call(self, id, command, args=None):
        self.send(request(id, command, args))
        return self.read()

    def rest(self):
        """All bytes until the end of stdout."""
        return self.process.stdout.read()

    def stderr_line(self):
        return self.process.stderr.readline().decode()

    def terminate(self):
        os.kill(self.process.pid, signal.SIGTERM)

    def wait(self):
        """The exit code, or minus the signal."""
        return self.process.wait()
