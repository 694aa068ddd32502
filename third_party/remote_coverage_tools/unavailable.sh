#!/bin/sh
echo "bazel coverage: the report generator is not packaged for Debian; use gcov or llvm-cov" >&2
exit 1
