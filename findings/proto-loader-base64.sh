#!/usr/bin/env bash
# A text in a bytes field is taken for base64: @grpc/proto-loader refuses it only when it
# cannot be base64, so that "okay" is changed without an error and "hello" is an error.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
packages=(@grpc/proto-loader@0.8.1 protobufjs@7.6.6)
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
  --prefix "$dir" "${packages[@]}" || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const fs = require("fs");
const loader = require("@grpc/proto-loader");
fs.writeFileSync("demo.proto", `
  syntax = "proto3";
  message Blob { bytes data = 1; }
  service Demo { rpc Put(Blob) returns (Blob); }
`);
const { Put } = loader.loadSync("demo.proto").Demo;
for (const data of [Buffer.from("okay"), "okay", "worker", "hello"]) {
  let result;
  try {
    result = Put.requestDeserialize(Put.requestSerialize({ data })).data.toString("hex");
  } catch (error) {
    result = error.message;
  }
  console.log(typeof data === "string" ? `"${data}"` : `Buffer "${data}"`, result);
}
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='Buffer "okay" 6f6b6179
"okay" a246b2
"worker" c28ae47a
"hello" invalid encoding'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: the bytes of the text (okay: 6f6b6179), or an error for every text"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
