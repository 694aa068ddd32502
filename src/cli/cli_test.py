"""The command `snakepit`: the output and the exit codes of exec and stream."""

import json
import os
import stat
import unittest

from cli_fixture import PYTHON, CliTestCase, Timer, legacy, misbehaving


class ExecTest(CliTestCase):
    def test_a_result_is_one_json_line_on_stdout_and_nothing_else(self):
        for transport in ("stdio", "grpc"):
            with self.subTest(transport):
                code, out, err = self.run_cli(
                    "exec", "echo", '{"n": 1}', "--transport", transport
                )
                self.assertEqual((code, err), (0, ""))
                self.assertEqual(out.count("\n"), 1)
                self.assertEqual(json.loads(out)["echoed"], {"n": 1})

    def test_a_codec_can_be_named_for_the_bundled_worker(self):
        for codec in ("auto", "json", "msgpack"):
            code, out, err = self.run_cli("exec", "ping", "--codec", codec)
            self.assertEqual((code, err), (0, ""), codec)
            self.assertEqual(json.loads(out)["status"], "ok")

    def test_a_failed_call_is_an_error_line_with_a_hint(self):
        code, out, err = self.run_cli(
            "exec", "fault", *misbehaving("exits-mid-request")
        )
        self.assertEqual((code, out), (1, ""))
        lines = err.splitlines()
        self.assertRegex(lines[0], r"^error: WORKER_LOST: worker 0 .*exit code 7")
        self.assertRegex(lines[1], r"^  hint: .*may have run")

    def test_an_unknown_command_lists_the_commands(self):
        for transport in ("stdio", "grpc"):
            code, out, err = self.run_cli("exec", "nope", "--transport", transport)
            self.assertEqual((code, out), (1, ""))
            self.assertRegex(err, "^error: UNIMPLEMENTED: .*nope")
            self.assertIn("ping_stream", err)

    def test_a_failed_handler_is_reported_with_its_stderr(self):
        code, out, err = self.run_cli(
            "exec", "compute", '{"operation": "divide", "a": 1, "b": 0}'
        )
        self.assertEqual((code, out), (1, ""))
        self.assertIn("worker 0: ZeroDivisionError: division by zero\n", err)
        self.assertIn("\nerror: HANDLER_FAILED: ", err)
        self.assertEqual(err.count("Traceback"), 1)

    def test_a_call_over_its_deadline_gets_a_hint_for_more_time(self):
        with Timer() as timer:
            code, _, err = self.run_cli(
                *("exec", "fault", "--timeout", "300ms", "--start-timeout", "20s"),
                *misbehaving("silent"),
            )
        self.assertEqual(code, 1)
        self.assertRegex(err, "^error: DEADLINE_EXCEEDED: ")
        self.assertIn("--timeout 600ms", err)
        self.assertLess(timer.seconds, 10)

    # A worker's texts: an error, its stderr, and a result.
    EVIL = "a\x1b[2K\u009b1A\u202eb\u2028\x7f"
    SHOWN = "a\\x1b[2K\\u009b1A\\u202eb\\u2028\\x7f"

    def test_no_text_of_a_worker_is_obeyed_by_a_terminal(self):
        for transport in ("stdio", "grpc"):
            with self.subTest(transport):
                args = json.dumps({"t": self.EVIL})
                _, out, _ = self.run_cli("exec", "echo", args, "--transport", transport)
                self.assertEqual(json.loads(out)["echoed"], {"t": self.EVIL})
                self.assertIn("a\\u001b[2K\\u009b1A\\u202eb\\u2028\\u007f", out)
                unknown = f"no {self.EVIL}\nerror: forged"
                _, _, err = self.run_cli("exec", unknown, "--transport", transport)
                self.assertIn(f"no {self.SHOWN}\\nerror: forged", err)
                self.assertTrue(all(c.isprintable() or c == "\n" for c in err), err)
                self.assertNotIn("\nerror: forged", err)

    def test_stderr_of_a_worker_is_safe_to_show_unless_raw(self):
        script = f"import sys; sys.stderr.write({self.EVIL!r} + chr(10)); sys.exit(3)"
        worker = ("--", PYTHON, "-c", script)
        _, _, err = self.run_cli("exec", "ping", *worker)
        self.assertIn(f"worker 0: {self.SHOWN}\n", err)
        self.assertTrue(all(c.isprintable() or c == "\n" for c in err), err)
        _, _, err = self.run_cli("exec", "ping", "--raw", *worker)
        self.assertIn(f"worker 0: {self.EVIL}\n", err)

    def test_raw_results_are_not_escaped(self):
        args = json.dumps({"t": "\u202e\u009b\x1b"})
        _, out, _ = self.run_cli("exec", "echo", args, "--raw")
        self.assertIn('"\u202e\u009b\\u001b"', out)

    def test_sessions_reach_the_worker(self):
        for transport in ("stdio", "grpc"):
            code, _, err = self.run_cli(
                *("exec", "ping", "--session", "alice", "--transport", transport)
            )
            self.assertEqual((code, err), (0, ""))

    def test_verbose_logs_the_events_of_the_pool(self):
        code, out, err = self.run_cli("exec", "ping", "--verbose")
        self.assertEqual(code, 0)
        self.assertEqual(out.count("\n"), 1)
        self.assertRegex(err, r"(?m)^pool: worker 0 \(pid \d+\) is ready")

    def test_a_worker_gets_the_variables_that_env_names(self):
        script = "import os, sys; print(sorted(os.environ.items()), file=sys.stderr)"
        self.environment.update(HF_HOME="/models", CUDA_VISIBLE_DEVICES="3", HIDDEN="h")
        _, _, err = self.run_cli(
            *("exec", "ping", "--env", "HF_HOME", "--env", "OMP_NUM_THREADS=2"),
            *("--", PYTHON, "-c", script),
        )
        self.assertIn("('HF_HOME', '/models')", err)
        self.assertIn("('OMP_NUM_THREADS', '2')", err)
        self.assertNotIn("CUDA_VISIBLE_DEVICES", err)
        self.assertNotIn("HIDDEN", err)

    def test_verbose_names_once_the_variables_that_are_not_passed_on(self):
        self.environment.update(CUDA_VISIBLE_DEVICES="3", HF_HOME="/models", HIDDEN="hush")
        code, _, err = self.run_cli(
            *("exec", "ping", "--env", "HF_HOME", "--verbose", "--workers", "2")
        )
        self.assertEqual(code, 0, err)
        lines = [line for line in err.splitlines() if "do not inherit" in line]
        self.assertEqual(len(lines), 1, err)
        self.assertIn("CUDA_VISIBLE_DEVICES, ", lines[0])
        self.assertIn("HIDDEN", lines[0])
        self.assertNotIn("HF_HOME", lines[0])
        self.assertNotIn("hush", err)

    def test_help_names_the_inherited_variables(self):
        code, out, _ = self.run_cli("exec", "--help")
        self.assertEqual(code, 0)
        self.assertIn("--env NAME[=VALUE]", out)
        self.assertIn("a worker inherits these variables of yours, if set: PATH, HOME,", out)

    def test_stdout_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w") as full:
            code, _, err = self.run_cli("exec", "ping", stdout=full)
        self.assertEqual(code, 1)
        self.assertIn("error: cannot write to stdout: No space left on device", err)


class StreamTest(CliTestCase):
    def test_each_chunk_is_a_line(self):
        for transport in ("stdio", "grpc"):
            code, out, err = self.run_cli(
                *("stream", "ping_stream", '{"count": 3, "interval": 0}'),
                *("--transport", transport),
            )
            self.assertEqual((code, err), (0, ""))
            numbers = [json.loads(line)["ping_number"] for line in out.splitlines()]
            self.assertEqual(numbers, [1, 2, 3])

    def test_a_worker_that_cannot_stream_gives_its_one_result(self):
        code, out, _ = self.run_cli("stream", "ping", *legacy("v1_bridge.py"))
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out)["status"], "ok")

    def test_the_chunks_before_an_error_are_kept(self):
        code, out, err = self.run_cli(
            *("stream", "ping_stream", '{"count": 2, "interval": 3600}'),
            *("--timeout", "1s", "--start-timeout", "20s"),
        )
        self.assertEqual((code, out.count("\n")), (1, 1))
        self.assertRegex(err, "^error: DEADLINE_EXCEEDED: ")


class RepeatTest(CliTestCase):
    def test_each_call_is_a_line_and_a_summary_ends_it(self):
        code, out, err = self.run_cli(
            *("exec", "echo", '{"n": 1}', "--repeat", "50"),
            *("--parallel", "4", "--workers", "2"),
        )
        self.assertEqual(code, 0)
        self.assertEqual(out.count("\n"), 50)
        self.assertRegex(
            err, r"^summary: 50 ok, 0 failed; p50 .* ms, p99 .* ms; \d+ calls/s\n$"
        )

    def test_other_calls_go_on_after_a_failure(self):
        code, out, err = self.run_cli(
            *("exec", "fault", "--repeat", "3"), *misbehaving("exits-mid-request")
        )
        self.assertEqual((code, out), (1, ""))
        lines = err.splitlines()
        self.assertEqual(len(lines), 5, err)
        for line in lines[:3]:
            self.assertRegex(line, "^error: WORKER_LOST: ")
        self.assertRegex(lines[3], "^  hint: WORKER_LOST: ")
        self.assertRegex(lines[4], r"^summary: 0 ok, 3 failed \(3 WORKER_LOST\)")

    def test_parallel_alone_makes_as_many_calls(self):
        code, out, err = self.run_cli("exec", "ping", "--parallel", "3")
        self.assertEqual((code, out.count("\n")), (0, 3), err)


class WorkerTest(CliTestCase):
    """Workers of the user: those in the field, and those that cannot work."""

    def ping(self, *arguments):
        code, out, err = self.run_cli("exec", "ping", *arguments)
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["status"], "ok")

    def failure(self, *arguments):
        code, out, err = self.run_cli("exec", *arguments)
        self.assertEqual((code, out), (1, ""), err)
        return err

    def test_legacy_stdio_workers_run_unchanged(self):
        self.ping(*legacy("v1_bridge.py", "--mode", "pool-worker"))
        self.ping(*legacy("js_bridge.py", "--mode", "pool-worker"))
        for codec in ("auto", "json", "msgpack"):
            worker = legacy(
                "v2_bridge.py", "--mode", "pool-worker", "--protocol", codec
            )
            self.ping("--codec", codec, *worker)

    def test_a_worker_that_expects_no_handshake(self):
        for codec in ("json", "msgpack"):
            worker = legacy(
                "v2_bridge.py", "--mode", "pool-worker", "--protocol", codec
            )
            self.ping("--codec", codec, "--no-handshake", *worker)
            self.ping("--codec", codec, "--no-handshake")
        # A worker that does takes the first ping for the handshake, and does not answer it.
        err = self.failure(
            *("ping", "--codec", "json", "--no-handshake", "--timeout", "1s"),
            *legacy("v2_bridge.py", "--mode", "pool-worker", "--protocol", "auto"),
        )
        self.assertRegex(err, "^error: START_TIMEOUT: ")
        self.assertIn("leave --no-handshake out", err)

    def test_legacy_grpc_workers_run_unchanged(self):
        bridge = legacy("grpc_bridge.py", "--port", "{port}")
        self.ping("--transport", "grpc", *bridge)
        code, out, _ = self.run_cli(
            *("stream", "ping_stream", '{"count": 2, "interval": 0}'),
            *("--transport", "grpc", *bridge),
        )
        self.assertEqual((code, out.count("\n")), (0, 2))

    def test_a_missing_worker(self):
        err = self.failure("ping", "--", "./nowhere")
        self.assertRegex(err, r'^error: START_FAILED: .*"\./nowhere".*\(ENOENT\)')

    def test_a_worker_that_cannot_be_executed(self):
        path = os.path.join(self.folder, "worker")
        with open(path, "wb") as file:
            file.write(b"\x01\x02\x03 not a program\n")
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        for mode, errno in ((0o600, "EACCES"), (0o700, "ENOEXEC")):
            os.chmod(path, stat.S_IFREG | mode)
            code, _, err = self.run_with_file(path, "exec", "ping", "--", path)
            self.assertEqual(code, 1)
            self.assertRegex(err, rf"^error: START_FAILED: .*\({errno}\)")

    def run_with_file(self, path, *arguments):
        """run_cli(), with a file in the folder that must otherwise stay empty."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        self.assertEqual(os.listdir(self.folder), [os.path.basename(path)])
        return process.returncode, out, err

    def test_a_worker_with_another_codec_gets_a_hint_with_the_flag(self):
        msgpack = ("v2_bridge.py", "--protocol", "msgpack")
        for flags, worker, other in (
            (["--codec", "json"], msgpack, "msgpack"),
            (["--codec", "msgpack"], ["v1_bridge.py"], "json"),
            (["--codec", "msgpack"], ["js_bridge.py"], "json"),
            (["--codec", "json", "--no-handshake"], msgpack, "msgpack"),
        ):
            with self.subTest(flags=flags, worker=worker):
                code, _, err = self.run_cli("exec", "ping", *flags, *legacy(*worker))
                self.assertEqual(code, 1)
                self.assertRegex(err, f"\n  hint: .*--codec {other}")

    def test_a_worker_with_another_service_is_an_error(self):
        script = (
            "import grpc, sys\n"
            "from concurrent import futures\n"
            "server = grpc.server(futures.ThreadPoolExecutor())\n"
            "server.add_insecure_port('unix:' + sys.argv[1])\n"
            "server.start()\n"
            "server.wait_for_termination()\n"
        )
        worker = ("--", PYTHON, "-c", script, "{socket}")
        code, _, err = self.run_cli("exec", "ping", "--transport", "grpc", *worker)
        self.assertEqual(code, 1)
        self.assertRegex(err, "^error: START_FAILED: .*not the service snakepit.SnakepitBridge")

    def test_a_worker_that_exits_at_once(self):
        for workers in ("1", "3"):
            err = self.failure(
                "ping", "--workers", workers, *misbehaving("exits-at-once")
            )
            self.assertRegex(err, r"(?m)^error: START_FAILED: .*exit code 3")
            self.assertIn("fatal: no such model", err)
            self.assertRegex(err, r"\n  hint: .*run it by itself")

    def test_a_worker_that_hangs_in_its_start(self):
        for transport in ("stdio", "grpc"):
            with Timer() as timer:
                err = self.failure(
                    *("ping", "--timeout", "1s", "--transport", transport),
                    *misbehaving("hangs-in-start-up"),
                )
            self.assertRegex(err, "^error: START_TIMEOUT: .*1000 ms")
            self.assertIn("--start-timeout 2s", err)
            self.assertGreater(timer.seconds, 0.7)
            self.assertLess(timer.seconds, 10)

    def test_a_worker_that_speaks_garbage(self):
        cases = {
            "garbage": "PROTOCOL_ERROR",
            "claims-2gib": "PROTOCOL_ERROR: .*2147483647",
            "prints-in-handler": "PROTOCOL_ERROR: .*hello",
            "zero-length-frame": "PROTOCOL_ERROR",
            "bad-json": "PROTOCOL_ERROR",
            "reply-without-id": "PROTOCOL_ERROR",
            "wrong-id": "PROTOCOL_ERROR",
            "half-a-frame": "WORKER_LOST|PROTOCOL_ERROR",
            "closes-stdout": "WORKER_LOST",
            "killed-mid-request": "WORKER_LOST: .*signal 11",
        }
        for fault, expected in cases.items():
            with self.subTest(fault), Timer() as timer:
                err = self.failure("fault", "--timeout", "20s", *misbehaving(fault))
                self.assertRegex(err, f"(?m)^error: ({expected})")
            self.assertLess(timer.seconds, 20)

    def test_a_worker_that_prints_before_it_is_ready(self):
        err = self.failure("ping", *misbehaving("prints-before-ready"))
        self.assertRegex(err, "^error: PROTOCOL_ERROR: .*hello")

    def test_orphans_of_a_worker_are_killed(self):
        code, _, err = self.run_cli("exec", "fault", *misbehaving("grandchild"))
        self.assertEqual(code, 1)
        pid = int(err.split("worker 0: grandchild ")[1].split()[0])
        self.assertFalse(os.path.exists(f"/proc/{pid}"))


class UsageTest(CliTestCase):
    def usage(self, *arguments):
        code, out, err = self.run_cli(*arguments)
        self.assertEqual((code, out), (2, ""), err)
        return err

    def test_a_usage_error_exits_with_2(self):
        self.assertIn("--colour", self.usage("exec", "ping", "--colour"))
        self.assertIn("at byte 5", self.usage("exec", "ping", '{"a":'))
        self.assertIn("object", self.usage("exec", "ping", "[1]"))
        self.assertIn("--timeout", self.usage("exec", "ping", "--timeout", "x"))
        self.assertIn("Usage:", self.usage())
        self.assertIn("snakepit exec --help", self.usage("exec"))

    def test_help_and_version_go_to_stdout(self):
        for arguments in (["--help"], ["exec", "--help"], ["stream", "--help"]):
            code, out, err = self.run_cli(*arguments)
            self.assertEqual((code, err), (0, ""))
            self.assertIn("Examples:", out)
            too_long = [line for line in out.splitlines() if len(line) > 100]
            self.assertEqual(too_long, [], "help lines over 100 columns: wrap the text by \\n")
        self.assertRegex(self.run_cli("--version")[1], r"^snakepit \d+\.\d+\.\d+\n$")

    def test_a_config_file_gives_flags_and_the_worker(self):
        worker = legacy("v1_bridge.py")[1:]
        path = os.path.join(os.environ["TEST_TMPDIR"], "snakepit.toml")
        with open(path, "w") as file:
            file.write(f"repeat = 3\nworker = {json.dumps(worker)}\n")
        code, out, err = self.run_cli("exec", "ping", "--config", path)
        self.assertEqual(code, 0, err)
        self.assertEqual(out.count('"bridge_type":"generic"'), 3)
        with open(path, "a") as file:
            file.write("speed = 9\n")
        self.assertIn("speed", self.usage("exec", "ping", "--config", path))


if __name__ == "__main__":
    unittest.main()
