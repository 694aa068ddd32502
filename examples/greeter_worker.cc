#include "snakepit/worker.h"

int main(int argc, char** argv) {
  snakepit::Worker worker("greeter");
  worker.Command("greet", [](const snakepit::Call& call) {
    return snakepit::Value::Map{{"greeting", "Hello, " + call.Text("name", "world") + "!"}};
  });
  worker.Stream("count", [](const snakepit::Call& call, snakepit::ChunkSink& out) {
    for (int64_t i = 1; i <= call.Integer("to", 3) && out.Send(i); ++i) continue;
  });
  return worker.Main(argc, argv);
}
