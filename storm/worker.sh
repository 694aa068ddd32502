#!/bin/sh
# A worker of the storm, chosen by its name from the pool: even numbers run the C++ SDK, odd ones the
# Python SDK. Two of each four take three calls at a time.
here=$(dirname "$0")
number=${1##*[!0-9]}
shift
STORM_CAPACITY=$((number % 4 < 2 ? 1 : 3))
export STORM_CAPACITY
[ $((number % 2)) = 0 ] && exec "$here/storm_worker" "$@"
exec /usr/bin/python3 -B "$here/storm_worker.py" "$@"
