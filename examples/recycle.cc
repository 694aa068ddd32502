// Recycling: workers are replaced under load, and no call is lost.
#include <chrono>
#include <iostream>

#include "snakepit/pool.h"

int main(int argc, char** argv) {
  snakepit::PoolOptions options;
  options.workers = 1;
  options.adapter.argv.assign(argv + 1, argv + argc);  // the worker's command line
  // A process serves at most 20 calls, and is at most a day old.
  options.recycle.max_calls = 20;
  options.recycle.max_age = std::chrono::hours(24);
  auto pool = snakepit::Pool::Start(options);
  if (!pool) {
    std::cerr << pool.error().ToString() << "\n";
    return 1;
  }

  // The successor is ready before the old process takes no more calls.
  int failed = 0;
  while (pool->Stats().recycled == 0) {
    if (!pool->Execute("greet", {})) ++failed;
  }
  std::cout << "recycled; failed calls: " << failed << "\n";

  // Replaces all workers, after an update of their code, say.
  auto restarted = pool->Restart();
  std::cout << (restarted ? "restarted" : restarted.error().ToString()) << "\n";
}
