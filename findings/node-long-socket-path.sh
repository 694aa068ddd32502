#!/usr/bin/env bash
# A server on a long Unix socket path listens somewhere else: node cuts the path at the 108 bytes
# that Linux has room for, and reports success with the whole path. Two paths that differ only
# after that are one socket.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
# The name needs room: the folder has to be short.
[ "$(uname)" = Linux ] && [ "${#dir}" -lt 90 ] || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const fs = require("fs");
const net = require("net");
const path = require("path");
const name = (last) => {
  const stem = path.join(process.cwd(), "worker-");
  return stem + "x".repeat(119 - Buffer.byteLength(stem)) + last;
};
const first = net.createServer();
first.on("error", (error) => console.log("first listens:", error.code));
first.listen(name("1"), () => {
  console.log("first listens: yes, on", Buffer.byteLength(first.address()), "bytes");
  console.log("file is there:", fs.existsSync(name("1")));
  const files = fs.readdirSync(".").map((file) => Buffer.byteLength(path.resolve(file)));
  console.log("bytes of the path of the file:", files.join());
  const second = net.createServer();
  const report = (outcome) => {
    console.log("second listens:", outcome);
    second.close();
    first.close();
  };
  second.on("error", (error) => report(error.code));
  second.listen(name("2"), () => report("yes"));
});
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='first listens: yes, on 120 bytes
file is there: false
bytes of the path of the file: 108
second listens: EADDRINUSE'

echo "version:  node $(node --version)"
echo "expected: an error, since 120 bytes are too long, or two sockets at their paths"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
