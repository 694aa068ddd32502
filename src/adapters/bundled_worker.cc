#include "src/adapters/bundled_worker.h"

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
  // The environment of a test names its runfiles. A program has them beside itself.
  std::string error;
  std::error_code unreadable;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", unreadable);
  const bool is_test = std::getenv("TEST_SRCDIR") != nullptr;
  if (!is_test && unreadable) {
    return Fail(ErrorCode::kInternal,
                "the bundled worker was not found: /proc/self/exe cannot be read: " +
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

}  // namespace

Result<Adapter> BundledWorker(TransportKind transport, std::vector<Codec> codecs) {
  Result<std::string> folder = PythonFolder();
  if (!folder) return Fail(std::move(folder.error()));
  Adapter adapter;
  // Debian's interpreter has the packages that the project installs. Without -P, -m would look for
  // modules in the working folder first, and so would the processes of multiprocessing.
  adapter.argv = {"/usr/bin/python3", "-P", "-m", "snakepit_bridge"};
  adapter.environment.emplace("PYTHONPATH", *folder);
  adapter.environment.emplace("PYTHONDONTWRITEBYTECODE", "1");
  ServeOver(transport, adapter, std::move(codecs));
  return adapter;
}

}  // namespace snakepit
