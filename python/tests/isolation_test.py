"""Handlers and their children cannot disturb the protocol; a worker's end and command line."""

import os
import signal
import subprocess
import unittest

from harness import BUNDLED, FIXTURE, LIMIT_S, NEGOTIATION, PYTHON_PATH, WorkerTestCase, start


class IsolationTest(WorkerTestCase):
    def test_prints_go_to_stderr_and_the_protocol_stays_clean(self):
        for socketpair in (False, True):
            worker = self.stdio(FIXTURE, socketpair=socketpair, negotiation=NEGOTIATION)
            self.assertEqual("printed", worker.call("print")["result"])
            self.assertTrue(worker.call("ping")["success"])
            worker.close_input()
            self.assertIsNone(worker.receive())
            status, errors = worker.wait()
            self.assertEqual(0, status)
            for text in (
                "printed while the handlers are loaded",
                "hello from a handler",
                "and past Python",
            ):
                self.assertIn(text, errors)

    def test_a_child_has_no_stdin_and_inherits_no_descriptor(self):
        worker = self.stdio(FIXTURE)
        # The second request has arrived when the child runs, which must not read it.
        worker.send({"id": 1, "command": "child"}, {"id": 2, "command": "ping"})
        reply = worker.receive()
        # These are 0, 1, 2 and the descriptor with which ls reads the folder; and no token.
        self.assertEqual("0 1 2 3 0\n", reply["result"])
        self.assertEqual(2, worker.receive()["id"])

    def test_prints_go_to_stderr_over_grpc(self):
        worker = self.grpc(FIXTURE)
        self.assertEqual(b"printed", worker.call("print").result["result"])
        self.assertTrue(worker.call("child").success)
        worker.process.send_signal(signal.SIGTERM)
        rest, errors = worker.process.communicate(timeout=LIMIT_S)
        self.assertEqual(b"", rest)
        self.assertIn(b"hello from a handler", errors)
        self.assertIn(b"and past Python", errors)


class EndTest(WorkerTestCase):
    def test_an_idle_worker_exits_0_at_the_end_of_its_input(self):
        for socketpair in (False, True):
            worker = self.stdio(socketpair=socketpair)
            self.assertTrue(worker.call("ping")["success"])
            worker.close_input()
            self.assertEqual(0, worker.wait()[0])

    def test_a_busy_worker_replies_first(self):
        for socketpair in (False, True):
            worker = self.stdio(FIXTURE, socketpair=socketpair)
            end = self.hold(worker)
            worker.close_input()
            end()
            self.assertTrue(worker.receive()["success"])
            self.assertIsNone(worker.receive())
            self.assertEqual(0, worker.wait()[0])

    def test_sigterm_ends_an_idle_worker(self):
        worker = self.stdio()
        self.assertTrue(worker.call("ping")["success"])
        worker.process.terminate()
        self.assertEqual((0, ""), worker.wait())

    def test_sigterm_lets_a_call_in_progress_end(self):
        worker = self.stdio(FIXTURE)
        end = self.hold(worker)
        worker.send({"id": 2, "command": "ping"})  # arrives too late
        worker.process.terminate()
        end()
        self.assertTrue(worker.receive()["success"])
        self.assertIsNone(worker.receive())
        self.assertEqual(0, worker.wait()[0])

    def test_sigterm_is_bounded_however_long_the_call(self):
        worker = self.stdio(FIXTURE)
        self.hold(worker)
        worker.process.terminate()
        self.assertIsNone(worker.receive())
        self.assertEqual(0, worker.wait()[0])

    def test_sigint_does_not_end_a_worker(self):
        worker = self.stdio()
        self.assertTrue(worker.call("ping")["success"])
        worker.process.send_signal(signal.SIGINT)
        self.assertTrue(worker.call("ping")["success"])

    def test_a_pool_that_is_gone_is_an_error(self):
        worker = self.stdio(FIXTURE, socketpair=True)
        end = self.hold(worker)
        os.close(worker._write_fd)
        worker._write_fd = worker._read_fd = -1
        end()
        status, errors = worker.wait()
        self.assertEqual(1, status)
        self.assertIn("stdio", errors)

    def test_grpc_sigterm_ends_an_idle_worker_and_removes_its_socket(self):
        worker = self.grpc()
        self.assertTrue(worker.call("ping").success)
        worker.process.terminate()
        self.assertEqual(0, worker.wait()[0])
        self.assertFalse(os.path.exists(self.path("worker socket")))

    def test_grpc_sigterm_lets_a_call_in_progress_end(self):
        worker = self.grpc(FIXTURE)
        from grpc_client import encode, pb

        def begin(**pipes):
            return worker.execute.future(pb.ExecuteRequest(command="hold", args=encode(pipes)))

        call, end = self.held(begin)
        worker.process.terminate()
        with self.assertRaises(subprocess.TimeoutExpired):
            worker.process.wait(0.3)  # a worker that did not wait for the call would end in time
        end()
        self.assertTrue(call.result(LIMIT_S).success)
        self.assertEqual(0, worker.wait()[0])


class CommandLineTest(WorkerTestCase):
    def run_worker(self, *arguments, **env):
        process = start([*BUNDLED, *arguments], subprocess.DEVNULL, subprocess.PIPE, **env)
        self.addCleanup(process.kill)  # a failing test may leave it running
        out, errors = process.communicate(timeout=LIMIT_S)
        return process.returncode, out.decode(), errors.decode()

    def test_usage_errors_exit_2(self):
        for arguments in (
            ["--transport", "carrier-pigeon"],
            ["--no-such-flag"],
            ["--port", "1"],
            ["--transport", "grpc", "--port", "65536"],
            ["--transport", "grpc", "--port", "1", "--socket", "x"],
            ["--transport", "grpc", "--socket", ""],
        ):
            status, out, errors = self.run_worker(*arguments)
            self.assertEqual((2, ""), (status, out), arguments)
            self.assertIn("error:", errors)
        self.assertEqual(2, self.run_worker(SNAKEPIT_MAX_FRAME_BYTES="lots")[0])

    def test_help_version_and_the_legacy_mode(self):
        version = self.run_worker("--version")
        self.assertEqual((0, "snakepit_bridge 0.1.0\n"), version[:2])
        self.assertIn("--transport", self.run_worker("--help")[1])
        self.assertEqual((0, ""), self.run_worker("--mode", "pool-worker")[:2])

    def test_grpc_without_an_address_takes_a_free_loopback_port(self):
        ready_file = self.path("ready")
        process = start(
            [*BUNDLED, "--transport", "grpc"],
            subprocess.DEVNULL,
            subprocess.PIPE,
            SNAKEPIT_READY_FILE=ready_file,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        key, _, port = process.stdout.readline().decode().strip().partition(":")
        self.assertEqual("GRPC_READY", key)
        with open(ready_file, encoding="ascii") as file:
            self.assertEqual(port, file.read())
        self.assertEqual(["ready"], os.listdir(self.folder))
        listening = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(table, encoding="ascii") as file:
                listening |= {line.split()[1] for line in file}
        at_port = {a for a in listening if a.endswith(f":{int(port):04X}")}
        # Only 127.0.0.1 is allowed, also as an IPv6 address.
        self.assertRegex(" ".join(at_port), r"^(0{16}FFFF0000)?0100007F:\w+$")

        status, out, errors = self.run_worker("--transport", "grpc", "--port", port)
        self.assertEqual((1, ""), (status, out))
        self.assertIn(f"cannot listen on 127.0.0.1:{port}", errors)

    def test_a_socket_that_is_not_available_is_a_clear_error(self):
        self.grpc()
        for path, reason in (
            (self.path("worker socket"), "another server"),
            (self.path("file", "text"), "the path exists"),
            (self.path("x" * 120), "at most 107 bytes"),
            (self.path("no/such/folder"), "cannot listen"),
        ):
            arguments = ["--transport", "grpc", "--socket", path]
            status, out, errors = self.run_worker(*arguments)
            self.assertEqual((1, ""), (status, out))
            self.assertIn(reason, errors)

    def test_a_socket_left_over_by_a_dead_server_is_taken(self):
        worker = self.grpc()
        worker.kill()
        self.assertTrue(os.path.exists(self.path("worker socket")))
        self.assertTrue(self.grpc().call("ping").success)

    def test_json_over_stdio_needs_neither_msgpack_nor_grpc(self):
        for name in ("msgpack", "grpc", "google"):
            self.path(f"{name}.py", f"raise ImportError('{name} is imported')")
        worker = self.stdio(PYTHONPATH=f"{self.folder}:{PYTHON_PATH}")
        self.assertTrue(worker.call("ping")["success"])


if __name__ == "__main__":
    unittest.main()
