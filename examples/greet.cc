#include <iostream>

#include "snakepit/pool.h"

int main() {
  snakepit::PoolOptions options;
  options.workers = 2;
  options.adapter.argv = {"/usr/bin/python3", "examples/greeter.py"};
  options.adapter.environment["PYTHONPATH"] = "python";

  auto pool = snakepit::Pool::Start(options);
  if (!pool) {
    std::cerr << pool.error().ToString() << "\n";
    return 1;
  }
  auto result = pool->Execute("greet", snakepit::Value::Map{{"name", "Ada"}});
  std::cout << (result ? result->ToJson() : result.error().ToString()) << "\n";
  return result ? 0 : 1;
}
