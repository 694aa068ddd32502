#!/bin/sh
# Runs the judge as a Bazel test; defs.bzl makes the command line.
exec "$@"
