"""The command `conformance`: exit codes, reports, bad input, an interrupt."""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

FOLDER = os.path.dirname(os.path.abspath(__file__))
CONFORMANCE = os.path.join(FOLDER, "conformance")
MUTANT_WORKER = os.path.join(FOLDER, "mutants", "mutant_worker.py")
PATIENCE_S = 50
WRITE = 1  # the number of write(2) on x86-64


def run(*args, **env):
    return subprocess.run(
        [CONFORMANCE, *args],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={"PATH": os.environ["PATH"], **env},
    )


def worker(bug="none"):
    return ["--", "/usr/bin/python3", MUTANT_WORKER, "--bug", bug]


class CommandTest(unittest.TestCase):
    def expect(self, done, code, *texts):
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        for text in texts:
            self.assertIn(text, output)
        self.assertNotIn("\033", output)

    def test_a_worker_that_conforms_is_green(self):
        done = run("run", "--transport", "stdio", "--case", "ping/roundtrip", *worker())
        self.expect(done, 0, "PASS    ping/roundtrip", "1 passed, 0 failed")

    def test_a_worker_that_does_not_is_red_with_the_reason(self):
        done = run("run", "--case", "ping/roundtrip", *worker("wrong-echo"))
        self.expect(done, 1, "FAIL", "PROTOCOL.md 7.2.1", "observed:", "repeat:")

    def test_the_repeat_command_repeats(self):
        done = run("run", "--case", "ping/*", *worker("wrong-echo"))
        repeat = next(line for line in done.stdout.splitlines() if "repeat:" in line)
        command = repeat.split(":", 1)[1]
        again = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        self.expect(again, 1, "FAIL    ping/roundtrip", "0 passed, 1 failed")

    def test_a_worker_can_be_judged_without_a_handshake(self):
        # The handshake agrees on version 2, so without one there is version 1.
        args = ["run", "--codec", "json", "--no-handshake"]
        args += ["--case", "ping/roundtrip", "--case", "ver/agreed", *worker()]
        self.expect(run(*args), 0, "PASS    ping/roundtrip", "protocol version 1")

    def test_a_worker_that_loses_its_version_is_red_when_one_is_expected(self):
        args = ["--case", "ping/roundtrip"]
        self.expect(run("run", *args, *worker("loses-version")), 0, "1 passed")
        done = run("run", "--expect-version", "2", *args, *worker("loses-version"))
        self.expect(done, 1, "FAIL    ver/expected", "agreed to protocol version 1")
        self.expect(done, 1, "repeat:", "--expect-version 2 --case ver/expected")
        done = run("run", "--expect-version", "2", *args, *worker())
        self.expect(done, 0, "PASS    ver/expected", "2 passed")

    def test_a_worker_gets_the_variables_that_env_names(self):
        script = "import os, sys; sys.exit(os.environ.get('A', '') + os.environ.get('B', ''))"
        args = ["run", "--case", "ping/roundtrip", "--env", "A=x y", "--env", "B"]
        done = run(*args, "--", "/usr/bin/python3", "-c", script, B="z")
        self.expect(done, 1, "its stderr ends: x yz", "--env B --env 'A=x y' --case")
        self.expect(run("run", "--env", "=x", "--", "x"), 2, "NAME=VALUE")
        self.expect(run("run", "--help"), 0, "PATH, HOME, USER,")

    def test_a_worker_with_another_codec_is_told_by_its_flag(self):
        done = run("run", "--codec", "msgpack", "--case", "ping/roundtrip", *worker("json-alone"))
        self.expect(done, 1, "NOTRUN", "--codec json")

    def test_a_broken_should_is_a_warning_and_red_if_strict(self):
        args = ["run", "--codec", "json", "--case", "frm/oversized-told"]
        done = run(*args, *worker("silent-at-oversized"))
        self.expect(done, 0, "WARN    frm/oversized-told", "1 warning")
        self.expect(run("run", "--strict", *args[1:], *worker()), 0, "1 passed")
        done = run("run", "--strict", *args[1:], *worker("silent-at-oversized"))
        self.expect(done, 1, "FAIL    frm/oversized-told", "--strict --case frm/oversized-told")

    def test_a_red_case_shows_the_bytes_on_the_wire(self):
        args = ["run", "--codec", "json", "--case", "frm/one-reply"]
        done = run(*args, *worker("heartbeats"))
        self.expect(done, 1, "started: ", "sent 39 bytes: ", '"still here"', "received ")

    def test_a_signal_of_the_judge_is_told_in_the_log(self):
        # The worker does not start again after the kill, so the case is red.
        done = run("run", "--case", "cra/kill9-idle", *worker("starts-once"))
        self.expect(done, 1, "log:      the judge sends SIGKILL to process group")

    def test_a_signal_ends_a_run_that_nobody_reads(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.set_blocking(writer, False)
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writer, b"x" * size)
        os.set_blocking(writer, True)
        judge = subprocess.Popen(
            [CONFORMANCE, "run", "--case", "ping/roundtrip", *worker()], stdout=writer
        )
        os.close(writer)
        self.addCleanup(judge.kill)
        self.await_write(judge.pid)
        judge.send_signal(signal.SIGTERM)
        # The run may have ended already, and waits for its reader.
        self.assertIn(judge.wait(timeout=PATIENCE_S), (0, 130))

    def await_write(self, pid):
        """Waits until a thread of the judge waits to write."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    with open(f"/proc/{pid}/task/{thread}/syscall") as file:
                        if file.read().split()[0] == str(WRITE):
                            return
            time.sleep(0.01)  # there is no event to wait for
        self.fail("it writes nothing")

    def test_a_worker_that_does_not_start_is_red_and_nothing_is_run(self):
        done = run("run", "--case", "ping/**", "--", "/bin/false")
        self.expect(done, 1, "NOTRUN", "START_FAILED", "exit code 1", "2 not run")

    def test_a_missing_worker_is_a_fault_that_says_what_to_do(self):
        done = run("run", "--", "/no/such/worker")
        self.expect(done, 2, "/no/such/worker", "ENOENT", "check the path")
        self.expect(run("run", "--", "no-such-worker"), 2, "no-such-worker", "ENOENT")

    def test_a_worker_that_is_not_executable_is_a_fault(self):
        with tempfile.NamedTemporaryFile() as file:
            self.expect(run("run", "--", file.name), 2, "EACCES", "chmod +x")

    def test_bad_usage_is_a_fault(self):
        self.expect(run(), 2)
        self.expect(run("run"), 2, "worker")
        self.expect(run("run", "--transport", "pigeon", "--", "x"), 2, "pigeon")
        self.expect(run("run", "--no-such-flag", "--", "x"), 2)
        grpc = run("run", "--transport", "grpc", "--codec", "json", "--", "x")
        self.expect(grpc, 2, "--codec")
        self.expect(run("run", "--no-handshake", "--", "x"), 2, "needs --codec")
        self.expect(run("explain", "no/such-case"), 2, "no/such-case")

    def test_no_selected_case_is_nothing_ran(self):
        self.expect(run("run", "--case", "no/such-case", *worker()), 3, "no case matches")

    def test_list_and_explain_tell_of_every_case(self):
        listed = run("list")
        self.expect(listed, 0, "ping/roundtrip", "cra/kill9-idle")
        for line in listed.stdout.splitlines():
            self.expect(run("explain", line.split()[0]), 0, "PROTOCOL.md", "fails for")

    def test_help_has_examples(self):
        self.expect(run("run", "--help"), 0, "Examples:", "{port}")

    def test_self_test_finds_that_the_judge_can_say_no(self):
        self.expect(run("self-test"), 0, "the judge can say no")

    def test_reports_are_written(self):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "a", "b")
            bazel = os.path.join(folder, "test.xml")
            args = ["run", "--case", "ping/roundtrip", "--out", out, *worker("no-status")]
            self.expect(run(*args, XML_OUTPUT_FILE=bazel), 1)
            with open(os.path.join(out, "report.json")) as file:
                report = json.load(file)
            self.assertEqual(report["schema_version"], 1)
            self.assertEqual(report["exit_code"], 1)
            self.assertEqual(report["summary"]["fail"], 1)
            self.assertEqual(report["cases"][0]["id"], "ping/roundtrip")
            for path in (os.path.join(out, "junit.xml"), bazel):
                suite = ElementTree.parse(path).getroot().find("testsuite")
                self.assertEqual(suite.get("failures"), "1")
                self.assertEqual(suite.find("testcase/failure").get("type"), "fail")

    def test_a_token_is_in_nothing_that_the_judge_writes(self):
        grpc = ["--transport", "grpc", "--socket", "{socket}"]
        for bug, seen in {
            "refusal-tells-token": "it is [the worker's token]",
            "logs-token": "the token is [the worker's token]",
            "token-in-command-line": "no command line reveals the token",
        }.items():
            with self.subTest(bug), tempfile.TemporaryDirectory() as folder:
                args = ["--transport", "grpc", "--case", "auth/*", "--out", folder]
                done = run("run", *args, *worker(bug), *grpc)
                self.expect(done, 1, seen)
                texts = [done.stdout, done.stderr]
                for name in ("junit.xml", "report.json"):
                    with open(os.path.join(folder, name)) as file:
                        texts.append(file.read())
                for text in texts:
                    # So many of its 64 digits identify a token. Numbers have fewer digits, but the
                    # folder's name may have as many.
                    text = text.replace(FOLDER, "")
                    self.assertIsNone(re.search("[0-9a-f]{24}", text), text)

    def test_what_a_worker_says_is_not_obeyed_by_a_terminal(self):
        script = "import sys; sys.exit('a\\x1b[2K\\u202e')"
        done = run("run", "--case", "ping/roundtrip", "--", "/usr/bin/python3", "-c", script)
        self.expect(done, 1, "its stderr ends: a\\x1b[2K\\u202e")
        self.assertNotIn("\u202e", done.stdout)

    def test_an_interrupt_ends_the_run_in_order(self):
        judge = subprocess.Popen(
            [CONFORMANCE, "run", *worker()], stdout=subprocess.PIPE, text=True
        )
        # The run has begun after two lines, and has finished one case of many.
        lines = [judge.stdout.readline(), judge.stdout.readline()]
        children = self.descendants(judge.pid)
        judge.send_signal(signal.SIGINT)
        output = "".join(lines) + judge.communicate(timeout=PATIENCE_S)[0]
        self.assertEqual(judge.returncode, 130, output)
        self.assertIn("the run was interrupted", output)
        self.assertIn("interrupted\n", output)
        for pid in children:
            self.assertFalse(os.path.exists(f"/proc/{pid}"), pid)

    def descendants(self, pid):
        found = []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found += [entry, *self.descendants(int(entry))]
        return found


if __name__ == "__main__":
    unittest.main()
