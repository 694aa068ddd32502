// Calls as futures: all of them are in flight before the first result is asked for.
#include <future>
#include <iostream>
#include <vector>

#include "snakepit/pool.h"

int main(int argc, char** argv) {
  snakepit::PoolOptions options;
  options.workers = 2;
  options.adapter.argv.assign(argv + 1, argv + argc);  // the worker's command line
  auto pool = snakepit::Pool::Start(options);
  if (!pool) {
    std::cerr << pool.error().ToString() << "\n";
    return 1;
  }

  std::vector<std::future<snakepit::Result<snakepit::Value>>> greetings;
  for (const char* name : {"Ada", "Eve", "Joe"}) {
    greetings.push_back(pool->SubmitFuture("greet", snakepit::Value::Map{{"name", name}}));
  }
  for (auto& greeting : greetings) {
    auto result = greeting.get();
    std::cout << (result ? result->ToJson() : result.error().ToString()) << "\n";
  }
}
