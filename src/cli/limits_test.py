"""The command `snakepit` under limits that are too small: an error that names them, no crash."""

import os
import resource
import shutil
import unittest

from cli_fixture import SNAKEPIT, CliTestCase

# A bare worker of version 1 that speaks JSON without a handshake, in one thread and one file.
WORKER = """
import json, struct, sys
while head := sys.stdin.buffer.read(4):
    request = json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0]))
    result = {"text": "x" * 100_000} if request["command"] == "large" else {"status": "ok"}
    reply = json.dumps({"id": request["id"], "success": True, "result": result}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(reply)) + reply)
    sys.stdout.buffer.flush()
"""
WORKER_ARGV = ("--no-handshake", "--codec", "json", "--", "/usr/bin/python3", "-c", WORKER)
USER_OF_NOBODY = 1_000_000 + os.getpid()  # and no process

# Accepts each connection, and sends nothing.
LISTENER = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    connection, _ = listener.accept()
    print("accepted", file=sys.stderr, flush=True)
"""


def become_limited(threads):
    if os.getuid() == 0:  # limits do not bind root
        os.setgroups([])
        os.setgid(USER_OF_NOBODY)
        os.setuid(USER_OF_NOBODY)
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


class LimitsTest(CliTestCase):
    def as_another_user(self):
        """Copies the command for other users: the program, and the folder for its sockets."""
        program = shutil.copy(SNAKEPIT, self.folder)
        self.addCleanup(os.unlink, program)
        folder = os.path.join(self.folder, "t")
        os.mkdir(folder)
        os.chmod(self.folder, 0o755)
        os.chmod(folder, 0o1777)
        self.environment["TMPDIR"] = folder
        return program, folder

    def test_too_few_threads_are_an_error_that_names_the_limit(self):
        program, folder = self.as_another_user()
        succeeded = 0
        for threads in range(1, 12):
            with self.subTest(threads):
                process = self.start(
                    *("exec", "ping", *WORKER_ARGV),
                    executable=program,
                    preexec_fn=lambda: become_limited(threads),
                    cwd="/",
                )
                _, stderr = process.communicate(timeout=60)
                if process.returncode == 0:
                    succeeded += 1
                    continue
                self.assertEqual(process.returncode, 1, stderr)
                self.assertIn("error: ", stderr)
                self.assertIn("(RLIMIT_NPROC, ulimit -u)", stderr)
                self.assertEqual(os.listdir(folder), [])
        if os.getuid() == 0:
            self.assertGreater(succeeded, 0)

    def test_too_little_address_space_is_an_error_that_names_the_limit(self):
        succeeded = 0
        for mebibytes in range(32, 132, 4):
            with self.subTest(mebibytes):
                limit = mebibytes << 20
                code, _, stderr = self.run_cli(
                    *("exec", "ping", *WORKER_ARGV),
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
                )
                if code == 0:
                    succeeded += 1
                elif "while loading shared libraries" not in stderr:
                    self.assertEqual(code, 1, stderr)
                    self.assertIn("error: ", stderr)
                    self.assertIn("(RLIMIT_AS, ulimit -v)", stderr)
        self.assertGreater(succeeded, 0)

    def test_too_few_descriptors_are_an_error_that_says_so(self):
        succeeded = 0
        for descriptors in range(3, 40):
            with self.subTest(descriptors):
                code, _, stderr = self.run_cli(
                    *("exec", "ping", *WORKER_ARGV),
                    preexec_fn=lambda: resource.setrlimit(
                        resource.RLIMIT_NOFILE, (descriptors, descriptors)
                    ),
                )
                if code == 0:
                    succeeded += 1
                elif "cannot open shared object file" not in stderr:
                    self.assertEqual(code, 1, stderr)
                    self.assertRegex(stderr, "error: .*Too many open files")
        self.assertGreater(succeeded, 0)

    def test_too_few_descriptors_leave_no_folder(self):
        for descriptors in range(5, 40):
            with self.subTest(descriptors):
                code, _, stderr = self.run_cli(  # which checks that nothing is left
                    *("exec", "ping", "--transport", "grpc", "--", "/bin/false"),
                    preexec_fn=lambda: resource.setrlimit(
                        resource.RLIMIT_NOFILE, (descriptors, descriptors)
                    ),
                )
                self.assertEqual(code, 1, stderr)
                self.assertIn("error: ", stderr)

    def test_too_little_address_space_for_grpc_is_named(self):
        limit = 150 << 20
        stderr = self.listen(
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        )
        self.assertIn("did not start: gRPC cannot be used: this process can start ", stderr)
        self.assertIn("an address space of 150 MiB (RLIMIT_AS, ulimit -v)", stderr)

    def listen(self, *arguments, **options):
        """The command's stderr about a worker that only accepts connections."""
        program, folder = self.as_another_user()
        process = self.start(
            *("exec", "ping", "--transport", "grpc", "--start-timeout", "3s", *arguments),
            *("--", "/usr/bin/python3", "-c", LISTENER, "{socket}"),
            executable=program,
            cwd="/",
            **options,
        )
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, stderr)
        self.assertEqual(os.listdir(folder), [])
        return stderr

    def test_too_few_threads_for_grpc_are_named(self):
        stderr = self.listen(preexec_fn=lambda: become_limited(8))
        self.assertIn("did not start: gRPC cannot be used: this process can start ", stderr)

    def test_a_umask_of_0777_does_not_make_sockets_unusable(self):
        def set_umask():
            become_limited(1_000)
            os.umask(0o777)

        self.assertIn("worker 0: accepted", self.listen(preexec_fn=set_umask))

    def test_an_output_over_the_file_size_limit_is_an_error(self):
        path = os.path.join(os.environ["TEST_TMPDIR"], "out")
        with open(path, "w", encoding="utf-8") as out:
            code, _, stderr = self.run_cli(
                *("exec", "large", *WORKER_ARGV),
                stdout=out,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
            )
        self.assertEqual(code, 1)
        self.assertIn("error: cannot write to stdout: File too large (EFBIG)", stderr)


if __name__ == "__main__":
    unittest.main()
