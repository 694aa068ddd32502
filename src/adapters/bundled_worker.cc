#include "src/cli/bundled_worker.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "tools/cpp/runfiles/runfiles.h"

namespace snakepit {
namespace {

using bazel::tools::cpp::runfiles::Runfiles;

constexpr char kMainFile[] = "/snakepit_bridge/__main__.py";

// The folder that holds the package snakepit_bridge.
Result<std::string> PythonFolder() {
  // A test says where its files are by the environment; a program has them beside itself.
  std::string error;
  std::error_code unreadable;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", unreadable);
  const bool is_test = std::getenv("TEST_SRCDIR") != nullptr;
  if (!is_test && unreadable) {
    return Fail(ErrorCode::kInternal,
                "the bundled worker was not found, as /proc/self/exe cannot be "
                "read: " +
                    unreadable.message() + "; mount /proc, or name a worker after --");
  }
  std::unique_ptr<Runfiles> runfiles(is_test ? Runfiles::CreateForTest(&error)
                                             : Runfiles::Create(self, &error));
  if (runfiles == nullptr) {
    return Fail(ErrorCode::kInternal, "the bundled worker was not found: " + error);
  }
  std::string main = runfiles->Rlocation(std::string("snakepit/python") + kMainFile);
  if (main.empty()) {
    return Fail(ErrorCode::kInternal,
                "the bundled worker was not found: snakepit/python/snakepit_bridge is not in the "
                "runfiles of this program; name a worker after --");
  }
  main.resize(main.size() - (sizeof(kMainFile) - 1));
  return main;
}

Result<Adapter> BundledWorker(std::vector<std::string> arguments) {
  Result<std::string> folder = PythonFolder();
  if (!folder) return Fail(std::move(folder.error()));
  Adapter adapter;
  // Debian's interpreter: its packages are those that the project installs. -m alone would look for
  // modules in the working folder first, and run what lies there by the name of one; -P keeps that
  // folder out, for the worker and for what multiprocessing starts.
  adapter.argv = {"/usr/bin/python3", "-P", "-m", "snakepit_bridge"};
  adapter.argv.insert(adapter.argv.end(), arguments.begin(), arguments.end());
  adapter.environment.emplace("PYTHONPATH", *folder);
  adapter.environment.emplace("PYTHONDONTWRITEBYTECODE", "1");
  return adapter;
}

}  // namespace

Result<Adapter> BundledStdioWorker(std::vector<Codec> codecs) {
  Result<Adapter> adapter = BundledWorker({"--transport", "stdio"});
  if (adapter) adapter->transport = StdioTransport{.codecs = std::move(codecs)};
  return adapter;
}

Result<Adapter> BundledGrpcWorker() {
  Result<Adapter> adapter = BundledWorker({"--transport", "grpc", "--socket", "{socket}"});
  if (adapter) adapter->transport = GrpcTransport{};
  return adapter;
}

}  // namespace snakepit
