"""The fixture worker on each of the SDKs, for tests that look at a worker from outside."""

import os

# As Bazel runs a test: in the folder that its files are below.
PYTHON = [os.path.abspath("src/testing/fixture_worker.py")]
CPP = [os.path.abspath("src/worker/testing/fixture_worker")]
BOTH = (PYTHON, CPP)
