"""The command `storm`: flags, a red verdict, an interrupt."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import unittest

STORM = os.path.abspath(os.environ["STORM"])
# Far longer than anything takes, so a run that is over it hangs.
PATIENCE_S = 120


class CommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # The value marks the workers, which inherit it. The journal goes there.
        self.folder = folder.name
        self.environment = {**os.environ, "TMPDIR": self.folder}

    def start(self, *arguments):
        return subprocess.Popen(
            [STORM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment,
        )

    def run_storm(self, *arguments):
        """Runs the storm: the exit code and the whole output."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=PATIENCE_S)
            return process.returncode, out + err

    def assert_nothing_left(self):
        self.assertEqual(os.listdir(self.folder), [])
        marker = f"TMPDIR={self.folder}\0".encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/environ", "rb") as file:
                    self.assertNotIn(marker, file.read(), name)

    def test_help_names_the_flags(self):
        code, output = self.run_storm("--help")
        self.assertEqual(code, 0)
        for flag in ("transport", "seconds", "seed", "workers", "callers"):
            self.assertIn(f"--{flag}", output)
        self.assertNotIn("--plant", output)

    def test_what_is_no_flag_is_a_usage_error(self):
        for flag, value in (("--second", 3), ("--transport", "tcp"), ("--workers", 0)):
            code, output = self.run_storm(flag, str(value))
            self.assertEqual(code, 2, output)
            self.assertIn(flag, output)
            self.assertIn("See: storm --help", output)

    def test_a_short_storm_on_both_transports_is_green(self):
        arguments = "--seconds 3 --workers 2 --callers 4"
        code, output = self.run_storm(*arguments.split())
        self.assertEqual(code, 0, output)
        self.assertRegex(output, r"(?s)stdio: \d+ calls.*GREEN.*gRPC: \d+ calls.*GREEN")
        self.assert_nothing_left()

    def test_a_worker_that_notes_executions_twice_turns_it_red(self):
        for transport in ("stdio", "grpc"):
            planted = (
                f"--transport {transport} --seconds 3 --seed 7 --workers 4 --callers 8"
                " --plant double"
            )
            code, output = self.run_storm(*planted.split())
            self.assertEqual(code, 1, output)
            self.assertIn("executed once: it was executed 2 times", output)
            self.assertIn("RED: seed 7", output)
            # The command that is named, and its evidence.
            self.assertIn(f"./bazelw run //storm -- {planted}\n", output)
            self.assertRegex(output, r"call \d+0 ")
            self.assertRegex(output, r"pid \d+ executes call \d+0\n")
            rules = set(re.findall(r"^FAULT  ([a-z ]+):", output, re.MULTILINE))
            self.assertEqual(rules, {"executed once"}, output)

    def test_an_interrupt_ends_it_with_what_there_is(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("--seconds", "3600")
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            self.assertIn("calls", process.stderr.readline())
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, 130, out + err)
            self.assertIn("storm: stopping", err)
            self.assertRegex(out, r"stdio: \d+ calls")
            self.assertNotIn("gRPC", out)
            self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
