"""The bundled streaming commands, run in this process."""

import csv
import math
import os
import tracemalloc
import unittest
from unittest import mock

from harness import HERE, WorkerTestCase
from snakepit_bridge import Context
from snakepit_bridge.calls import NO_CHUNK
from snakepit_bridge.commands import (
    classifier,
    dataset,
    log_tail,
    ping_stream,
    tail_and_analyze,
    worker,
)


def run(command, context=None, **args):
    """The chunks of a command."""
    stream = worker.registry.stream(command, args, context or Context("w", 1))
    return [chunk for chunk, _ in stream if chunk is not NO_CHUNK]


class ClassifierTest(unittest.TestCase):
    held_out = classifier.read_examples(os.path.join(HERE, "data", "tickets_held_out.tsv"))

    def test_unseen_texts_are_classified(self):
        trained = classifier.trained()
        seen = {text for _, text in classifier.read_examples(classifier.TRAINING_DATA)}
        self.assertFalse(seen & {text for _, text in self.held_out})
        hits = sum(trained.classify(text)[0] == label for label, text in self.held_out)
        self.assertGreater(hits / len(self.held_out), 0.8)

    def test_confidence_is_a_probability_that_means_something(self):
        results = [
            (predicted == label, confidence)
            for label, text in self.held_out
            for predicted, confidence in [classifier.trained().classify(text)]
        ]
        self.assertTrue(all(0.25 <= c <= 1 for _, c in results))
        sure = [right for right, c in results if c > 0.9]
        unsure = [right for right, c in results if c <= 0.9]
        self.assertGreaterEqual(sum(sure) / len(sure), sum(unsure) / len(unsure))
        # A text without a known word has each label with its prior probability.
        self.assertAlmostEqual(0.25, classifier.trained().classify("zzz qqq")[1])

    def test_items_of_any_kind_get_a_chunk(self):
        items = ["my parcel", "", 5, None, {"text": "refund my payment"}, "x" * 10**6]
        chunks = run("batch_inference", batch_items=items)
        self.assertEqual(items, [chunk["item"] for chunk in chunks])
        self.assertEqual("billing", chunks[4]["prediction"])
        self.assertEqual([], run("batch_inference", batch_items=[]))
        with self.assertRaisesRegex(Exception, '"batch_items" must be an array, not "Refund"'):
            run("batch_inference", batch_items="Refund")


class DatasetTest(WorkerTestCase):
    def test_figures_of_generated_rows_are_those_of_the_rows(self):
        final = run("process_large_dataset", total_rows=1050, group_by="region")[-1]
        amounts = [float(amount) for amount, _ in dataset._GeneratedRows(1050)]
        self.assertEqual(math.fsum(amounts), final["sum"])
        self.assertEqual((min(amounts), max(amounts)), (final["min"], final["max"]))
        self.assertEqual(1050, sum(g["count"] for g in final["groups"].values()))
        self.assertEqual((11, 50), (final["chunk_number"], final["chunk_size"]))

    def test_rows_are_generated_by_default(self):
        chunks = run("process_large_dataset")
        self.assertEqual(10, len(chunks))
        self.assertEqual(
            (300, 1000, 30.0, 3, 100),
            tuple(
                chunks[2][key]
                for key in (
                    "processed_rows",
                    "total_rows",
                    "progress_percent",
                    "chunk_number",
                    "chunk_size",
                )
            ),
        )
        self.assertEqual([], run("process_large_dataset", total_rows=0))

    def test_a_file_is_aggregated_by_column_and_group(self):
        path = self.path("orders.csv")
        with open(path, "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(["note", "n", "weight"])
            for number in range(1000):
                out.writerow([f'a "{number}",\nb', f"g{number % 150}", number / 8])
        chunks = run(
            "process_large_dataset", path=path, column="weight", group_by="n", chunk_size=300
        )
        self.assertEqual([300, 600, 900, 1000], [c["processed_rows"] for c in chunks])
        progress = [c["progress_percent"] for c in chunks]
        self.assertEqual(sorted(progress), progress)
        self.assertTrue(25 < progress[0] < 35 and progress[-1] == 100)
        self.assertEqual([None] * 3 + [1000], [c["total_rows"] for c in chunks])
        final = chunks[-1]
        self.assertEqual(999 * 500 / 8, final["sum"])
        self.assertEqual((0, 999 / 8), (final["min"], final["max"]))
        self.assertEqual(dataset.MAX_GROUPS, len(final["groups"]))
        self.assertEqual(
            1000, sum(g["count"] for g in final["groups"].values()) + final["other_groups"]["count"]
        )

    def test_rows_are_limited_and_values_without_a_number_are_skipped(self):
        path = self.path("x.csv", "\ufeffn\r\n1\r\n\r\nnan\r\n\r\n2\r\n3\r\n")
        final = run("process_large_dataset", path=path, total_rows=3)[-1]
        self.assertEqual("n", final["column"])
        self.assertEqual((3, 2, 1), (final["processed_rows"], final["count"], final["skipped"]))
        self.assertEqual([], run("process_large_dataset", path=self.path("y.csv", "")))

    def test_an_error_in_a_file_is_reported_with_its_line(self):
        for text, args, expected in (
            ("a,b\n1,2\n3\n", {}, "line 3 has 1 fields"),
            ("a\nx\n", {}, "no column holds a number"),
            ("a\n1\n", {"column": "b"}, "no column 'b'"),
            ("a\n1\n", {"group_by": "b"}, "no column 'b'"),
            ("a\n" + "1" * (2 << 20), {}, "line 2: it is over"),
            ('a\n"x"y\n', {}, "line 2: "),
            ("a\n1\n", {"chunk_size": 0}, '"chunk_size" must be an integer of at least 1, not 0'),
            ("a\n1\n", {"total_rows": -1}, '"total_rows" must be an integer of at least 0, not -1'),
        ):
            with self.assertRaisesRegex(Exception, expected) as raised:
                run("process_large_dataset", path=self.path("bad.csv", text), **args)
            self.assertEqual("INVALID_ARGUMENT", raised.exception.code)

    def test_memory_does_not_grow_with_the_file(self):
        def peak_bytes(rows):
            path = self.path("big.csv", "n,g\n" + "123456,z\n" * rows)
            tracemalloc.start()
            for _ in dataset.process(path, None, "g", 1000, None):
                pass
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

        peak_bytes(10)
        self.assertLess(peak_bytes(40_000), peak_bytes(2_000) + (32 << 10))


class LogTailTest(WorkerTestCase):
    def follow(self, path, **args):
        """The lines of a followed log; next() blocks until there is one."""
        stream = worker.registry.stream(
            "tail_and_analyze", {"path": path, "follow": True, **args}, Context("w", 1)
        )
        self.addCleanup(stream.close)
        return (chunk["log_entry"] for chunk, final in stream if not final)

    def append(self, path, text, mode="a"):
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)

    def test_lines_have_severities_numbers_and_matches(self):
        patterns = {"ms": r"(?P<ms>\d+) ms", "db": "db:"}
        chunks = run("tail_and_analyze", patterns=patterns)
        first = chunks[0]
        self.assertEqual((1, 2), (first["entry_number"], first["line_number"]))
        self.assertEqual(
            [
                {"pattern": "ms", "text": "42 ms", "groups": {"ms": "42"}},
                {"pattern": "db", "text": "db:", "groups": []},
            ],
            first["matches"],
        )
        self.assertEqual(20, len(run("tail_and_analyze")))
        for line, severity in (
            ("2024 ERROR: x", "error"),
            ("Warn: failed", "warning"),
            ("panic at line 3", "critical"),
            ("terrors of the deep", "info"),
            ("[trace] x", "debug"),
        ):
            self.assertEqual(severity, log_tail.severity_of(line))

    def test_lines_of_any_size_and_bytes(self):
        path = self.path("log")
        with open(path, "wb") as file:
            file.write(b"\n\xff\r\n" + b"y" * 150_000 + b"\nend")
        lines = [chunk["log_entry"] for chunk in run("tail_and_analyze", path=path)]
        self.assertEqual(["", "\ufffd"], lines[:2])
        self.assertEqual([65536, 65536, 18928], [len(line) for line in lines[2:5]])
        self.assertEqual("end", lines[5])

    def test_growth_truncation_and_rotation_are_followed(self):
        path = self.path("log", "one\ntw")
        lines = self.follow(path)
        self.assertEqual("one", next(lines))
        self.append(path, "o\nthree\n")
        self.assertEqual(["two", "three"], [next(lines), next(lines)])
        self.append(path, "a\n", mode="w")
        self.assertEqual("a", next(lines))
        self.append(path, "unended")
        os.rename(path, path + ".1")
        self.append(path + ".1", " last\n")
        self.append(path, "new\n")
        self.assertEqual(["unended last", "new"], [next(lines), next(lines)])

    def test_lines_written_while_the_file_is_replaced_are_not_lost(self):
        path = self.path("log", "one\n")
        successor = log_tail._Lines.successor

        def written_to_meanwhile(lines):
            found = successor(lines)
            if found is not None:
                self.append(path + ".1", "late\n")
            return found

        with mock.patch.object(log_tail._Lines, "successor", written_to_meanwhile):
            lines = self.follow(path)
            self.assertEqual("one", next(lines))
            os.rename(path, path + ".1")
            self.append(path, "new\n")
            self.assertEqual(["late", "new"], [next(lines), next(lines)])

    def test_following_from_the_end_gives_only_new_lines(self):
        path = self.path("log", "old\n")
        lines = self.follow(path, from_start=False, idle_timeout=1e-9)
        self.assertEqual([], list(lines))
        opened = log_tail._Lines(path, from_start=False)
        self.append(path, "new\n")
        self.assertEqual(["new"], list(opened.read(at_end=False)))
        opened.close()

    def test_following_ends_by_its_limits(self):
        path = self.path("log", "one\ntwo\nthree")
        chunks = run("tail_and_analyze", path=path, follow=True, max_entries=2)
        self.assertEqual(2, len(chunks))
        chunks = run("tail_and_analyze", path=path, follow=True, idle_timeout=0)
        self.assertEqual("three", chunks[-1]["log_entry"])

    def test_following_ends_with_the_call(self):
        self.path("log", "one\n")
        context = Context("w", 1)
        lines = tail_and_analyze(context, path=self.path("log"), follow=True)
        self.assertEqual("one", next(lines)["log_entry"])
        context.cancel()
        self.assertEqual([], list(lines))
        with self.assertRaises(Exception) as raised:
            run(
                "tail_and_analyze",
                Context("w", 1, timeout_ms=20),
                path=self.path("log"),
                follow=True,
            )
        self.assertEqual("DEADLINE_EXCEEDED", raised.exception.code)

    def test_bad_arguments_are_named(self):
        for args, expected in (
            ({"patterns": ["("]}, "patterns: "),
            ({"patterns": [5]}, "patterns: "),
            ({"patterns": 5}, "must be a text, an array of texts or a map of texts, not 5"),
            ({"patterns": ["a"] * 101}, "over 100"),
            ({"path": ""}, '"path" must be a text that is not empty, not ""'),
            ({"follow": 1}, '"follow" must be true or false, not 1'),
            ({"max_entries": 0}, '"max_entries" must be an integer of at least 1, not 0'),
            ({"idle_timeout": "1"}, '"idle_timeout" must be a finite number, not "1"'),
        ):
            with self.assertRaisesRegex(Exception, expected) as raised:
                run("tail_and_analyze", **args)
            self.assertEqual("INVALID_ARGUMENT", raised.exception.code)


class PingStreamTest(unittest.TestCase):
    def test_the_legacy_fields(self):
        chunks = run("ping_stream", count=2, interval=0)
        self.assertEqual(["Ping 1 of 2", "Ping 2 of 2"], [chunk["message"] for chunk in chunks])
        self.assertEqual([1, 2], [chunk["ping_number"] for chunk in chunks])

    def test_it_waits_between_pings_and_stops_when_cancelled(self):
        context = Context("w", 1)
        pings = ping_stream(context, count=9, interval=3600)
        self.assertEqual(1, next(pings)["ping_number"])
        context.cancel()
        self.assertEqual([], list(pings))

    def test_bad_arguments_are_named(self):
        for name, value, wanted, shown in (
            ("count", -1, "an integer of at least 0", "-1"),
            ("count", "three", "an integer of at least 0", '"three"'),
            ("count", math.nan, "an integer of at least 0", '{"$double":"NaN"}'),
            ("count", -math.inf, "an integer of at least 0", '{"$double":"-Infinity"}'),
            ("interval", -1, "a finite number from 0 to 86400", "-1"),
            ("interval", [None, {"ü": 1}], "a finite number from 0 to 86400", '[null,{"ü":1}]'),
            ("interval", b"\xff\x00", "a finite number from 0 to 86400", '{"$bytes":"/wA="}'),
            ("interval", "x" * 300, "a finite number from 0 to 86400", '"' + "x" * 255 + "…"),
        ):
            with self.assertRaises(Exception) as raised:
                run("ping_stream", **{name: value})
            self.assertEqual(f'"{name}" must be {wanted}, not {shown}', raised.exception.text)


if __name__ == "__main__":
    unittest.main()
