// Two pools in one program: Python workers over stdio, and C++ workers over gRPC.
#include <iostream>

#include "snakepit/pool.h"

int main() {
  snakepit::PoolOptions options;
  options.name = "models";  // begins the pool's log lines and errors
  options.workers = 2;
  options.adapter.argv = {"/usr/bin/python3", "examples/worker.py"};
  options.adapter.environment["PYTHONPATH"] = "python";
  auto models = snakepit::Pool::Start(options);

  snakepit::PoolOptions others;
  others.name = "render";
  others.workers = 1;
  // The pool fills in the path of a Unix socket.
  others.adapter.argv = {"examples/worker", "--transport", "grpc", "--socket", "{socket}"};
  others.adapter.transport = snakepit::GrpcTransport{};
  auto render = snakepit::Pool::Start(others);

  if (!models || !render) {
    std::cerr << (models ? render : models).error().ToString() << "\n";
    return 1;
  }
  for (snakepit::Pool* pool : {&*models, &*render}) {
    auto greeting = pool->Execute("greet", {});
    std::cout << (greeting ? greeting->ToJson() : greeting.error().ToString()) << "\n";
  }
}
