#!/usr/bin/env bash
# A deadline far ahead can end a call at once: the server of @grpc/grpc-js cuts the remaining
# milliseconds to 32 bits with a sign. From 24.9 to 49.7 days that is negative, a timer of 1 ms, and
# so on each 49.7 days. The handler here takes 100 ms; one that answers at once may win the race.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
packages=(@grpc/grpc-js@1.14.7)
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
  --prefix "$dir" "${packages[@]}" || exit 2
cd "$dir" || exit 2

seen=$(timeout 60 node - <<'JS'
const grpc = require("@grpc/grpc-js");
const same = (bytes) => bytes;
const Echo = {
  path: "/demo.Demo/Echo",
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};
const server = new grpc.Server();
server.addService({ Echo }, {
  Echo: (call, callback) => setTimeout(() => callback(null, call.request), 100),
});
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), async (error, port) => {
  if (error) throw error;
  const Client = grpc.makeGenericClientConstructor({ Echo }, "Demo");
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  for (const days of [1, 24, 25, 49, 50, 80]) {
    const deadline = Date.now() + days * 24 * 60 * 60 * 1000;
    const code = await new Promise((resolve) => {
      client.Echo(Buffer.from("hi"), { deadline }, (error) => resolve(error ? error.code : 0));
    });
    console.log(`${days} days:`, grpc.status[code]);
  }
  client.close();
  server.forceShutdown();
});
JS
) || { echo "not run: $seen" >&2; exit 2; }

stated='1 days: OK
24 days: OK
25 days: DEADLINE_EXCEEDED
49 days: DEADLINE_EXCEEDED
50 days: OK
80 days: DEADLINE_EXCEEDED'

echo "version:  ${packages[*]}, node $(node --version)"
echo "expected: OK for each: the call takes 100 ms"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
