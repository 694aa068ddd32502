"""Runs the command `snakepit` as a user would, and sees that nothing of it is left."""

import contextlib
import os
import select
import subprocess
import tempfile
import time
import unittest

SNAKEPIT = os.path.abspath("src/cli/snakepit")
PYTHON = "/usr/bin/python3"
LEGACY = os.path.abspath("src/testing/legacy")
# Far longer than anything takes: what is over it hangs.
LIMIT_S = 60


def legacy(script, *argv):
    """The command line of a worker of src/testing/legacy."""
    return ["--", PYTHON, os.path.join(LEGACY, script), *argv]


def misbehaving(fault, *argv):
    return legacy("misbehaving_worker.py", "--fault", fault, *argv)


def _processes_with(marker, guardian_of):
    """The pids of processes with the marker in their environment, and of the guardian."""
    found = []
    guardian = f"snakepit-guardian {guardian_of}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/environ", "rb") as file:
                environ = file.read()
            with open(f"/proc/{name}/cmdline", "rb") as file:
                cmdline = file.read().replace(b"\0", b" ")
            if marker in environ or cmdline.startswith(guardian):
                found.append(int(name))
    return found


class CliTestCase(unittest.TestCase):
    def setUp(self):
        # A variable that workers inherit, so that they can be found; sockets go there.
        self.folder = tempfile.mkdtemp(prefix="m", dir="/tmp")
        self.addCleanup(self._remove_folder)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("XDG_RUNTIME_DIR", "BUILD_WORKING_DIRECTORY")
        }
        self.environment["TMPDIR"] = self.folder

    def _remove_folder(self):
        subprocess.run(["rm", "-rf", self.folder], check=True)

    def start(self, *arguments, **options):
        """The command as a Popen, killed at the end of the test if need be."""
        process = subprocess.Popen(
            [SNAKEPIT, *arguments],
            env=self.environment,
            text=True,
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **options,
            },
        )

        def end():
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()

        self.addCleanup(end)
        return process

    def run_cli(self, *arguments, **options):
        """(exit code, stdout, stderr); nothing may be left."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        self.assert_nothing_left(process.pid)
        return process.returncode, stdout, stderr

    def wait_for_exit(self, process):
        return process.wait(timeout=LIMIT_S)

    def assert_nothing_left(self, pid):
        """An orderly end leaves no process and no file behind at that moment."""
        left = self.left(pid)
        self.assertEqual(left, [], f"of {pid} are left: {left}")
        self.assertEqual(os.listdir(self.folder), [])

    def assert_nothing_stays(self, pid):
        """After an exit at once, the guardian ends what is left."""
        poller = select.poll()
        for left in self.left(pid):
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(left)
                self.addCleanup(os.close, fd)
                poller.register(fd, select.POLLIN)
                self.assertTrue(poller.poll(LIMIT_S * 1000), f"{left} stays")
                poller.unregister(fd)
        self.assertEqual(self.left(pid), [])

    def left(self, pid):
        """The pids of what the command with that pid has started, and is there."""
        found = _processes_with(self.folder.encode(), pid)
        return [p for p in found if p != pid]


class Timer:
    """Measures a block: `with Timer() as timer: …; timer.seconds`."""

    def __enter__(self):
        self._start = time.monotonic()
        return self

    def __exit__(self, *unused):
        self.seconds = time.monotonic() - self._start

