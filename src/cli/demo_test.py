"""`snakepit demo`: every step holds, on both transports."""

import re
import signal
import unittest

from cli_fixture import CliTestCase, Timer


class DemoTest(CliTestCase):
    def test_every_step_holds_on_both_transports(self):
        with Timer() as timer:
            code, out, err = self.run_cli("demo")
        self.assertEqual((code, err), (0, ""), out)
        self.assertLess(timer.seconds, 60)
        for expected in (
            "3 workers are ready after",
            "round trip p50",
            "Ping 5 of 5",
            "each session stayed on its worker",
            "calls went well meanwhile",
            "no process is left",
        ):
            self.assertEqual(out.count(expected), 2, f"{expected}: {out}")
        self.assertNotIn("FAILED", out)
        self.assertIn("Everything held", out)

    def test_the_table_has_the_measured_figures(self):
        code, out, _ = self.run_cli("demo", "--workers", "2")
        self.assertEqual(code, 0, out)
        table = out.split("side by side")[1]
        value = r" +(\d+(?:\.\d+)? (?:ms|s|MiB))"
        for row in (
            "start of 2 workers",
            "round trip of a ping, p50",
            "round trip of a ping, p99",
            "time to the first chunk, p50",
            "killed worker replaced",
            r"memory of a worker \(RSS\)",
            r"memory of the pool \(RSS of this process\)",
        ):
            self.assertRegex(table, rf"(?m)^  {row}{value}{value}$")

    def test_output_is_plain_lines_without_a_terminal(self):
        process = self.start("demo")
        text = process.stdout.readline()
        while "answered" not in text:
            line = process.stdout.readline()
            self.assertTrue(line, text)
            text += line
        process.send_signal(signal.SIGINT)
        text += process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 130, text)
        self.assertIsNone(re.search("[\x1b\r]", text))
        self.assertNotIn("FAILED", text)
        self.assert_nothing_left(process.pid)


if __name__ == "__main__":
    unittest.main()
