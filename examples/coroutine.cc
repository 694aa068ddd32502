// Calls that a coroutine awaits. It goes on in the pool's own thread, so it must not block there.
#include <exception>
#include <iostream>
#include <latch>

#include "snakepit/pool.h"

// The least that a coroutine needs: it starts at once, and nobody waits for it.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Detached Greet(snakepit::Pool& pool, const char* name, std::latch& done) {
  const snakepit::Value args = snakepit::Value::Map{{"name", name}};
  auto greeting = co_await pool.Submit("greet", args);
  std::cout << (greeting ? greeting->ToJson() : greeting.error().ToString()) << "\n";
  done.count_down();
}

int main(int argc, char** argv) {
  snakepit::PoolOptions options;
  options.workers = 1;
  options.adapter.argv.assign(argv + 1, argv + argc);  // the worker's command line
  auto pool = snakepit::Pool::Start(options);
  if (!pool) {
    std::cerr << pool.error().ToString() << "\n";
    return 1;
  }
  std::latch done(2);
  Greet(*pool, "Ada", done);
  Greet(*pool, "Eve", done);
  done.wait();
}
