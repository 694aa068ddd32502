// Sessions: calls that share state, which their worker keeps.
#include <iostream>

#include "snakepit/pool.h"

int main(int argc, char** argv) {
  snakepit::PoolOptions options;
  options.workers = 2;
  options.adapter.argv.assign(argv + 1, argv + argc);  // the worker's command line
  // No call runs where the state of its session is not: it waits for its worker, or fails.
  options.sessions.affinity = snakepit::Affinity::kStrictQueue;
  auto pool = snakepit::Pool::Start(options);
  if (!pool) {
    std::cerr << pool.error().ToString() << "\n";
    return 1;
  }

  const auto add = [&pool](const char* session, int amount) {
    auto total =
        pool->Execute("add", snakepit::Value::Map{{"amount", amount}}, {.session = session});
    std::cout << session << ": " << (total ? total->ToJson() : total.error().ToString()) << "\n";
  };
  add("ada", 1);
  add("eve", 10);
  add("ada", 2);
  pool->EndSession("ada");  // the worker forgets the state, and the pool the worker
  add("ada", 4);
}
