#!/bin/sh
# fixture_worker.py, from a source tree or from a test's files, with Debian's Python.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(dirname "$0")/../python" \
  exec /usr/bin/python3 "$(dirname "$0")/fixture_worker.py" "$@"
