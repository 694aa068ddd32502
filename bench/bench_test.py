"""Every benchmark runs, and a run that cannot measure fails."""

import json
import math
import os
import re
import subprocess
import tempfile
import unittest

BENCH = os.path.abspath(os.environ["BENCH"])

TRANSPORTS = ["json", "msgpack", "grpc"]
SIZES = ["64B", "64KiB", "1MiB"]
BY = ["echo_poll", "echo_block", "worker_json", "worker_msgpack", *TRANSPORTS]
ROUND_TRIPS = [f"round_trip/{by}/{size}" for size in SIZES for by in BY]
FIRST_CHUNKS = [f"first_chunk/{transport}" for transport in TRANSPORTS]
STARTS = [f"start/{transport}" for transport in TRANSPORTS]
MEMORY = [f"memory/{transport}" for transport in TRANSPORTS]
MEMORY_COUNTERS = [
    f"{process}_{kind}_{state}_mib"
    for process in ("pool", "worker")
    for kind in ("rss", "pss")
    for state in ("idle", "used")
]


def run(*arguments, **environment):
    return subprocess.run(
        [BENCH, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=50,
    )


def name_of(benchmark):
    """The name without the suffixes of google-benchmark."""
    return re.sub(r"/(iterations:\d+|manual_time)", "", benchmark["name"])


class WholeRunTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.json")
            cls.done = run(
                "--benchmark_min_time=0.001",
                f"--benchmark_out={path}",
                "--benchmark_out_format=json",
            )
            if cls.done.returncode != 0:
                raise AssertionError(cls.done.stdout + cls.done.stderr)
            with open(path, encoding="utf-8") as file:
                cls.benchmarks = {
                    name_of(b): b for b in json.load(file)["benchmarks"]
                }
        cls.rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in cls.done.stdout.splitlines()
            if line.startswith("| ") and not line.startswith(("| size", "| by"))
        ]

    def assert_figure(self, value):
        self.assertTrue(math.isfinite(float(value)) and float(value) > 0, value)

    def assert_cell(self, text):
        # On a stalled machine a rate or ratio may be rounded down to 0.
        self.assertTrue(math.isfinite(float(text)) and float(text) >= 0, text)

    def test_every_benchmark_runs_without_an_error(self):
        self.assertEqual(
            list(self.benchmarks), MEMORY + STARTS + FIRST_CHUNKS + ROUND_TRIPS
        )
        for name, benchmark in self.benchmarks.items():
            self.assertFalse(benchmark.get("error_occurred"), name)

    def test_percentiles_are_reported_and_ordered(self):
        for name in ROUND_TRIPS + FIRST_CHUNKS + STARTS:
            benchmark = self.benchmarks[name]
            unit = "ms" if name in STARTS else "us"
            self.assert_figure(benchmark[f"p50_{unit}"])
            self.assertLessEqual(
                benchmark[f"p50_{unit}"], benchmark[f"p99_{unit}"], name
            )
        for name in ROUND_TRIPS:
            self.assert_figure(self.benchmarks[name]["bytes_per_second"])

    def test_memory_is_reported_and_plausible(self):
        for name in MEMORY:
            benchmark = self.benchmarks[name]
            for counter in MEMORY_COUNTERS:
                self.assertGreater(benchmark[counter], 0.5, (name, counter))
                self.assertLess(benchmark[counter], 1024, (name, counter))

    def test_every_ratio_of_the_summary_is_finite(self):
        round_trips = [row for row in self.rows if row[0] in SIZES]
        self.assertEqual(len(round_trips), len(ROUND_TRIPS))
        for row in round_trips:
            for cell in row[2:7]:
                self.assert_cell(cell)
            over_the_bare_worker = row[1] in (
                "pool, stdio JSON",
                "pool, stdio MessagePack",
            )
            if over_the_bare_worker:
                self.assert_cell(row[7])
            else:
                self.assertEqual(row[7], "-")

    def test_the_floor_is_the_quicker_framed_echo(self):
        for size in SIZES:
            echoes = [
                row
                for row in self.rows
                if row[0] == size and row[1].startswith("framed echo")
            ]
            self.assertEqual(len(echoes), 2)
            for ratio in (5, 6):  # p50 and p99, each with its floor
                self.assertEqual(min(float(row[ratio]) for row in echoes), 1)

    def test_the_summary_compares_the_transports(self):
        by_transport = [row for row in self.rows if row[0] not in SIZES]
        self.assertEqual(len(by_transport), 11)
        for row in by_transport:
            for cell in row[1:]:
                self.assert_cell(cell)


class FailingRunTest(unittest.TestCase):
    def test_a_worker_that_cannot_start_fails_the_run(self):
        # Without its files, the bundled worker ends at once.
        with tempfile.TemporaryDirectory() as empty:
            for benchmark in (
                "memory/json",
                "start/json",
                "first_chunk/json",
                "round_trip/worker_json/64B",
                "round_trip/msgpack/64B",
                "round_trip/grpc/64B",
            ):
                with self.subTest(benchmark):
                    done = run(
                        f"--benchmark_filter=^{benchmark}/",
                        TEST_SRCDIR=empty,
                        RUNFILES_DIR=empty,
                    )
                    self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                    self.assertIn("ERROR OCCURRED", done.stdout)

    def test_a_run_of_nothing_fails(self):
        self.assertEqual(run("--benchmark_filter=^no_such_benchmark$").returncode, 1)

    def test_an_unknown_flag_is_a_usage_error(self):
        done = run("--no_such_flag")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no_such_flag", done.stderr)


if __name__ == "__main__":
    unittest.main()
