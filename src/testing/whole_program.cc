// A program that is a pool and its workers at once, and needs no other file:
//
//   whole_program pool BEHAVIOUR TRANSPORT   a pool of two workers, until it is killed
//   whole_program call BEHAVIOUR TRANSPORT   one call, and the end of the pool
//   whole_program worker BEHAVIOUR …         a worker of these pools
//
// BEHAVIOUR of the workers: `serves`; `starts`, which is never ready; or `lingers`, with children
// that have left it. TRANSPORT is stdio or grpc. stdout has the pool's log, and with it each
// worker's stderr: its descriptors and its progress.
#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "snakepit/worker.h"
#include "src/process/testing/children.h"

namespace snakepit {
namespace {

using testing::Hold;
using testing::StartChild;

void Say(const std::string& text) {
  const std::string line = text + "\n";
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) std::abort();
}

void SayDescriptors() {
  std::vector<int> open;
  DIR* const fds = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(fds)) {
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != dirfd(fds)) {
      open.push_back(std::atoi(entry->d_name));
    }
  }
  closedir(fds);
  std::sort(open.begin(), open.end());
  std::string text = "descriptors";
  for (const int fd : open) text += " " + std::to_string(fd);
  Say(text);
}

void CloseStdio() {
  for (const int fd : {0, 1, 2}) close(fd);
}

void StartLingerers() {
  StartChild(CloseStdio);
  StartChild([] {
    CloseStdio();
    setsid();
  });
  StartChild([] {
    CloseStdio();
    testing::BecomeDaemon();
  });
}

int RunWorker(const std::string& behaviour, int argc, char** argv) {
  SayDescriptors();
  if (behaviour == "starts") {
    Say("in start-up");
    Hold();
  }
  if (behaviour == "lingers") StartLingerers();
  Worker worker("whole_program");
  worker.Command("echo", [](const Call& call) { return call.args(); });
  worker.Command("hold", [](const Call&) -> Value {
    Say("busy");
    Hold();
  });
  return worker.Main(argc, argv);
}

PoolOptions Options(const std::string& behaviour, const std::string& transport) {
  char self[PATH_MAX] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) std::abort();
  PoolOptions options;
  options.workers = 2;
  options.adapter.argv = {self, "worker", behaviour};
  if (transport == "grpc") {
    options.adapter.transport = GrpcTransport{};
    options.adapter.argv.insert(options.adapter.argv.end(),
                                {"--transport", "grpc", "--socket", "{socket}"});
  }
  if (const char* mark = std::getenv("MARK")) options.adapter.environment["MARK"] = mark;
  options.log = [](LogLevel, std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(stdout);
  };
  return options;
}

int RunPool(const PoolOptions& options) {
  auto pool = Pool::Start(options);
  if (!pool) return 1;
  std::vector<std::thread> calls;
  for (int i = 0; i < options.workers; ++i) {
    calls.emplace_back([&pool] { (void)pool->Execute("hold", {}); });
  }
  for (std::thread& call : calls) call.join();
  return 0;
}

int RunCall(const PoolOptions& options) {
  auto pool = Pool::Start(options);
  if (!pool) {
    std::printf("%s\n%s\n", pool.error().ToString().c_str(), pool.error().stderr_tail.c_str());
    return 1;
  }
  auto result = pool->Execute("echo", Value::Map{{"text", "hello"}});
  std::printf("%s\n", result ? result->ToJson().c_str() : result.error().ToString().c_str());
  return result ? 0 : 1;
}

int Main(int argc, char** argv) {
  if (argc < 4 && !(argc == 3 && std::string_view(argv[1]) == "worker")) return 2;
  const std::string_view mode = argv[1];
  const std::string behaviour = argv[2];
  if (mode == "worker") {
    argv[2] = argv[0];
    return RunWorker(behaviour, argc - 2, argv + 2);
  }
  if (mode == "pool") return RunPool(Options(behaviour, argv[3]));
  if (mode == "call") return RunCall(Options(behaviour, argv[3]));
  return 2;
}

}  // namespace
}  // namespace snakepit

int main(int argc, char** argv) { return snakepit::Main(argc, argv); }
