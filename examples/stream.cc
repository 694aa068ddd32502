// A stream: each chunk arrives as soon as the worker has made it.
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

  const auto print = [](const snakepit::Chunk& chunk) {
    std::cout << "chunk " << chunk.index << ": " << chunk.value.ToJson() << "\n";
    return true;  // false gives the stream up
  };
  // The next chunk is read after `print` has returned, so a slow reader slows the worker down.
  auto count = pool->ExecuteStream("count", snakepit::Value::Map{{"to", 3}}, print);
  if (!count) {
    std::cerr << count.error().ToString() << "\n";
    return 1;
  }
  std::cout << *count << " chunks\n";
}
