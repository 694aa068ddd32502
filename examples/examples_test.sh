#!/bin/sh
# The examples of the README: that they are the ones there, and that they work.
set -eu
for example in examples/greet.cc examples/greeter.py; do
  awk -v want="$example" '
    /^```/ { inside = !inside; if (inside) block = ""; else blocks[++n] = block; next }
    inside { block = block $0 "\n" }
    END {
      while ((getline line < want) > 0) text = text line "\n"
      for (i = 1; i <= n; i++) if (blocks[i] == text) exit 0
      print "README.md does not hold " want " as it is" > "/dev/stderr"
      exit 1
    }' README.md
done
lines=$(wc -l < examples/greet.cc)
[ "$lines" -le 20 ] || { echo "examples/greet.cc has $lines lines, not 20" >&2; exit 1; }
printed=$(examples/greet)
[ "$printed" = '{"greeting":"Hello, Ada!"}' ] || { echo "greet printed: $printed" >&2; exit 1; }
