#!/usr/bin/env bash
# A JavaScript text cut inside an emoji makes a message that is not protobuf: protobufjs (under
# @grpc/proto-loader) writes half of the surrogate pair as ed a0 bd, which is not UTF-8, in texts
# of less than 40 UTF-16 units. In longer ones it writes U+FFFD (ef bf bd).
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
packages=(protobufjs@7.6.6 @protobufjs/utf8@1.1.2)
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
  --prefix "$dir" "${packages[@]}" || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const protobuf = require("protobufjs");
const { root } = protobuf.parse('syntax = "proto3"; message Note { string text = 1; }');
const Note = root.lookupType("Note");
const half = "\u{1f600}".slice(0, 1);
for (const units of [1, 39, 40]) {
  const text = "a".repeat(units - 1) + half;
  const bytes = Buffer.from(Note.encode({ text }).finish());
  let result = "UTF-8";
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(2));
  } catch {
    result = "not UTF-8";
  }
  console.log(`${units} units: ...${bytes.subarray(-3).toString("hex")}, ${result}`);
}
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='1 units: ...eda0bd, not UTF-8
39 units: ...eda0bd, not UTF-8
40 units: ...efbfbd, UTF-8'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: UTF-8 or an error, at each length"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
