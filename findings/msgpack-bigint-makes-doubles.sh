#!/usr/bin/env bash
# An option for BigInt changes how plain numbers are written: with useBigInt64, @msgpack/msgpack
# writes integers from 2^32 on as doubles. A BigInt of more than 64 bits wraps without an error.
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
const hex = (value, options) => Buffer.from(encode(value, options)).toString("hex");
const useBigInt64 = true;
console.log("4294967296, default    ", hex(4294967296));
console.log("4294967296, useBigInt64", hex(4294967296, { useBigInt64 }));
console.log("2n ** 64n              ", hex(2n ** 64n, { useBigInt64 }));
console.log("2n ** 64n + 5n         ", hex(2n ** 64n + 5n, { useBigInt64 }));
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='4294967296, default     cf0000000100000000
4294967296, useBigInt64 cb41f0000000000000
2n ** 64n               cf0000000000000000
2n ** 64n + 5n          cf0000000000000005'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: the number as cf0000000100000000 (uint 64) both times; an error for 2n ** 64n"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
