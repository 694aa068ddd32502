#!/bin/sh
# One of the workers that stand for those in the field: legacy_worker.sh v1_bridge.py ARGS...
file="$1"
shift
exec /usr/bin/python3 -B "$(dirname "$0")/../src/testing/legacy/$file" "$@"
