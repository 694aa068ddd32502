// A program with a pool, for tests that watch it from outside: its memory, descriptors, threads and
// its life. Each line of its stdin, a JSON object, is a request; each line of its stdout is an
// event. pool_host.py is the other end.
//
//   {"do": "start", "argv": […], "transport": "stdio", "workers": 2, "call_timeout_ms": 1000, …}
//   {"do": "call", "tag": "a", "command": "echo", "args": {…}, "timeout_ms": 500, "show": true}
//   {"do": "health", "tag": "b", "worker": 0}
//   {"do": "workers"}
//   {"do": "shutdown"}
//
// A call uses Submit, or with "execute" a thread of its own. The program ends at the end of its
// input.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "snakepit/pool.h"

namespace {

using snakepit::CallOptions;
using snakepit::Codec;
using snakepit::Error;
using snakepit::GrpcTransport;
using snakepit::LogLevel;
using snakepit::Pool;
using snakepit::PoolOptions;
using snakepit::Result;
using snakepit::StdioTransport;
using snakepit::Value;
using Clock = std::chrono::steady_clock;

// Most log lines, and most bytes of a text, that are passed on. The rest is counted, since the pool
// is under test here, and not the reader of this program.
constexpr int64_t kMostLogLines = 3000;
constexpr size_t kLongestText = 64 * 1024;

int64_t MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
}

void Tell(Value::Map event) {
  static std::mutex mutex;
  const std::string line = Value(std::move(event)).ToJson() + "\n";
  std::lock_guard lock(mutex);
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

// The members of an error. Its texts are cut, with their lengths beside them.
void Describe(const Error& error, Value::Map* event) {
  (*event)["ok"] = false;
  (*event)["code"] = snakepit::ErrorCodeName(error.code);
  (*event)["message"] = std::string_view(error.message).substr(0, kLongestText);
  (*event)["message_bytes"] = error.message.size();
  (*event)["stderr_tail"] = error.stderr_tail;
  (*event)["worker"] = error.worker_id;
  (*event)["may_have_run"] = error.may_have_run;
}

class Host {
 public:
  ~Host() {
    for (std::thread& thread : threads_) thread.join();
  }

  void Do(const Value& line) {
    const std::string_view what = line.TextAt("do");
    if (what == "start") return Start(line);
    if (what == "call") return Call(line);
    if (what == "health") return Health(line);
    if (what == "workers") return Workers();
    if (what == "shutdown") return Shutdown();
    Tell({{"event", "bad line"}, {"line", line}});
  }

 private:
  void Start(const Value& line) {
    PoolOptions options;
    for (const Value& argument : *line.Find("argv")->get_if<Value::Array>()) {
      options.adapter.argv.push_back(*argument.get_if<std::string>());
    }
    if (const Value* const environment = line.Find("environment")) {
      for (const auto& [name, value] : *environment->get_if<Value::Map>()) {
        options.adapter.environment[name] = *value.get_if<std::string>();
      }
    }
    if (line.TextAt("transport") == "grpc") {
      options.adapter.transport = GrpcTransport{};
    } else {
      StdioTransport stdio;
      if (line.TextAt("codec") == "json") stdio.codecs = {Codec::kJson};
      if (line.TextAt("codec") == "msgpack") stdio.codecs = {Codec::kMessagePack};
      stdio.max_frame_bytes =
          static_cast<size_t>(line.IntegerAt("max_frame_bytes", int64_t{64} << 20));
      options.adapter.transport = stdio;
    }
    const std::map<std::string_view, std::chrono::milliseconds*> times = {
        {"start_timeout_ms", &options.adapter.start_timeout},
        {"call_timeout_ms", &options.call_timeout},
        {"queue_timeout_ms", &options.queue.timeout},
        {"stop_grace_ms", &options.stop_grace},
        {"cancel_grace_ms", &options.cancel_grace},
        {"health_interval_ms", &options.health.interval},
        {"health_timeout_ms", &options.health.timeout},
    };
    for (const auto& [name, time] : times) {
      *time = std::chrono::milliseconds(line.IntegerAt(name, time->count()));
    }
    options.workers = static_cast<int>(line.IntegerAt("workers", 1));
    options.log = [this](LogLevel level, std::string_view text) {
      if (++log_lines_ > kMostLogLines) return;
      Tell({{"event", "log"},
            {"level", static_cast<int>(level)},
            {"text", text.substr(0, kLongestText)},
            {"bytes", text.size()}});
    };
    const Clock::time_point begin = Clock::now();
    auto pool = Pool::Start(std::move(options));
    Value::Map event = {{"event", "start"}, {"ms", MillisecondsSince(begin)}, {"ok", true}};
    if (pool) {
      pool_ = std::move(*pool);
    } else {
      Describe(pool.error(), &event);
    }
    Tell(std::move(event));
  }

  void Call(const Value& line) {
    CallOptions options;
    if (const int64_t ms = line.IntegerAt("timeout_ms")) {
      options.timeout = std::chrono::milliseconds(ms);
    }
    if (const int64_t ms = line.IntegerAt("queue_timeout_ms")) {
      options.queue_timeout = std::chrono::milliseconds(ms);
    }
    const std::string command(line.TextAt("command"));
    const Value* const found = line.Find("args");
    Value args = found == nullptr ? Value() : *found;
    if (const int64_t bytes = line.IntegerAt("fill_bytes")) {
      args = Value::Map{{"fill", std::string(static_cast<size_t>(bytes), 'x')}};
    }
    auto done = [tag = std::string(line.TextAt("tag")), show = line.BoolAt("show"),
                 begin = Clock::now()](const Result<Value>& result) {
      Value::Map event = {
          {"event", "end"}, {"tag", tag}, {"ms", MillisecondsSince(begin)}, {"ok", true}};
      if (!result) {
        Describe(result.error(), &event);
      } else if (show) {
        event["result"] = *result;
      }
      Tell(std::move(event));
    };
    if (line.BoolAt("execute")) {
      threads_.emplace_back([this, command, args = std::move(args), done, options] {
        done(pool_->Execute(command, args, options));
      });
    } else {
      pool_->Submit(command, std::move(args), done, options);
    }
  }

  void Health(const Value& line) {
    const auto health = pool_->CheckHealth(static_cast<int>(line.IntegerAt("worker")));
    Value::Map event = {{"event", "end"}, {"tag", line.TextAt("tag")}, {"ok", true}};
    if (health) {
      event["version"] = std::string_view(health->version).substr(0, kLongestText);
      event["version_bytes"] = health->version.size();
      event["worker_id_bytes"] = health->worker_id.size();
    } else {
      Describe(health.error(), &event);
    }
    Tell(std::move(event));
  }

  void Workers() {
    Value::Array workers;
    for (const auto& worker : pool_->Workers()) {
      workers.push_back(Value::Map{{"id", worker.id},
                                   {"state", snakepit::WorkerStateName(worker.state)},
                                   {"pid", worker.pid},
                                   {"restarts", worker.restarts}});
    }
    Tell({{"event", "workers"}, {"workers", std::move(workers)}, {"log_lines", log_lines_.load()}});
  }

  void Shutdown() {
    const Clock::time_point begin = Clock::now();
    if (pool_) pool_->Shutdown();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    pool_.reset();
    Tell({{"event", "shutdown"}, {"ms", MillisecondsSince(begin)}});
  }

  std::optional<Pool> pool_;
  std::vector<std::thread> threads_;  // calls with Execute
  std::atomic<int64_t> log_lines_ = 0;
};

}  // namespace

int main() {
  Host host;
  for (std::string line; std::getline(std::cin, line);) {
    const auto value = Value::FromJson(line);
    if (!value) return 2;
    host.Do(*value);
  }
  return 0;
}
