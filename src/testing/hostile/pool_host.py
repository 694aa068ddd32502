"""Runs hostile_host with a hostile worker, and watches it from outside."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

HERE = os.path.abspath(os.path.dirname(__file__))
HOST = os.path.abspath("src/testing/hostile/hostile_host")
PYTHON_PATH = os.path.abspath("python")

MIB = 1 << 20
# Limit of every wait. Each takes far less.
LIMIT_S = 40.0
# Address space of a host, so that one that grows without end fails.
ADDRESS_SPACE = 8 << 30


def wait_until(condition, limit_s=LIMIT_S):
    """The value of `condition` once it is true; None if it never is."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value or None
        time.sleep(0.01)


def read(path):
    """The bytes of a file of /proc; none if its process is gone."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


class Watched:
    """The figures of a process: its memory, descriptors and threads."""

    def __init__(self, pid):
        self.pid = pid

    def _status(self, name):
        for line in read(f"/proc/{self.pid}/status").decode().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise AssertionError(f"process {self.pid} is gone")

    def threads(self):
        return self._status("Threads")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def begin_peak(self):
        """Begins the measurement of growth_mib()."""
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        self._begin = self._status("VmRSS")

    def growth_mib(self):
        """The peak growth of the memory since begin_peak()."""
        return (self._status("VmHWM") - self._begin) / 1024


class Host(Watched):
    """A program with a pool of hostile workers."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.mark = "HOSTILE_MARK=" + uuid.uuid4().hex  # each worker has it in its environment
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            preexec_fn=limit_this_process,
        )
        super().__init__(self.process.pid)
        self.expected_status = 0
        self.events = []
        self._changed = threading.Condition()
        self._tags = 0
        self._writing = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self.events.append({"event": "ended"})
            self._changed.notify_all()

    def do(self, **line):
        data = json.dumps(line).encode() + b"\n"
        try:
            with self._writing:
                self.process.stdin.write(data)
                self.process.stdin.flush()
        except BrokenPipeError as error:
            raise AssertionError(self.end_text()) from error

    def end_text(self):
        status = self.process.wait()
        self.errors.seek(0)
        return f"the host ended with {status}: {self.errors.read()[-2000:]!r}"

    def forget(self):
        """Drops the events so far."""
        with self._changed:
            self.events.clear()

    def wait(self, limit_s=LIMIT_S, **members):
        """The first event with these members."""
        end = time.monotonic() + limit_s
        seen = 0
        with self._changed:
            while True:
                for event in self.events[seen:]:
                    if all(event.get(name) == value for name, value in members.items()):
                        return event
                    if event["event"] == "ended":
                        raise AssertionError(self.end_text())
                seen = len(self.events)
                if not self._changed.wait(max(0, end - time.monotonic())):
                    raise AssertionError(f"no {members} within {limit_s} s")

    def start(self, behaviour, *arguments, limit_s=LIMIT_S, environment=None, **options):
        """Starts a pool of that worker: the outcome of Pool::Start."""
        argv = ["/usr/bin/python3", "-B", os.path.join(HERE, "hostile_worker.py"), behaviour]
        if options.get("transport") == "grpc":
            argv += ["--transport", "grpc"]
        name, value = self.mark.split("=")
        environment = {
            name: value,
            "PYTHONPATH": PYTHON_PATH,
            "HOSTILE_FOLDER": self.folder,
            **(environment or {}),
        }
        self.do(do="start", argv=[*argv, *arguments], environment=environment, **options)
        return self.wait(limit_s, event="start")

    def begin(self, command, **options):
        """Begins a call: its tag, for end()."""
        tag = self._new_tag()
        self.do(do="call", command=command, tag=tag, **options)
        return tag

    def end(self, tag, limit_s=LIMIT_S):
        """Waits for the outcome of a call."""
        return self.wait(limit_s, event="end", tag=tag)

    def call(self, command, **options):
        return self.end(self.begin(command, **options))

    def health(self, worker=0):
        tag = self._new_tag()
        self.do(do="health", worker=worker, tag=tag)
        return self.end(tag)

    def _new_tag(self):
        with self._writing:
            self._tags += 1
            return str(self._tags)

    def workers(self):
        """The pool's present workers."""
        with self._changed:
            before = sum(event["event"] == "workers" for event in self.events)
        self.do(do="workers")

        def answer():
            told = [event for event in list(self.events) if event["event"] == "workers"]
            return told[before:]

        return wait_until(answer)[0]["workers"]

    def shutdown(self, limit_s=LIMIT_S):
        self.do(do="shutdown")
        return self.wait(limit_s, event="shutdown")

    def log(self):
        """The text of each line of the log."""
        return [event["text"] for event in list(self.events) if event["event"] == "log"]

    def left(self):
        """The pids of workers that are left."""
        mark = self.mark.encode()
        return [
            int(pid)
            for pid in os.listdir("/proc")
            if pid.isdigit() and mark in read(f"/proc/{pid}/environ").split(b"\0")
        ]

    def kill(self):
        """Kills the host."""
        self.process.kill()
        self.process.wait()
        self.expected_status = -signal.SIGKILL

    def finish(self):
        """Ends the host, which must exit well and leave no process of its workers."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        left = wait_until(lambda: not self.left(), 10)
        text = self.end_text()
        self.errors.close()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if status != self.expected_status:
            raise AssertionError(text)
        if not left:
            raise AssertionError("processes of a worker are left")


def limit_this_process():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class FolderTestCase(unittest.TestCase):
    """A test with a folder, which goes away with it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="hostile", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def fifo(self, name):
        os.mkfifo(self.path(name))
        return self.path(name)


class HostileTestCase(FolderTestCase):
    def host(self, **environment):
        """Starts a host. The end of the test checks that it exits well."""
        inherited = {
            name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"
        }
        host = Host(self.folder, {**inherited, "TMPDIR": self.folder, **environment})
        self.addCleanup(host.finish)
        return host

    def started(self, behaviour, *arguments, **options):
        """A host with a pool that has started."""
        host = self.host()
        outcome = host.start(behaviour, *arguments, **options)
        self.assertTrue(outcome["ok"], outcome)
        return host

    def noted(self, name):
        """Waits for the text that the worker notes in a file."""
        text = wait_until(lambda: read(self.path(name)).decode(), 20)
        self.assertIsNotNone(text, f"the worker has not noted {name}")
        return text

    @contextlib.contextmanager
    def grows_at_most(self, mib, watched):
        """Checks the peak growth of a process meanwhile."""
        watched.begin_peak()
        yield
        grown = watched.growth_mib()
        self.assertLessEqual(grown, mib, "MiB more")

    @contextlib.contextmanager
    def keeps_descriptors_and_threads(self, watched, more_threads=0):
        """Checks that a process has no more of them afterwards than before."""
        descriptors, threads = watched.descriptors(), watched.threads()
        yield
        self.assertIsNotNone(
            wait_until(lambda: watched.descriptors() <= descriptors),
            f"{watched.descriptors()} descriptors, {descriptors} before",
        )
        self.assertIsNotNone(
            wait_until(lambda: watched.threads() <= threads + more_threads),
            f"{watched.threads()} threads, {threads} before",
        )

    @contextlib.contextmanager
    def others_are_served(self, host, timeout_ms=2000):
        """Checks that calls of good workers succeed in time meanwhile."""
        ended = threading.Event()
        bad = []
        count = [0]

        def call():
            while not ended.is_set():
                end = host.call("echo", timeout_ms=timeout_ms, queue_timeout_ms=timeout_ms)
                count[0] += 1
                if not end["ok"] or end["ms"] > timeout_ms:
                    bad.append(end)

        def run():
            try:
                call()
            except AssertionError as error:
                bad.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        self.assertEqual([], bad[:3])
        self.assertGreater(count[0], 0)
