"""Code in the working folder does not run, whatever its name."""

import os
import subprocess
import sys
import tempfile
import unittest

import cli_fixture
from cli_fixture import PYTHON

ROOT = os.getcwd()
PYTHON_FOLDER = os.path.join(ROOT, "python")
GREETER = os.path.join(ROOT, "examples", "greeter.py")

# Notes that it was imported, and by which program.
TRAP = """
import sys
with open({path!r}, "a") as file:
    file.write({name!r} + " by " + repr(sys.orig_argv) + "\\n")
"""
OTHERS = ("msgpack", "grpc", "google", "snakepit_bridge", "snakepit", "numpy")
CUSTOM = ("sitecustomize", "usercustomize")

# A worker whose handler has multiprocessing start a new Python.
SPAWNING_WORKER = """
import multiprocessing
from snakepit_bridge import Worker

worker = Worker("spawning")

def put(queue):
    queue.put("done")

@worker.command("spawn")
def spawn():
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    process.join()
    return queue.get()

if __name__ == "__main__":
    worker.main()
"""


class WorkingFolderTest(cli_fixture.CliTestCase):
    def setUp(self):
        super().setUp()
        other = tempfile.TemporaryDirectory()
        self.addCleanup(other.cleanup)
        self.imported = os.path.join(other.name, "imported")
        self.script = os.path.join(other.name, "script", "worker.py")
        os.mkdir(os.path.dirname(self.script))
        self.working_folder = os.path.join(other.name, "cloned")
        os.mkdir(self.working_folder)
        for name in {*sys.stdlib_module_names, *OTHERS, *CUSTOM}:
            with open(os.path.join(self.working_folder, name + ".py"), "w") as file:
                file.write(TRAP.format(path=self.imported, name=name))
        # The project's own folder has these, too.
        os.symlink(PYTHON_FOLDER, os.path.join(self.working_folder, "python"))
        os.symlink(os.path.dirname(GREETER), os.path.join(self.working_folder, "examples"))

    def run_here(self, *argv, **environment):
        """Runs a program in the folder: its output."""
        done = subprocess.run(
            argv,
            cwd=self.working_folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=cli_fixture.LIMIT_S,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def assert_nothing_ran(self):
        if os.path.exists(self.imported):
            with open(self.imported) as file:
                self.fail(file.read())

    def test_the_bundled_worker(self):
        for transport in ("stdio", "grpc"):
            exec_ping = (cli_fixture.SNAKEPIT, "exec", "ping", "--transport", transport)
            self.assertIn('"status":"ok"', self.run_here(*exec_ping))
        chunks = self.run_here(cli_fixture.SNAKEPIT, "stream", "tail_and_analyze")
        self.assertIn("severity", chunks)
        self.assert_nothing_ran()

    def test_the_judge(self):
        judge = os.path.join(ROOT, "conformance", "conformance")
        worker = (os.path.join(ROOT, "conformance", "python_worker.sh"), "-P", "-m", "snakepit_bridge")
        for transport, arguments in (
            ("stdio", ()),
            ("grpc", ("--transport", "grpc", "--socket", "{socket}")),
        ):
            verdict = self.run_here(
                judge, "run", "--transport", transport, "--case", "ping/roundtrip",
                "--", *worker, *arguments,
            )
            self.assertIn("1 passed, 0 failed", verdict)
        self.assert_nothing_ran()

    def test_the_commands_of_the_documents(self):
        greet = (cli_fixture.SNAKEPIT, "exec", "greet", "--")
        worker = (PYTHON, "examples/greeter.py")
        self.assertIn("Hello", self.run_here(*greet, *worker, PYTHONPATH="python"))
        greet = (*greet[:-1], "--transport", "grpc", "--")
        worker = (*worker, "--transport", "grpc", "--socket", "{socket}")
        self.assertIn("Hello", self.run_here(*greet, *worker, PYTHONPATH="python"))
        by_hand = (PYTHON, "-P", "-m", "snakepit_bridge", "--version")
        self.assertIn("snakepit_bridge", self.run_here(*by_hand, PYTHONPATH=PYTHON_FOLDER))
        self.assert_nothing_ran()

    def test_processes_of_multiprocessing_keep_the_flag(self):
        with open(self.script, "w") as file:
            file.write(SPAWNING_WORKER)
        spawn = (cli_fixture.SNAKEPIT, "exec", "spawn", "--", PYTHON, "-P", self.script)
        self.assertIn("done", self.run_here(*spawn, PYTHONPATH=PYTHON_FOLDER))
        self.assert_nothing_ran()


if __name__ == "__main__":
    unittest.main()
