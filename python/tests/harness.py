"""Runs workers like a pool: as processes, over pipes, a socket pair, or gRPC."""

import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import snakepit_bridge

_PACKAGE = os.path.dirname(os.path.abspath(snakepit_bridge.__file__))
PYTHON_PATH = os.path.dirname(_PACKAGE)
HERE = os.path.dirname(os.path.abspath(__file__))
BUNDLED = ["-P", "-m", "snakepit_bridge"]
# The one fixture worker, and the same with a capacity of 4.
FIXTURE = [os.path.join(HERE, "fixture_worker.py")]
FIXTURE_OF_FOUR = [*FIXTURE, "--capacity", "4"]

# The longest wait of a test, in seconds. The events that tests wait for take milliseconds.
LIMIT_S = 60.0

# The environment that a pool passes on, without variables that change how Python starts.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] = "1"
ENVIRONMENT["PYTHONPATH"] = PYTHON_PATH

NEGOTIATION = {
    "type": "protocol_negotiation",
    "supported": ["msgpack", "json"],
    "preferred": "json",
    "timestamp": "2024-01-01T00:00:00Z",
    "version": 2,
    "features": ["stream", "session", "a-later-one"],
    "a_later_field": {},
}


def start(arguments, stdin, stdout, **env):
    """Starts a worker process; `arguments` are those of command()."""
    return subprocess.Popen(
        command(arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, **env},
    )


def command(arguments):
    """The argument vector of a worker, given Python's arguments, or a program and its own."""
    is_for_python = arguments[0].startswith("-") or arguments[0].endswith(".py")
    return [sys.executable, *arguments] if is_for_python else [*arguments]


class WorkerTestCase(unittest.TestCase):
    """Ends every process that a test has started, and removes the test's folder."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sp")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name, text=None):
        """A path in the test's folder; with a text, writes the file."""
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        return path

    def fifo(self, name):
        """Makes a named pipe in the test's folder; opening one end waits for the other."""
        path = self.path(name)
        os.mkfifo(path)
        return path

    def await_start(self, started):
        """Returns once a handler has opened the named pipe for writing, and closed it."""
        pipe = os.open(started, os.O_RDONLY | os.O_NONBLOCK)
        try:
            # The poll sees a writer's end, but no end before there was a writer.
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            self.assertTrue(poll.poll(LIMIT_S * 1000), "no handler runs")
        finally:
            os.close(pipe)

    def held(self, begin):
        """Begins a call by begin(started=…, release=…), which are the arguments of `hold`. Once its
        handler runs, returns what `begin` has returned, and a function that lets the handler end."""
        folder = tempfile.mkdtemp(dir=self.folder)
        started, release = self.fifo(folder + "/started"), self.fifo(folder + "/release")
        call = begin(started=started, release=release)
        self.await_start(started)

        def end():
            # This fails at once if the handler, the pipe's reader, is gone.
            os.close(os.open(release, os.O_WRONLY | os.O_NONBLOCK))

        return call, end

    def hold(self, worker, request_id=1):
        """Begins a call of `hold` over stdio, and returns a function that lets it end."""
        return self.held(lambda **pipes: worker.begin("hold", request_id, **pipes))[1]

    def stdio(self, arguments=None, socketpair=False, negotiation=None, **env):
        """Starts a StdioWorker, and negotiates if a negotiation is given."""
        worker = StdioWorker(arguments or BUNDLED, socketpair, env)
        self.addCleanup(worker.kill)
        if negotiation is not None:
            worker.send(negotiation)
            self.assertEqual("protocol_selected", worker.receive()["type"])
        return worker

    def grpc(self, arguments=None, **env):
        """Starts a GrpcWorker on a Unix socket in the test's folder."""
        from grpc_client import GrpcWorker

        worker = GrpcWorker(arguments or BUNDLED, self.path("worker socket"), env)
        self.addCleanup(worker.kill)
        return worker


class CallsTestCase(WorkerTestCase):
    """Starts calls of the fixture worker over stdio, in version 2."""

    def worker(self, arguments=None, **options):
        return self.stdio(arguments or FIXTURE, negotiation=NEGOTIATION, **options)

    def begin_waiting(self, worker, request_id=1, **args):
        """Begins a call of until_cancelled; returns once its handler runs."""
        started = self.fifo(f"started{request_id}")
        worker.begin("until_cancelled", request_id, started=started, **args)
        self.await_start(started)


class StdioWorker:
    """A worker process and the pool's end of its stdio."""

    def __init__(self, arguments, socketpair, env):
        if socketpair:
            ours, theirs = socket.socketpair()
            self.process = start(arguments, theirs, theirs, **env)
            theirs.close()
            self._write_fd = self._read_fd = ours.detach()
        else:
            their_in, self._write_fd = os.pipe()
            self._read_fd, their_out = os.pipe()
            self.process = start(arguments, their_in, their_out, **env)
            os.close(their_in)
            os.close(their_out)
        self._buffer = b""

    def send_bytes(self, data):
        """Writes bytes unchanged."""
        while data:
            data = data[os.write(self._write_fd, data) :]

    def send(self, *messages):
        """Writes JSON messages in one piece."""
        self.send_bytes(b"".join(frame(json.dumps(m).encode()) for m in messages))

    def receive_bytes(self):
        """The payload of the next frame; None at the end."""
        header = self._take(4)
        return None if header is None else self._take(struct.unpack(">I", header)[0])

    def receive(self):
        """The next JSON message; None at the end."""
        payload = self.receive_bytes()
        return None if payload is None else json.loads(payload)

    def call(self, command, request_id=1, *, members=None, **args):
        """The reply to a request."""
        self.begin(command, request_id, members=members, **args)
        return self.receive()

    def begin(self, command, request_id=1, *, members=None, **args):
        """Sends a request, with further members if given."""
        request = {"id": request_id, "command": command, "args": args}
        self.send({**request, **(members or {})})

    def cancel(self, request_id=1):
        """Cancels a call."""
        self.send({"type": "cancel", "id": request_id})

    def is_silent(self, seconds):
        """True if nothing arrives for that many seconds."""
        return not self._buffer and not select.select([self._read_fd], [], [], seconds)[0]

    def stream(self, command, request_id=1, **args):
        """All messages that answer a streaming request."""
        self.send({"id": request_id, "command": command, "args": args, "stream": True})
        messages = [self.receive()]
        while not messages[-1]["final"]:
            messages.append(self.receive())
        return messages

    def close_input(self):
        """Closes the worker's stdin."""
        if self._write_fd == self._read_fd:
            end = socket.socket(fileno=os.dup(self._write_fd))
            end.shutdown(socket.SHUT_WR)
            end.close()
        else:
            os.close(self._write_fd)
            self._write_fd = -1

    def wait(self):
        """Waits for the end of the process; returns (exit status, stderr)."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors.decode()

    def kill(self):
        """Kills the process and closes the connection."""
        self.process.kill()
        self.process.communicate()
        for fd in {self._write_fd, self._read_fd} - {-1}:
            os.close(fd)

    def _take(self, count):
        while len(self._buffer) < count:
            ready, _, _ = select.select([self._read_fd], [], [], LIMIT_S)
            if not ready:
                raise TimeoutError("the worker did not answer")
            data = os.read(self._read_fd, 1 << 20)
            if not data:
                if self._buffer:
                    raise EOFError(f"the worker left half a frame: {self._buffer!r}")
                return None
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def frame(payload):
    """A frame: the payload after its length."""
    return struct.pack(">I", len(payload)) + payload
