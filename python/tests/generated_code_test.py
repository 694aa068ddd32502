"""snakepit_pb2.py is up to date with snakepit.proto."""

import os
import unittest

import snakepit_bridge


class GeneratedCodeTest(unittest.TestCase):
    def test_the_committed_file_is_up_to_date(self):
        package = os.path.dirname(snakepit_bridge.__file__)
        with open(os.path.join(package, "snakepit_pb2.py"), "rb") as file:
            committed = file.read()
        with open(os.environ["GENERATED"], "rb") as file:
            generated = file.read()
        self.assertEqual(
            generated, committed, "copy bazel-bin/proto/snakepit_pb2.py to python/snakepit_bridge/"
        )


if __name__ == "__main__":
    unittest.main()
