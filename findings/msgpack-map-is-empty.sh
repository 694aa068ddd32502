#!/usr/bin/env bash
# A JavaScript Map reaches the other side as an empty map: @msgpack/msgpack writes the entries of
# plain objects only, and says nothing about the rest. Set and Error fare the same.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
packages=(@msgpack/msgpack@3.1.3)
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
  --prefix "$dir" "${packages[@]}" || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const { encode } = require("@msgpack/msgpack");
const hex = (value) => Buffer.from(encode(value)).toString("hex");
console.log("{a: 1}            ", hex({ a: 1 }));
console.log("new Map([[a, 1]]) ", hex(new Map([["a", 1]])));
console.log("new Set([1])      ", hex(new Set([1])));
console.log("new Error(full)   ", hex(new Error("full")));
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='{a: 1}             81a16101
new Map([[a, 1]])  80
new Set([1])       80
new Error(full)    80'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: the Map as 81a16101, like the object, or an error"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
