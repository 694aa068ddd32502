// Cancellation: a stop request ends the call at once, and tells the worker.
#include <iostream>
#include <stop_token>

#include "snakepit/pool.h"

int main(int argc, char** argv) {
  snakepit::PoolOptions options;
  options.workers = 1;
  options.adapter.argv.assign(argv + 1, argv + argc);  // the worker's command line
  auto pool = snakepit::Pool::Start(options);
  if (!pool) {
    std::cerr << pool.error().ToString() << "\n";
    return 1;
  }

  std::stop_source stop;
  auto task =
      pool->SubmitFuture("work", snakepit::Value::Map{{"seconds", 60}}, {.stop = stop.get_token()});
  stop.request_stop();  // from any thread
  auto result = task.get();
  std::cout << (result ? "it ended before" : ErrorCodeName(result.error().code)) << "\n";

  // The handler lets go of a cancelled call. A worker that does not is replaced after
  // PoolOptions::cancel_grace.
  auto greeting = pool->Execute("greet", {});
  std::cout << (greeting ? greeting->ToJson() : greeting.error().ToString()) << "\n";
  std::cout << "workers replaced: " << pool->Stats().restarts << "\n";
}
