"""Texts of a worker are cut where the pool keeps them, and safe to show."""

import json
import os
import re
import subprocess
import unittest

from hostile_worker import CONTROLS
from pool_host import HERE, LIMIT_S, HostileTestCase

SNAKEPIT = os.path.abspath("src/cli/snakepit")
GRPC = ("--socket", "{socket}")
# Most bytes of a worker's text: far above any limit in the pool, and far below the texts of these
# tests.
LONGEST_TEXT = 1 << 20
# Characters that are more than text to a terminal or a log: C0, DEL, C1, marks and controls of
# direction, and separators of lines.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class LengthsTest(HostileTestCase):
    def check_texts(self, host, *events):
        for event in (*events, *(e for e in host.events if e["event"] == "log")):
            for name in ("message_bytes", "version_bytes", "worker_id_bytes", "bytes"):
                self.assertLess(event.get(name, 0), LONGEST_TEXT, event["event"])

    def assert_cut(self, event, text):
        """Checks that the text was cut, and says so."""
        self.check_texts_of(event)
        self.assertIn(text, event["message"])
        self.assertRegex(event["message"][-200:], r"more|cut|…|\.\.\.")

    def check_texts_of(self, event):
        self.assertLess(event["message_bytes"], LONGEST_TEXT)

    def test_a_long_error_is_cut(self):
        for codec in ("json", "msgpack"):
            host = self.started("huge-error", "--mib", "40", codec=codec)
            # The frame, and its text once.
            with self.grows_at_most(128, host):
                end = host.call("attack")
            self.assertEqual("HANDLER_FAILED", end["code"])
            self.assert_cut(end, "eeee")
            self.check_texts(host)
            self.assertTrue(host.call("echo")["ok"])

    def test_a_long_error_of_all_calls_is_not_copied_for_each(self):
        arguments = ("--mib", "40", "--capacity", "40")
        host = self.started("huge-error-of-all", *arguments, codec="json")
        with self.grows_at_most(128, host):
            calls = [host.begin("attack", execute=n % 2 == 0) for n in range(40)]
            ends = [host.end(call) for call in calls]
        for end in ends:
            self.assertEqual("PROTOCOL_ERROR", end["code"])
            self.check_texts_of(end)

    def test_other_members_of_a_failure_are_not_kept(self):
        for behaviour in ("huge-code", "huge-type"):
            host = self.started(behaviour, "--mib", "20", workers=2)
            with self.grows_at_most(128, host):
                end = host.call("attack", timeout_ms=5000)
                self.assertFalse(end["ok"])
                self.check_texts_of(end)
            self.check_texts(host)

    def test_a_long_error_over_grpc_is_cut(self):
        host = self.started("huge-error", *GRPC, "--mib", "40", transport="grpc")
        with self.grows_at_most(256, host):
            end = host.call("attack")
        self.assertEqual("HANDLER_FAILED", end["code"])
        self.assert_cut(end, "eeee")

    def test_a_status_text_of_200_kib_is_cut_or_whole(self):
        host = self.started("long-status", *GRPC, transport="grpc")
        with self.grows_at_most(64, host):
            for _ in range(20):
                end = host.call("attack")
                self.assertEqual("HANDLER_FAILED", end["code"], end)
                self.check_texts_of(end)

    def test_a_long_version_is_cut(self):
        host = self.started("huge-version", "--mib", "40", health_interval_ms=0)
        with self.grows_at_most(128, host):
            self.check_texts(host, host.health())
        host = self.host()
        arguments = ("huge-version", *GRPC, "--mib", "40")
        with self.grows_at_most(384, host):
            outcome = host.start(*arguments, transport="grpc", health_interval_ms=0)
            self.check_texts(host, outcome)
            if outcome["ok"]:
                self.check_texts(host, host.health())

    def test_long_texts_of_the_start_are_cut(self):
        for behaviour in ("huge-status", "huge-refusal", "huge-worker-id"):
            host = self.host()
            with self.grows_at_most(160, host):
                outcome = host.start(behaviour, "--mib", "40", start_timeout_ms=20000)
            if behaviour != "huge-worker-id":
                self.assertIn(outcome["code"], ("START_FAILED", "PROTOCOL_ERROR"))
            self.check_texts(host, outcome)

    def test_a_line_without_end_takes_no_memory(self):
        host = self.started("huge-stderr-line", "--mib", "64")
        with self.grows_at_most(16, host):
            self.assertTrue(host.call("attack", timeout_ms=20000)["ok"])
        self.check_texts(host)

    def test_a_flood_of_lines_holds_up_nobody(self):
        host = self.started("stderr-flood", workers=2)
        with self.grows_at_most(32, host), self.keeps_descriptors_and_threads(host):
            self.assertTrue(host.call("attack")["ok"])
            with self.others_are_served(host):
                for _ in range(200):
                    self.assertTrue(host.call("echo", timeout_ms=2000)["ok"])
        self.assertLess(host.shutdown()["ms"], 8000)


class SafeToShowTest(HostileTestCase):
    def assert_safe(self, text):
        found = UNSAFE.search(text)
        self.assertIsNone(found, f"{found and found.group()!r} in {text[:300]!r}")

    def check(self, host, *events):
        """Checks that no text of the pool has unsafe characters or the forged line."""
        for event in events:
            self.assert_safe(event.get("message", ""))
        for line in host.log():
            self.assert_safe(line)
            self.assertFalse(line.startswith("ERROR forged"), line)

    def test_errors_of_calls(self):
        for transport, arguments, behaviours in (
            ("stdio", (), ("controls-error", "controls-stderr")),
            ("grpc", GRPC, ("controls-error", "controls-status")),
        ):
            for behaviour in behaviours:
                with self.subTest(transport=transport, behaviour=behaviour):
                    host = self.started(behaviour, *arguments, transport=transport)
                    end = host.call("attack")
                    self.assertEqual("HANDLER_FAILED", end["code"])
                    if behaviour != "controls-stderr":
                        self.assertIn("forged: all is well", end["message"])
                    self.check(host, end)

    def test_errors_of_the_start(self):
        host = self.host()
        outcome = host.start("controls-status")
        self.assertEqual("START_FAILED", outcome["code"])
        self.check(host, outcome)

    def run_cli(self, *arguments, behaviour, grpc=False):
        worker = ["/usr/bin/python3", "-B", os.path.join(HERE, "hostile_worker.py"), behaviour]
        flags = ["--env", "HOSTILE_FOLDER=" + self.folder]
        flags += ["--env", "PYTHONPATH=" + os.path.abspath("python")]
        if grpc:
            flags += ["--transport", "grpc"]
            worker += ["--transport", "grpc", *GRPC]
        return subprocess.run(
            [SNAKEPIT, "exec", "attack", *arguments, *flags, "--", *worker],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            env={**os.environ, "TMPDIR": self.folder},
        )

    def test_output_of_the_cli(self):
        for behaviour, grpc in (
            ("controls-error", False),
            ("controls-stderr", False),
            ("controls-error", True),
            ("controls-status", True),
        ):
            with self.subTest(behaviour, grpc=grpc):
                ended = self.run_cli("--verbose", behaviour=behaviour, grpc=grpc)
                self.assertEqual((1, b""), (ended.returncode, ended.stdout))
                text = ended.stderr.decode()  # must be UTF-8
                self.assertIn("forged: all is well", text)
                for line in text.split("\n"):
                    self.assert_safe(line)
                    self.assertFalse(line.startswith("ERROR forged"), text)

    def test_a_result_that_the_cli_prints_is_json_and_safe(self):
        ended = self.run_cli(behaviour="controls-result")
        self.assertEqual(0, ended.returncode, ended.stderr)
        text = ended.stdout.decode()
        self.assertEqual("\n", text[-1])
        self.assert_safe(text[:-1])
        self.assertEqual({"text": CONTROLS, CONTROLS: 1}, json.loads(text))

    def test_the_cli_can_print_raw_texts(self):
        ended = self.run_cli("--raw", behaviour="controls-stderr")
        self.assertEqual(1, ended.returncode)
        self.assertIn(b"\x1b[2J", ended.stderr)
        ended = self.run_cli("--raw", behaviour="controls-result")
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertIn("\u202e".encode(), ended.stdout)
        self.assertEqual(2, len(json.loads(ended.stdout)))


class TokenTest(HostileTestCase):
    def check(self, host):
        token = self.noted("token")
        for event in host.events:
            self.assertNotIn(token, json.dumps(event))
        os.unlink(self.path("token"))

    def test_a_token_that_its_worker_reveals_is_hidden(self):
        for behaviour in ("tells-its-token", "tells-its-token-in-a-status"):
            with self.subTest(behaviour):
                host = self.started(behaviour, *GRPC, transport="grpc")
                self.assertEqual("HANDLER_FAILED", host.call("attack")["code"])
                host.shutdown()
                self.check(host)

    def test_a_token_is_hidden_in_the_error_of_a_start(self):
        host = self.host()
        outcome = host.start("tells-its-token-and-ends", *GRPC, transport="grpc")
        self.assertEqual("START_FAILED", outcome["code"])
        self.check(host)


if __name__ == "__main__":
    unittest.main()
