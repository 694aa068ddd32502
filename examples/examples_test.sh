#!/bin/sh
# Runs every example that takes a worker, with the worker in Python and the one in C++.
set -eu
export PYTHONPATH="$PWD/python"

# prints NAME EXPECTED COMMAND...: the output of the command is the expected one.
prints() {
  name=$1 expected=$2
  shift 2
  printed=$("$@") || { echo "$name ended with $?: $*" >&2; exit 1; }
  [ "$printed" = "$expected" ] || { echo "$name printed: $printed, not: $expected" >&2; exit 1; }
}

for worker in "/usr/bin/python3 -B examples/worker.py" examples/worker; do
  run() {
    # shellcheck disable=SC2086
    prints "$1" "$2" "examples/$1" $worker
  }
  run stream 'chunk 0: 1
chunk 1: 2
chunk 2: 3
3 chunks'
  run session 'ada: 1
eve: 10
ada: 3
ada: 4'
  run cancel 'CANCELLED
{"greeting":"Hello, world!"}
workers replaced: 0'
  run deadline 'DEADLINE_EXCEEDED
may have run: yes'
  run future '{"greeting":"Hello, Ada!"}
{"greeting":"Hello, Eve!"}
{"greeting":"Hello, Joe!"}'
  run recycle 'recycled; failed calls: 0
restarted'
  # The one worker takes one call at a time, so the calls end in order.
  run coroutine '{"greeting":"Hello, Ada!"}
{"greeting":"Hello, Eve!"}'
done
prints two_pools '{"greeting":"Hello, world!"}
{"greeting":"Hello, world!"}' examples/two_pools
