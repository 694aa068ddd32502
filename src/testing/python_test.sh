#!/bin/sh
# Runs a Python test with Debian's interpreter; python_test.bzl says why.
exec /usr/bin/python3 -B "$@"
