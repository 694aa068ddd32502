"""The fixture workers of both SDKs, for tests that look at a worker from outside."""

import os

# Bazel runs a test in the folder above its files.
PYTHON = [os.path.abspath("python/tests/fixture_worker.py")]
CPP = [os.path.abspath("src/worker/testing/fixture_worker")]
BOTH = (PYTHON, CPP)
