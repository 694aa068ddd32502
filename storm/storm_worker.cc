// A worker of the storm on the C++ SDK. What it does is in a journal that all workers share, one
// write a line, each with the pid and the time of CLOCK_MONOTONIC in microseconds:
//
//   start 0 PID TIME     a process began
//   begin ID PID TIME    the handler of call ID began; it may be killed after this
//   end ID PID TIME      and it is through
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "snakepit/worker.h"

namespace {

using snakepit::Bytes;
using snakepit::Call;
using snakepit::ChunkSink;
using snakepit::InvalidArgument;
using snakepit::Result;
using snakepit::Value;

int journal = -1;

// The variable, which the storm always sets.
const char* Variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) {
    std::fprintf(stderr, "storm_worker: %s is not set\n", name);
    _exit(2);
  }
  return value;
}

void Note(const char* event, int64_t id) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  char line[96];
  const int size =
      std::snprintf(line, sizeof line, "%s %lld %d %lld\n", event, static_cast<long long>(id),
                    getpid(), now.tv_sec * 1'000'000LL + now.tv_nsec / 1000);
  if (write(journal, line, static_cast<size_t>(size)) != size) _exit(2);
}

// One execution of a call, from its begin to its end.
class Execution {
 public:
  explicit Execution(const Call& call) : id_(call.Integer("id")) {
    static const bool twice = std::string_view(Variable("STORM_PLANT")) == "double";
    Note("begin", id_);
    if (twice && id_ % 10 == 0) Note("begin", id_);
  }
  ~Execution() { Note("end", id_); }

  Value::Map Reply() const { return {{"id", id_}, {"pid", getpid()}}; }

 private:
  const int64_t id_;
};

void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) return;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

// To the pool, past the SDK: on stdio between two frames, on gRPC into the middle of HTTP/2.
void WriteToEachSocket(std::string_view bytes) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.starts_with("socket:")) WriteAll(std::atoi(entry.path().filename().c_str()), bytes);
  }
}

void AddCommands(snakepit::Worker& worker) {
  worker.Command("work", [](const Call& call) {
    const Execution execution(call);
    call.Wait(std::chrono::milliseconds(call.Integer("ms")));
    return execution.Reply();
  });
  worker.Stream("chunks", [](const Call& call, ChunkSink& out) {
    const Execution execution(call);
    const std::string data(static_cast<size_t>(call.Integer("bytes")), 'x');
    for (int64_t i = 0; i < call.Integer("count"); ++i) {
      Value::Map chunk = execution.Reply();
      chunk["number"] = i;
      chunk["data"] = data;
      if (!out.Send(std::move(chunk))) return;
    }
  });
  worker.Command("remember", [](const Call& call) {
    const Execution execution(call);
    Value::Map reply = execution.Reply();
    call.UseSession(
        [&](Value& state) { reply["count"] = state = state.Get<int64_t>().value_or(0) + 1; });
    return reply;
  });
  worker.Command("flood", [](const Call& call) {
    const Execution execution(call);
    std::string block;
    while (block.size() < 64 * 1024) block += std::string(127, 'x') + "\n";
    for (int64_t left = call.Integer("bytes"); left > 0; left -= block.size()) {
      WriteAll(STDERR_FILENO, block);
    }
    return execution.Reply();
  });
  worker.Command("garbage", [](const Call& call) {
    const Execution execution(call);
    const Value* bytes = call.args().Find("bytes");
    if (bytes == nullptr || bytes->get_if<Bytes>() == nullptr) throw InvalidArgument("no bytes");
    WriteToEachSocket(bytes->get_if<Bytes>()->data);
    return execution.Reply();
  });
  worker.Command("crash", [](const Call& call) -> Result<Value> {
    const Execution execution(call);
    if (const int64_t signal = call.Integer("signal", 0)) kill(getpid(), static_cast<int>(signal));
    _exit(static_cast<int>(call.Integer("code", 0)));
  });
}

// What the control file says: how long to take, and whether to end instead.
void StartAsTold() {
  std::ifstream control(Variable("STORM_CONTROL"));
  int delay_ms = 0, exit_code = 0;
  control >> delay_ms >> exit_code;
  std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
  if (exit_code != 0) _exit(exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  journal = open(Variable("STORM_JOURNAL"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (journal < 0) {
    std::perror("storm_worker: STORM_JOURNAL");
    return 2;
  }
  Note("start", 0);
  StartAsTold();
  snakepit::Worker worker("storm", {.capacity = std::atoi(Variable("STORM_CAPACITY"))});
  AddCommands(worker);
  return worker.Main(argc, argv);
}
