#!/usr/bin/env bash
# The class and the function of msgpackr write different formats: an object from new Packr() is
# an extension of msgpackr ("record") that other decoders do not know, one from pack() is a map.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
packages=(msgpackr@2.1.4 @msgpack/msgpack@3.1.3)
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
  --prefix "$dir" "${packages[@]}" || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const { Packr, pack } = require("msgpackr");
const { decode } = require("@msgpack/msgpack");
function show(name, bytes) {
  let result;
  try {
    result = JSON.stringify(decode(bytes));
  } catch (error) {
    result = error.message;
  }
  console.log(`${name} ${bytes.toString("hex")}; elsewhere: ${result}`);
}
show("pack                     ", pack({ a: 1 }));
show("Packr                    ", new Packr().pack({ a: 1 }));
show("Packr, useRecords: false ", new Packr({ useRecords: false }).pack({ a: 1 }));
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='pack                      de0001a16101; elsewhere: {"a":1}
Packr                     d4724091a16101; elsewhere: Extra 4 of 7 byte(s) found at buffer[3]
Packr, useRecords: false  de0001a16101; elsewhere: {"a":1}'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: 81a16101 from each, or at least a map that any decoder reads"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
