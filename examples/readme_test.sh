#!/bin/sh
# The snippets of README.md are the files of examples/, and these work.
set -eu
for example in examples/greet.cc examples/greeter.py examples/greeter_worker.cc; do
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
at_most() {
  lines=$(wc -l < "$2")
  [ "$lines" -le "$1" ] || { echo "$2 has $lines lines, not $1" >&2; exit 1; }
}
at_most 20 examples/greet.cc
at_most 10 examples/greeter.py
at_most 15 examples/greeter_worker.cc

is() {
  [ "$2" = "$1" ] || { echo "printed: $2, not $1" >&2; exit 1; }
}
is '{"greeting":"Hello, Ada!"}' "$(examples/greet)"
# Both workers, unchanged on both transports.
snakepit=src/cli/snakepit
export PYTHONPATH=$PWD/python
for worker in "/usr/bin/python3 examples/greeter.py" examples/greeter_worker; do
  # shellcheck disable=SC2086
  is '{"greeting":"Hello, Eve!"}' "$($snakepit exec greet '{"name":"Eve"}' -- $worker)"
  # shellcheck disable=SC2086
  is '{"greeting":"Hello, world!"}' "$($snakepit exec greet --transport grpc -- \
      $worker --transport grpc --socket '{socket}')"
done
is "1 2 3" "$($snakepit stream count -- examples/greeter_worker | tr '\n' ' ' | sed 's/ $//')"
