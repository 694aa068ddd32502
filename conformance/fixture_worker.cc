// A worker of the C++ SDK with ping_stream and the fixture commands of README.md.
//
// Start: fixture_worker [--capacity N] [what every worker of the SDK takes]
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "snakepit/worker.h"

namespace {

using snakepit::Call;
using snakepit::ChunkSink;
using snakepit::Result;
using snakepit::Value;
using std::chrono::milliseconds;

double Seconds(const Call& call, std::string_view name, double otherwise) {
  const Value* value = call.args().Find(name);
  if (value == nullptr) return otherwise;
  if (const double* seconds = value->get_if<double>()) return *seconds;
  return static_cast<double>(call.Integer(name));
}

bool IsTrue(const Call& call, std::string_view name) {
  const Value* value = call.args().Find(name);
  return value != nullptr && *value == Value(true);
}

Value Sleep(const Call& call) {
  const auto left = call.time_left();
  const std::string_view begun = call.Text("begun", "");
  if (!begun.empty()) std::ofstream{std::string(begun)};
  const milliseconds time(call.Integer("ms", 0));
  if (IsTrue(call, "ignore")) {
    std::this_thread::sleep_for(time);
  } else {
    call.Wait(time);  // what it returns after the end of the call is dropped
  }
  return Value::Map{{"left_ms", left ? Value(left->count()) : Value()}};
}

void PingStream(const Call& call, ChunkSink& out) {
  const int64_t count = call.Integer("count", 5);
  const std::chrono::duration<double> interval(Seconds(call, "interval", 1.0));
  for (int64_t number = 1; number <= count; ++number) {
    if (number > 1 && !call.Wait(std::chrono::duration_cast<std::chrono::nanoseconds>(interval))) {
      return;
    }
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    if (!out.Send(Value::Map{
            {"ping_number", number},
            {"timestamp", now.count()},
            {"message", "Ping " + std::to_string(number) + " of " + std::to_string(count)}})) {
      return;
    }
  }
}

// How many chunks conf.stream has made.
std::atomic<int64_t> sent_count = 0;

void Stream(const Call& call, ChunkSink& out) {
  const int64_t count = call.Integer("count", 0);
  const std::string data(static_cast<size_t>(call.Integer("bytes", 0)), 'x');
  for (int64_t number = 0; number < count; ++number) {
    ++sent_count;
    if (!out.Send(Value::Map{{"n", number}, {"data", data}})) return;
  }
  if (call.args().Find("error")) throw std::runtime_error(std::string(call.Text("error")));
}

Value Increment(const Call& call) {
  int64_t count = 1;
  call.UseSession([&count](Value& state) {
    if (const int64_t* before = state.get_if<int64_t>()) count = *before + 1;
    state = Value(count);
  });
  return count;
}

// Takes --capacity N out of the arguments.
int TakeCapacity(std::vector<const char*>* arguments) {
  for (auto it = arguments->begin(); it + 1 < arguments->end(); ++it) {
    if (std::string_view(*it) != "--capacity") continue;
    const int capacity = std::atoi(*(it + 1));
    arguments->erase(it, it + 2);
    return capacity;
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<const char*> arguments(argv, argv + argc);
  snakepit::Worker worker("fixture", {.capacity = TakeCapacity(&arguments)});
  worker.Stream("ping_stream", PingStream);
  worker.Command("conf.echo", [](const Call& call) {
    const Value* value = call.args().Find("value");
    return value == nullptr ? Value() : *value;
  });
  worker.Command("conf.sleep", Sleep);
  worker.Stream("conf.stream", Stream);
  worker.Command("conf.sent_count", [](const Call&) { return sent_count.load(); });
  worker.Command("conf.raise", [](const Call& call) -> Value {
    throw std::runtime_error(std::string(call.Text("text", "")));
  });
  // Text that is not UTF-8.
  worker.Command("conf.bad_value", [](const Call&) { return Value("\xff"); });
  worker.Command("conf.incr", Increment);
  return worker.Main(static_cast<int>(arguments.size()), arguments.data());
}
