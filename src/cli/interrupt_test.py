"""An early stop of the command `snakepit` leaves nothing running."""

import contextlib
import os
import signal
import subprocess
import time
import unittest

from cli_fixture import LIMIT_S, CliTestCase, Timer, misbehaving

WRITE = 1  # the number of write(2) on x86-64

SLOW_STREAM = ("stream", "ping_stream", '{"count": 2, "interval": 3600}')


class InterruptTest(CliTestCase):
    def start_silent_call(self, *arguments):
        """Starts a command whose call the worker has, and does not answer."""
        path = os.path.join(os.environ["TEST_TMPDIR"], f"{self.id()}.fifo")
        os.mkfifo(path)
        self.addCleanup(os.unlink, path)
        # Opened for reading and writing, so that it has no end when the worker closes it.
        fifo = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, fifo)
        process = self.start(
            "exec", "fault", *arguments, *misbehaving("silent", "--record", path)
        )
        seen = b""
        while b" fault " not in seen:
            seen += os.read(fifo, 4096)
        # The worker and the guardian: the check for processes that are left finds them.
        self.assertEqual(len(self.left(process.pid)), 2)
        return process

    def test_a_signal_during_a_call_ends_everything_in_order(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                process = self.start_silent_call()
                with Timer() as timer:
                    process.send_signal(number)
                    self.assertEqual(self.wait_for_exit(process), 128 + number)
                self.assert_nothing_left(process.pid)
                self.assertLess(timer.seconds, 10)
                self.assertEqual(
                    process.stderr.read(), f"snakepit: {number.name}: stopping\n"
                )
                self.doCleanups()
                self.setUp()

    def test_a_signal_during_a_stream_ends_everything_in_order(self):
        for transport in ("stdio", "grpc"):
            with self.subTest(transport):
                process = self.start(*SLOW_STREAM, "--transport", transport)
                self.assertIn("Ping 1 of 2", process.stdout.readline())
                process.send_signal(signal.SIGINT)
                self.assertEqual(self.wait_for_exit(process), 130)
                self.assert_nothing_left(process.pid)

    def test_no_further_call_is_started(self):
        process = self.start("exec", "echo", "--repeat", "1000000000")
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertRegex(err, r"\nsummary: \d+ ok, 0 failed")
        self.assert_nothing_left(process.pid)

    def test_a_second_signal_exits_at_once(self):
        process = self.start_silent_call()
        process.send_signal(signal.SIGINT)
        self.assertIn("stopping", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.wait_for_exit(process), 128 + signal.SIGTERM)
        self.assert_nothing_stays(process.pid)

    def test_a_signal_during_the_start_ends_it(self):
        process = self.start(
            *("exec", "ping", "--"), "/bin/sh", "-c", "echo begun >&2; exec sleep 3600"
        )
        self.assertEqual(process.stderr.readline(), "worker 0: begun\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.wait_for_exit(process), 130)
        self.assert_nothing_stays(process.pid)

    def test_a_pipe_that_nobody_reads_any_more_ends_it(self):
        """Like `snakepit … | head -1`, but before there is anything to write."""
        cases = {
            "nothing to write": SLOW_STREAM,
            "much to write": ("exec", "ping", "--repeat", "1000000000"),
        }
        for name, arguments in cases.items():
            with self.subTest(name):
                process = self.start(*arguments)
                process.stdout.readline()
                process.stdout.close()
                self.assertEqual(self.wait_for_exit(process), 141)
                self.assertEqual(process.stderr.read(), "")
                self.assert_nothing_left(process.pid)

    def test_a_pipe_into_head_ends_quietly(self):
        process = self.start("exec", "ping", "--repeat", "1000000000")
        head = subprocess.run(
            ["head", "-1"], stdin=process.stdout, capture_output=True, timeout=60
        )
        process.stdout.close()
        self.assertEqual(head.stdout.count(b"\n"), 1)
        self.assertEqual(self.wait_for_exit(process), 141)
        self.assertEqual(process.stderr.read(), "")
        self.assert_nothing_left(process.pid)

    def full_pipe(self):
        """The write end of a full pipe that nobody reads."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x")
        os.set_blocking(writer, True)
        return writer

    def test_a_signal_gets_through_when_nobody_reads_stdout(self):
        cases = {
            "exec": ("exec", "ping", "--repeat", "1000", "--parallel", "2"),
            "stream": ("stream", "ping_stream", '{"count": 1000, "interval": 0}'),
            "demo": ("demo", "--workers", "2"),
        }
        for name, arguments in cases.items():
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(name, number=number):
                    process = self.start(*arguments, stdout=self.full_pipe())
                    self.wait_until_blocked(process)
                    with Timer() as timer:
                        process.send_signal(number)
                        self.assertEqual(self.wait_for_exit(process), 128 + number)
                    self.assertLess(timer.seconds, 9)
                    self.assertIn(f"{number.name}: stopping", process.stderr.read())
                    self.assert_nothing_left(process.pid)

    def test_a_signal_gets_through_when_nobody_reads_stderr(self):
        process = self.start(
            *("exec", "echo", "--repeat", "1000000000", "--verbose", "--workers", "2"),
            stderr=self.full_pipe(),
        )
        process.stdout.readline()
        process.stdout.readline()
        with Timer() as timer:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            self.assertEqual(self.wait_for_exit(process), 128 + signal.SIGTERM)
        self.assertLess(timer.seconds, 9)
        self.assert_nothing_left(process.pid)

    def test_a_signal_ends_the_help_that_nobody_reads(self):
        process = self.start("exec", "--help", stdout=self.full_pipe())
        self.wait_until_blocked(process)
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.wait_for_exit(process), -signal.SIGINT)

    def test_a_deadline_holds_when_nobody_reads_stdout(self):
        process = self.start(
            *("stream", "ping_stream", '{"count": 1000, "interval": 0}'),
            *("--timeout", "1s", "--start-timeout", "20s"),
            stdout=self.full_pipe(),
        )
        self.assertEqual(self.wait_for_exit(process), 1)
        self.assertRegex(
            process.stderr.read(), "^error: DEADLINE_EXCEEDED: its limit of 1000 ms .* stdout"
        )
        self.assert_nothing_left(process.pid)

    def test_a_deadline_and_the_exit_hold_when_nobody_reads_stderr(self):
        process = self.start(
            *("exec", "fault", "--verbose", "--timeout", "1s", "--start-timeout", "20s"),
            *misbehaving("silent"),
            stderr=self.full_pipe(),
        )
        self.assertEqual(self.wait_for_exit(process), 1)
        self.assert_nothing_left(process.pid)

    def test_a_slow_reader_of_stdout_gets_everything(self):
        count = 3000
        process = self.start("exec", "echo", '{"text": "' + 100 * "x" + '"}', "--repeat", str(count))
        self.wait_until_blocked(process)
        lines = process.stdout.read().splitlines()
        self.assertEqual(len(lines), count)
        self.assertTrue(all(line.endswith("}") for line in lines))
        self.assertEqual(self.wait_for_exit(process), 0)

    def wait_until_blocked(self, process):
        """Waits until a thread of the command waits to write to a pipe."""
        folder = f"/proc/{process.pid}/task"
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            for thread in os.listdir(folder):
                with contextlib.suppress(OSError):
                    with open(f"{folder}/{thread}/syscall", encoding="utf-8") as file:
                        if file.read().split()[0] == str(WRITE):
                            return
            time.sleep(0.01)  # there is no event to wait for
        self.fail("nothing is written")


if __name__ == "__main__":
    unittest.main()
