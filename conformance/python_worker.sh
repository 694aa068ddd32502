#!/bin/sh
# The project's Python worker, from a source tree or from a test's files, with Debian's Python.
# -P: without it, what lies in the working folder by the name of a module would run.
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(dirname "$0")/../python" \
  exec /usr/bin/python3 -P -m snakepit_bridge "$@"
