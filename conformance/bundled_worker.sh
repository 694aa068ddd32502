#!/bin/sh
# The project's Python worker, from a source tree or from a test's files, with Debian's Python.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(dirname "$0")/../python" \
  exec /usr/bin/python3 -m snakepit_bridge "$@"
