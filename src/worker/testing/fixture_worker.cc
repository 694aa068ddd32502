// The fixture worker of the C++ SDK: commands for the tests of the SDK and of the pool, and those
// of conformance/README.md for the judge. The Python SDK's is python/tests/fixture_worker.py. A
// command of the same name does the same in both, but `print` uses every way to print that its
// language has.
//
// Start: fixture_worker [--capacity N] [options of every worker of the SDK]
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "snakepit/worker.h"
#include "src/base/fd.h"

namespace {

using snakepit::Bytes;
using snakepit::Call;
using snakepit::ChunkSink;
using snakepit::Error;
using snakepit::ErrorCode;
using snakepit::Fail;
using snakepit::InvalidArgument;
using snakepit::Result;
using snakepit::UniqueFd;
using snakepit::Value;

// The longest wait of a call without a time limit.
constexpr std::chrono::seconds kLimit{20};

std::chrono::milliseconds Milliseconds(const Call& call) {
  return std::chrono::milliseconds(call.Integer("ms"));
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

void AddCalls(snakepit::Worker& worker) {
  worker.Command("echo", [](const Call& call) { return call.args(); });
  worker.Command("pid", [](const Call&) { return getpid(); });
  worker.Command("refuse", [](const Call& call) -> Value {
    throw InvalidArgument(call.Text("text", "never right"));
  });
  // Holds a FILE for ever.
  worker.Command("hold_file", [](const Call&) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) == 0) {
      FILE* file = fdopen(fds[0], "r");
      std::fputs("begun\n", stderr);
      return Value(fgetc(file));
    }
    return Value();
  });
  worker.Command("context", [](const Call& call) {
    const auto left = call.time_left();
    return Value::Map{{"worker_id", call.worker_id()},
                      {"request_id", call.request_id()},
                      {"session_id", call.session_id().empty() ? Value() : call.session_id()},
                      {"time_left_ms", left ? Value(left->count()) : Value()}};
  });
}

void AddWaits(snakepit::Worker& worker) {
  // Says on stderr that it has begun, and waits; with `deaf`, without a look at the call.
  worker.Command("announce", [](const Call& call) {
    std::fputs("begun\n", stderr);
    if (call.args().Find("deaf") == nullptr) return call.Wait(Milliseconds(call));
    std::this_thread::sleep_for(Milliseconds(call));
    return true;
  });
  // Returns `i` when `count` calls of it have begun; false when the call's time is over.
  worker.Command("meet", [](const Call& call) -> Value {
    static std::mutex mutex;
    static std::condition_variable changed;
    static int64_t here = 0;
    std::unique_lock lock(mutex);
    ++here;
    changed.notify_all();
    const auto left = call.time_left().value_or(kLimit);
    const bool met = changed.wait_for(lock, left, [&] { return here >= call.Integer("count"); });
    return met ? Value(call.Integer("i")) : Value(false);
  });
  // Opens one named pipe to say that it runs, and ends when the other is opened.
  worker.Command("hold", [](const Call& call) -> Result<Value> {
    const UniqueFd release(open(call.Text("release").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    UniqueFd(open(call.Text("started").c_str(), O_WRONLY | O_CLOEXEC));
    pollfd entry{.fd = release.get(), .events = POLLIN, .revents = 0};
    while (poll(&entry, 1, -1) < 0 && errno == EINTR) continue;
    return Value("held");
  });
}

void AddStreams(snakepit::Worker& worker) {
  // The bytes 0 to 255 over and over, from 0 in each chunk.
  worker.Stream("stream_bytes", [](const Call& call, ChunkSink& out) {
    int64_t left = call.Integer("total_bytes");
    const int64_t size = call.Integer("chunk_bytes", 64 * 1024, {.min = 1});
    Bytes chunk{std::string(static_cast<size_t>(size), '\0')};
    for (size_t i = 0; i < chunk.data.size(); ++i) chunk.data[i] = static_cast<char>(i % 256);
    for (; left > 0; left -= size) {
      if (left < size) chunk.data.resize(static_cast<size_t>(left));
      if (!out.Send(chunk)) return;
    }
  });
}

void AddIsolation(snakepit::Worker& worker) {
  worker.Command("print", [](const Call&) {
    std::printf("hello from a handler\n");
    std::cout << "and from std::cout" << std::endl;
    (void)!write(STDOUT_FILENO, "and past both\n", 14);
    return "printed";
  });
  // Returns the stdin of a child as it reads it, its descriptors, and how often it has a token.
  worker.Command("child", [](const Call&) -> Result<Value> {
    FILE* child = popen("cat; ls /proc/self/fd | tr '\\n' ' '; env | grep -c SNAKEPIT_TOKEN", "r");
    if (child == nullptr) return Fail(ErrorCode::kHandlerFailed, "no child");
    std::string output;
    char buffer[256];
    while (const size_t size = fread(buffer, 1, sizeof buffer, child)) output.append(buffer, size);
    pclose(child);
    return output;
  });
}

// Ends the process: with 0 when every function that concerns the pool refuses, by name.
[[noreturn]] void UseInChild(snakepit::Worker& worker, const Call& call) {
  const std::pair<const char*, std::function<void()>> uses[] = {
      {"Call::cancelled()", [&] { (void)call.cancelled(); }},
      {"Call::stop_token()", [&] { (void)call.stop_token(); }},
      {"Call::Wait()", [&] { (void)call.Wait(std::chrono::hours(1)); }},
      {"Call::UseSession()", [&] { call.UseSession([](Value&) {}); }},
  };
  for (const auto& [name, use] : uses) {
    try {
      use();
      _exit(1);
    } catch (const snakepit::ForkedProcess& error) {
      if (!std::string_view(error.what()).starts_with(name)) _exit(1);
    }
  }
  const char* argv[] = {"fixture", nullptr};
  _exit(worker.Main(1, argv) == 1 ? 0 : 1);
}

void AddForks(snakepit::Worker& worker) {
  // Forks a child that does `how`. Returns how it ended: its exit status, or minus its signal.
  worker.Command("fork_child", [&worker](const Call& call) -> Result<Value> {
    const std::string how = call.Text("how");
    const pid_t child = fork();
    if (child == 0) {
      if (how == "raise") throw std::runtime_error("raised in the child");
      if (how == "exit") std::exit(7);
      if (how == "read") {
        alarm(5);  // it does not wait for what never comes
        char byte;
        _exit(static_cast<int>(read(STDIN_FILENO, &byte, 1)));
      }
      if (how == "use") UseInChild(worker, call);
      if (how == "wait") pause();
      return Value("from the child");
    }
    if (how == "wait") kill(child, SIGTERM);
    int status = 0;
    waitpid(child, &status, 0);
    return Value(WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
  });
  // Sends two chunks, the second after a child has returned with another.
  worker.Stream("fork_stream", [](const Call&, ChunkSink& out) {
    if (!out.Send(Value::Map{{"number", 0}})) return;
    const pid_t child = fork();
    if (child == 0) (void)out.Send(Value::Map{{"number", "from the child"}});
    waitpid(child, nullptr, 0);
    (void)out.Send(Value::Map{{"number", 1}});
  });
  // Forks a child that lives on, and returns its process id.
  worker.Command("fork_and_stay", [](const Call&) -> Value {
    const pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    return child;
  });
}

Value ConfSleep(const Call& call) {
  const auto left = call.time_left();
  const std::string begun = call.Text("begun", "");
  if (!begun.empty()) std::ofstream{begun};
  const std::chrono::milliseconds time(call.Integer("ms", 0));
  if (call.Bool("ignore", false)) {
    std::this_thread::sleep_for(time);
  } else {
    call.Wait(time);  // the result is dropped if the call ends first
  }
  return Value::Map{{"left_ms", left ? Value(left->count()) : Value()}};
}

void PingStream(const Call& call, ChunkSink& out) {
  const int64_t count = call.Integer("count", 5);
  const std::chrono::duration<double> interval(call.Number("interval", 1.0, {.min = 0}));
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

// The commands of conformance/README.md.
void AddConformance(snakepit::Worker& worker) {
  worker.Stream("ping_stream", PingStream);
  worker.Command("conf.echo", [](const Call& call) {
    const Value* value = call.args().Find("value");
    return value == nullptr ? Value() : *value;
  });
  worker.Command("conf.sleep", ConfSleep);
  // Number of chunks that conf.stream has made.
  static std::atomic<int64_t> made{0};
  worker.Command("conf.sent_count", [](const Call&) { return made.load(); });
  worker.Stream("conf.stream", [](const Call& call, ChunkSink& out) {
    const int64_t count = call.Integer("count", 0);
    const std::string data(static_cast<size_t>(call.Integer("bytes", 0, {.min = 0})), 'x');
    for (int64_t number = 0; number < count; ++number) {
      ++made;
      if (!out.Send(Value::Map{{"n", number}, {"data", data}})) return;
    }
    const Value* error = call.args().Find("error");
    if (error != nullptr && !error->is_null()) throw std::runtime_error(call.Text("error"));
  });
  worker.Command("conf.raise", [](const Call& call) -> Value {
    throw std::runtime_error(call.Text("text", ""));
  });
  worker.Command("conf.bad_value", [](const Call&) { return Value("\xff"); });
  worker.Command("conf.incr", [](const Call& call) {
    Value count;
    call.UseSession([&](Value& state) { count = state = state.Get<int64_t>().value_or(0) + 1; });
    return count;
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("printed before Main");
  std::vector<const char*> arguments(argv, argv + argc);
  snakepit::Worker worker("fixture", {.capacity = TakeCapacity(&arguments)});
  AddCalls(worker);
  worker.Command("set_healthy", [&worker](const Call& call) {
    worker.set_healthy(call.Bool("healthy"));
    return Value();
  });
  AddWaits(worker);
  AddStreams(worker);
  AddIsolation(worker);
  AddForks(worker);
  AddConformance(worker);
  return worker.Main(static_cast<int>(arguments.size()), arguments.data());
}
