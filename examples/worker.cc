// The worker of worker.py, in C++: one result, a stream, session state, a long task.
#include "snakepit/worker.h"

#include <chrono>
#include <string>

using snakepit::Call, snakepit::ChunkSink, snakepit::Value;

int main(int argc, char** argv) {
  snakepit::Worker worker("examples");

  worker.Command("greet", [](const Call& call) {
    return Value::Map{{"greeting", "Hello, " + std::string(call.Text("name", "world")) + "!"}};
  });

  // Send blocks while the caller is not ready for the chunk, and is false once no more are wanted.
  worker.Stream("count", [](const Call& call, ChunkSink& out) {
    for (int64_t i = 1; i <= call.Integer("to") && out.Send(i); ++i) continue;
  });

  // The session's state is a value that lives from call to call. No other call uses it meanwhile.
  worker.Command("add", [](const Call& call) {
    if (call.session_id().empty()) throw snakepit::InvalidArgument("'add' needs a session");
    int64_t total = call.Integer("amount");
    call.UseSession([&total](Value& state) {
      if (const int64_t* before = state.get_if<int64_t>()) total += *before;
      state = total;
    });
    return total;
  });

  // Nothing interrupts a handler, so one that takes long lets go by itself: Wait is false as soon
  // as the caller cancels the call, or its deadline passes. The result is dropped then.
  worker.Command("work", [](const Call& call) {
    const int64_t seconds = call.Integer("seconds");
    for (int64_t i = 0; i < seconds && call.Wait(std::chrono::seconds(1)); ++i) continue;
    return Value::Map{{"worked", seconds}};
  });

  return worker.Main(argc, argv);
}
