#!/usr/bin/env bash
# A leading U+FEFF survives in short texts only: @msgpack/msgpack decodes texts of over 200 bytes
# with TextDecoder, which takes it for a byte order mark and drops it.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
packages=(@msgpack/msgpack@3.1.3)
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
  --prefix "$dir" "${packages[@]}" || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const { encode, decode } = require("@msgpack/msgpack");
for (const bytes of [100, 200, 201, 300]) {
  const text = "\ufeff" + "a".repeat(bytes - 3);
  const result = decode(encode(text));
  const outcomes = { [text]: "equal", [text.slice(1)]: "U+FEFF lost" };
  console.log(`${bytes} bytes:`, outcomes[result] ?? "other");
}
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='100 bytes: equal
200 bytes: equal
201 bytes: U+FEFF lost
300 bytes: U+FEFF lost'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: every text comes back equal"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
