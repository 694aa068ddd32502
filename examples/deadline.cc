// A deadline: the call ends when its time is over, whatever the worker does.
#include <chrono>
#include <iostream>

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

  // Without a timeout of its own, a call has PoolOptions::call_timeout.
  const snakepit::CallOptions soon{.timeout = std::chrono::milliseconds(200)};
  auto result = pool->Execute("work", snakepit::Value::Map{{"seconds", 60}}, soon);
  if (result) return 1;
  std::cout << ErrorCodeName(result.error().code) << "\n";
  // An error says whether the command may have run: true here, as the worker had the call.
  std::cout << "may have run: " << (result.error().may_have_run ? "yes" : "no") << "\n";
}
