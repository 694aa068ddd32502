"""The checker finds each kind of fault, and accepts good text."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

import check_words

GOOD = """\
// Longest time that a call waits for a worker, 0 ms to 24 h. A call that waits longer ends, without
// having run, with QUEUE_TIMEOUT.
int a;  // milliseconds

// - a list
// - with short lines
//
//   a drawing -->
//   of two lines
TEST(Words, AreGood) {}
"""


class CheckWordsTest(unittest.TestCase):
    def check(self, **files):
        """Checks files of these names, with '_' for the dot: the exit status and the output."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, name.replace("__", "/").replace("_", "."))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            output = io.StringIO()
            arguments, sys.argv = sys.argv, ["check_words", folder]
            try:
                with contextlib.redirect_stdout(output):
                    status = check_words.main()
            finally:
                sys.argv = arguments
            return status, output.getvalue().replace(folder + "/", "")

    def assert_found(self, place, **files):
        status, output = self.check(**files)
        self.assertEqual(1, status, output)
        self.assertIn(place, output)

    def assert_good(self, **files):
        status, output = self.check(**files)
        self.assertEqual(0, status, output)

    def test_good_text_is_accepted(self):
        self.assert_good(a_cc=GOOD)
        self.assert_good(a_py='"""Waits."""\n\n# In short\nx = "# What"\n' + "# Good.\n\n" * 40)
        self.assert_good(a_cc=GOOD + 'auto text = R"(\n// What\n)";\nauto url = "http://What";\n')

    def test_a_bare_opening_is_found(self):
        fault = "opens with a bare function word"
        self.assert_found(f"a.h:2: {fault}: What waits.", a_h="int a;\n// What waits.\n")
        self.assert_found(f"a.cc:1: {fault}: of the worker", a_cc="int a;  // of the worker\n")
        self.assert_found(f"a.py:1: {fault}: Whether", a_py='"""Whether it works."""\n')
        self.assert_found(f"a.py:2: {fault}: Who", a_py="x = 1\n# Who was asked.\n")
        self.assert_found(f"a.sh:2: {fault}: As before", a_sh="#!/bin/sh\n# As before.\n")
        self.assert_found(f"BUILD.bazel:1: {fault}: How", BUILD_bazel="# How it runs.\n")

    def test_a_few_bare_openings_are_accepted(self):
        good = "// Good.\nint a;\n" * 97
        self.assert_good(a_cc=good + "// What waits.\nint b;\n" * 3)
        self.assert_found("4 of 101 comments", a_cc=good + "// What waits.\nint b;\n" * 4)

    def test_a_broken_reflow_is_found(self):
        broken = "// The first line of this comment ends before\n// the right margin.\n"
        self.assert_found("a.cc:1: broken reflow: The first line", a_cc=broken)
        docstring = 'def f():\n    """Waits.\n\n    It ends before\n    the margin.\n    """\n'
        self.assert_found("a.py:4: broken reflow: It ends before", a_py=docstring)

    def test_a_long_test_name_is_found(self):
        name = "A" * 60
        found = "a test name of 60 letters, at most 59: "
        self.assert_found(f"a.cc:1: {found}{name}", a_cc=f"TEST_F(X, {name}) {{}}  // good\n")
        self.assert_good(a_cc=f"TEST_F(X, {name[1:]}) {{}}  // good\n")
        name = name.lower()
        self.assert_found(f"a.py:2: {found}{name}", a_py=f"# Good.\ndef test_{name}(self): pass\n")

    def test_folders_of_bazel_and_hidden_ones_are_skipped(self):
        bad = "// What waits.\n"
        self.assert_good(a_cc=GOOD, **{"bazel-out__a_cc": bad, ".hidden__a_cc": bad})
        self.assert_found("source/a.cc:1", source__a_cc=bad)

    def test_a_tree_without_comments_is_an_error(self):
        self.assert_found("are the paths right?", a_txt="// Good.\n")


if __name__ == "__main__":
    unittest.main()
