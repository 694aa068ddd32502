#!/bin/sh
# A worker of the storm, by what the pool calls it: those with an even number are on the C++ SDK,
# the others on Python's. Of each four, two take three calls at a time.
here=$(dirname "$0")
number=${1##*[!0-9]}
shift
STORM_CAPACITY=$((number % 4 < 2 ? 1 : 3))
export STORM_CAPACITY
[ $((number % 2)) = 0 ] && exec "$here/storm_worker" "$@"
exec /usr/bin/python3 -B "$here/storm_worker.py" "$@"
