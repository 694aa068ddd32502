#!/bin/sh
# Debian's Python with the project's SDK, from a source tree or from a test's files: an executable
# that the judge can start. python_worker.sh ARGUMENTS-OF-PYTHON...
PYTHONPATH="$(dirname "$0")/../python" exec /usr/bin/python3 -B "$@"
