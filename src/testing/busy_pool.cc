// A pool whose workers are all busy, for pool_faults_test to kill: busy_pool stdio|grpc. Writes a
// line "busy PID" for each worker that has a call, and runs until it is killed.
#include <cstdio>
#include <string_view>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

int main(int argc, char** argv) {
  using namespace snakepit;
  const bool grpc = argc > 1 && std::string_view(argv[1]) == "grpc";
  PoolOptions options;
  options.workers = 2;
  options.adapter = testing::WorkerOfKind(grpc ? testing::WorkerKind::kBundledGrpc
                                               : testing::WorkerKind::kBundledStdioMsgpack);
  auto pool = Pool::Start(std::move(options));
  if (!pool) {
    std::fprintf(stderr, "%s\n", pool.error().ToString().c_str());
    return 1;
  }
  std::vector<std::thread> calls;
  for (const WorkerInfo& worker : pool->Workers()) {
    calls.emplace_back([&pool, pid = worker.pid] {
      (void)pool->ExecuteStream("ping_stream", Value::Map{{"count", 2}, {"interval", 3600.0}},
                                [pid](const Chunk&) {
                                  std::printf("busy %d\n", pid);
                                  return std::fflush(stdout) == 0;
                                });
    });
  }
  for (std::thread& call : calls) call.join();
}
