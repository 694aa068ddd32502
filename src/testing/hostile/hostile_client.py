"""A hostile pool or client, at a worker's stdio or its gRPC service."""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import time

import msgpack

from pool_host import (
    LIMIT_S,
    PYTHON_PATH,
    FolderTestCase,
    Watched,
    limit_this_process,
    read,
    wait_until,
)

WORKERS = {
    "python": [sys.executable, "-B", os.path.abspath("python/tests/fixture_worker.py")],
    "cpp": [os.path.abspath("src/worker/testing/fixture_worker")],
}
TOKEN = "0123456789abcdefABCDEF0123456789"


def negotiation(codec):
    return {
        "type": "protocol_negotiation",
        "supported": [codec],
        "preferred": codec,
        "version": 2,
        "features": ["stream", "session"],
    }


def frame(payload):
    return struct.pack(">I", len(payload)) + payload


def settled(measure, limit_s=LIMIT_S):
    """The value of `measure` once it has been the same for a second."""
    end = time.monotonic() + limit_s
    value, since = measure(), time.monotonic()
    while time.monotonic() < since + 1:
        if time.monotonic() > end:
            raise AssertionError(f"it goes on changing: {value}")
        now = measure()
        if now != value:
            value, since = now, time.monotonic()
        time.sleep(0.02)
    return value


class Worker(Watched):
    """A worker process, started as its pool would start it."""

    def __init__(self, name, arguments, stdin, stdout, variables, wrapper=()):
        """wrapper: the command line of a program that runs the worker."""
        self.errors = tempfile.TemporaryFile()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self.process = subprocess.Popen(
            [*wrapper, *WORKERS[name], *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=self.errors,
            env={**environment, "PYTHONPATH": PYTHON_PATH, **variables},
            preexec_fn=limit_this_process,
        )
        super().__init__(self.process.pid)

    def environment(self):
        """The variables as /proc shows them: bytes."""
        return read(f"/proc/{self.pid}/environ")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()
        for file in (self.process.stdin, self.process.stdout):
            if file:
                with contextlib.suppress(BrokenPipeError):
                    file.close()


class Stdio(Worker):
    """The pool's end of a worker's stdio, which need not read."""

    def __init__(self, name, codec="json", capacity=1, wrapper=(), **variables):
        pipe = subprocess.PIPE
        arguments = ["--capacity", str(capacity), "--transport", "stdio"]
        super().__init__(name, arguments, pipe, pipe, variables, wrapper)
        self.codec = "json"
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        self._buffer = b""
        self._messages = []
        os.set_blocking(self._in, False)
        self.send(negotiation(codec))
        if self.receive()["protocol"] != codec:
            raise AssertionError(f"the worker has no {codec}")
        self.codec = codec

    def pack(self, message):
        packs = {"json": lambda m: json.dumps(m).encode(), "msgpack": msgpack.packb}
        return frame(packs[self.codec](message))

    def flood(self, data):
        """Writes as long as the worker reads, and returns the rest."""
        view = memoryview(data)
        while view and select.select([], [self._in], [], 2)[1]:
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(self._in, view[: 1 << 16]) :]
        return view

    def write(self, data):
        if self.flood(data):
            raise AssertionError("the worker does not read")

    def write_and_read(self, data, count):
        """Writes, and meanwhile reads so many messages."""
        view = memoryview(data)
        messages = self._messages
        while len(messages) < count:
            writers = [self._in] if view else []
            readable, writable, _ = select.select([self._out], writers, [], LIMIT_S)
            if not readable and not writable:
                raise AssertionError(f"silence after {len(messages)} of {count} messages")
            if writable:
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._in, view[: 1 << 16]) :]
            if readable:
                data = os.read(self._out, 1 << 20)
                if not data:
                    raise AssertionError(f"the end after {len(messages)} of {count} messages")
                self._buffer += data
                messages += self._whole_messages()
        self._messages = messages[count:]
        return messages[:count]

    def _whole_messages(self):
        begin = 0
        while len(self._buffer) >= begin + 4:
            end = begin + 4 + struct.unpack_from(">I", self._buffer, begin)[0]
            if len(self._buffer) < end:
                break
            payload = self._buffer[begin + 4 : end]
            yield msgpack.unpackb(payload) if self.codec == "msgpack" else json.loads(payload)
            begin = end
        self._buffer = self._buffer[begin:]

    def send(self, *messages):
        self.write(b"".join(self.pack(message) for message in messages))

    def receive(self):
        return self.write_and_read(b"", 1)[0]

    def call(self, command, request_id, **args):
        self.send({"id": request_id, "command": command, "args": args})
        return self.receive()

    def is_well(self, request_id):
        """True if the worker answers a health query, and sends nothing else."""
        self.send({"type": "health", "id": request_id})
        reply = self.receive()
        return reply["id"] == request_id and reply["result"]["healthy"]

    def request_of(self, request_id, kind, count):
        """The frame of a call whose args are many small elements."""
        unit = {"maps": (b"{}", b"\x80"), "nulls": (b"0", b"\xc0")}[kind][self.codec == "msgpack"]
        if self.codec == "json":
            begin = b'{"id":%d,"command":"echo","args":{"a":[' % request_id
            return frame(begin + unit + (b"," + unit) * (count - 1) + b"]}}")
        begin = b"\x83\xa2id" + msgpack.packb(request_id) + b"\xa7command\xa4echo\xa4args\x81\xa1a"
        return frame(begin + b"\xdd" + struct.pack(">I", count) + unit * count)

    def end_input(self):
        self.process.stdin.close()


class Grpc(Worker):
    """A worker that serves on a Unix socket."""

    def __init__(self, name, path, capacity=1, **variables):
        self.path = path
        arguments = ["--capacity", str(capacity), "--transport", "grpc", "--socket", path]
        super().__init__(name, arguments, subprocess.DEVNULL, subprocess.PIPE, variables)
        announced = self.process.stdout.readline().decode()
        if announced != f"GRPC_READY:{path}\n":
            raise AssertionError(f"the worker announced {announced!r}")


class ClientTestCase(FolderTestCase):
    @contextlib.contextmanager
    def held(self, begin):
        """Lets a handler run meanwhile. `begin` makes a call of `hold` with the arguments it gets."""
        started, released = self.fifo("started"), self.fifo("release")
        begin({"started": started, "release": released})
        with open(started, "rb"):
            pass
        yield
        os.close(os.open(released, os.O_WRONLY | os.O_NONBLOCK))
        os.unlink(started)
        os.unlink(released)

    def worker(self, kind, *arguments, **variables):
        worker = kind(*arguments, **variables)
        self.addCleanup(worker.close)
        return worker

    @contextlib.contextmanager
    def grows_at_most(self, mib, worker):
        worker.begin_peak()
        yield
        self.assertLessEqual(worker.growth_mib(), mib, "MiB more")

    def assert_comes_back_to(self, descriptors, threads, worker, limit_s=LIMIT_S):
        """Waits until there are as few descriptors and threads again."""
        self.assertIsNotNone(
            wait_until(lambda: worker.descriptors() <= descriptors, limit_s),
            f"{worker.descriptors()} descriptors, {descriptors} before",
        )
        self.assertIsNotNone(
            wait_until(lambda: worker.threads() <= threads, limit_s),
            f"{worker.threads()} threads, {threads} before",
        )
