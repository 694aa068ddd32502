// Pools of single workers that misbehave, for tests.
#ifndef SNAKEPIT_POOL_TESTING_START_POOL_H_
#define SNAKEPIT_POOL_TESTING_START_POOL_H_

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit::testing {

inline Result<Pool> StartPool(Adapter adapter, int workers = 1, LogWatcher* log = nullptr) {
  PoolOptions options;
  options.adapter = std::move(adapter);
  options.workers = workers;
  options.cancel_grace =
      std::chrono::milliseconds(100);  // a legacy worker that overruns is replaced soon
  if (log != nullptr) options.log = log->sink();
  return Pool::Start(std::move(options));
}

// `body` serves in fixed JSON.
inline Adapter InlineStdioWorker(std::string_view body) {
  Adapter adapter;
  adapter.argv = {"/usr/bin/python3", "-c", R"(
import json, os, struct, sys
take = sys.stdin.buffer.read
def size():
    return struct.unpack(">I", take(4))[0]
def reply(id, result):
    payload = json.dumps({"id": id, "success": True, "result": result}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(payload)) + payload)
    sys.stdout.buffer.flush()
)" + std::string(body)};
  adapter.transport = StdioTransport{.codecs = {Codec::kJson}, .negotiate = false};
  return adapter;
}

}  // namespace snakepit::testing

#endif  // SNAKEPIT_POOL_TESTING_START_POOL_H_
