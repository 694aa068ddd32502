"""A worker over gRPC ends with the pool that started it. PROTOCOL.md 1.4.9."""

import os
import select
import socket
import subprocess
import unittest

from both_sdks import BOTH
from grpc_client import Client, encode, pb
from harness import ENVIRONMENT, LIMIT_S, WorkerTestCase, command, start

# Long enough to see a worker that ends by mistake.
A_WHILE_S = 0.3

# A pool: starts the worker of its arguments, prints its pid and address, and waits.
POOL = '''
import subprocess, sys
worker = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
print(worker.pid, worker.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
'''


class PoolWatchTest(WorkerTestCase):
    def arguments(self, path):
        return command([*path, "--transport", "grpc", "--socket", self.path("s")])

    def worker(self, path, stdin, prefix=(), close_stdin=False, **env):
        """Starts a process that serves in the test's folder, and waits until it serves."""
        process = subprocess.Popen(
            [*prefix, *self.arguments(path)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **env},
            preexec_fn=(lambda: os.close(0)) if close_stdin else None,
        )
        self.addCleanup(self.end, process)
        announced = process.stdout.readline().decode()
        self.assertEqual(f"GRPC_READY:{self.path('s')}\n", announced)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
            process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            if file is not None:
                file.close()

    def assert_serves(self, process):
        client = Client("unix:" + self.path("s"))
        self.assertTrue(client.call("ping").success)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(A_WHILE_S)
        self.assertTrue(client.call("ping").success)
        client.channel.close()

    def assert_ends(self, process):
        self.assertEqual(0, process.wait(LIMIT_S))
        self.assertFalse(os.path.exists(self.path("s")))
        self.assertIn(b"the pool is gone", process.stderr.read())

    def test_it_ends_at_the_end_of_a_pipe_or_socket(self):
        for path in BOTH:
            for make in (os.pipe, lambda: [end.detach() for end in socket.socketpair()]):
                theirs, ours = make()
                process = self.worker(path, theirs)
                os.close(theirs)
                os.write(ours, b"what is written means nothing")
                self.assert_serves(process)
                os.close(ours)
                self.assert_ends(process)

    def test_it_ends_behind_a_shell(self):
        for path in BOTH:
            shell = ["/bin/sh", "-c", '"$@"; exit 5', "sh"]
            process = self.worker(path, subprocess.PIPE, shell)
            self.assert_serves(process)
            process.stdin.close()
            self.assertEqual(5, process.wait(LIMIT_S))

    def test_a_busy_handler_delays_the_end_for_a_limited_time(self):
        for path in BOTH:
            process = self.worker(path, subprocess.PIPE)
            client = Client("unix:" + self.path("s"))
            execute = client.execute.future
            call, _ = self.held(
                lambda **pipes: execute(pb.ExecuteRequest(command="hold", args=encode(pipes)))
            )
            process.stdin.close()
            self.assert_ends(process)
            self.assertIsNotNone(call.exception(LIMIT_S))
            client.channel.close()

    def test_it_serves_if_its_stdin_cannot_show_the_end(self):
        at_its_end, writer = os.pipe()
        self.addCleanup(os.close, at_its_end)
        os.close(writer)
        with open(self.path("input", ""), "rb") as file:
            for path in BOTH:
                for stdin in (subprocess.DEVNULL, file, at_its_end):
                    process = self.worker(path, stdin)
                    self.assert_serves(process)
                    process.terminate()
                    self.assertEqual(0, process.wait(LIMIT_S))
                process = self.worker(path, subprocess.DEVNULL, close_stdin=True)
                self.assert_serves(process)
                self.end(process)

    def test_a_pool_that_names_its_worker_gives_it_no_stdin(self):
        # Wrappers that pass their input on make a pipe of /dev/null.
        for path in BOTH:
            process = self.worker(path, subprocess.PIPE, SNAKEPIT_WORKER_ID="w7")
            process.stdin.close()
            self.assert_serves(process)
            self.end(process)

    def test_a_reader_of_the_announcement_alone_is_no_pool(self):
        for path in BOTH:
            process = self.worker(path, subprocess.DEVNULL)
            process.stdout.close()
            self.assert_serves(process)
            self.end(process)

    def test_it_ends_when_nobody_reads_it_and_its_parent_has_ended(self):
        for path in BOTH:
            arguments = [self.path("pool.py", POOL), *self.arguments(path)]
            pool = start(arguments, subprocess.PIPE, subprocess.PIPE)
            self.addCleanup(self.end, pool)
            ended = os.pidfd_open(int(pool.stdout.readline().split()[0]))
            self.addCleanup(os.close, ended)
            self.assertFalse(select.select([ended], [], [], A_WHILE_S)[0])
            pool.kill()
            self.assertTrue(select.select([ended], [], [], LIMIT_S)[0])
            self.assertFalse(os.path.exists(self.path("s")))


if __name__ == "__main__":
    unittest.main()
