#include "conformance/cases/secrets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "src/base/fd.h"

namespace snakepit::conformance {
namespace {

std::vector<std::string> SplitAtZeros(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\0', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// The text in the place of the placeholder; empty if the template has none.
std::string FilledIn(const std::string& pattern, const std::string& argument,
                     std::string_view placeholder) {
  const size_t at = pattern.find(placeholder);
  if (at == std::string::npos) return {};
  const size_t rest = pattern.size() - at - placeholder.size();
  if (argument.size() < at + rest) return {};
  return argument.substr(at, argument.size() - at - rest);
}

// Longer than a token and a command line.
constexpr size_t kMostSecretBytes = size_t{1} << 20;

// A new file that only this user can read. The shell writes to it by name, since it inherits no
// descriptor of this process.
struct SecretFile {
  SecretFile() : fd(mkostemp(path.data(), O_CLOEXEC)) {}
  ~SecretFile() {
    if (fd.valid()) unlink(path.c_str());
  }
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;

  // Not by name, since the worker could replace the file.
  std::string Text() const {
    std::string text(kMostSecretBytes, '\0');
    text.resize(std::max<ssize_t>(0, pread(fd.get(), text.data(), text.size(), 0)));
    return text;
  }

  std::string path = std::filesystem::temp_directory_path() / "judge-secrets-XXXXXX";
  const UniqueFd fd;
};

}  // namespace

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::variant<Secrets, Verdict> StartAndTakeSecrets(Testbed& testbed) {
  const SecretFile file;
  if (!file.fd.valid()) {
    return Verdict::HarnessError("no file can be made in TMPDIR: " + ErrnoMessage(errno));
  }
  const std::string script =
      "printf '%s\\0' \"$SNAKEPIT_TOKEN\" \"$@\" > '" + file.path + "' && exec \"$@\"";
  if (auto started = testbed.StartPool(1, {"/bin/sh", "-c", script, "sh"}); !started) {
    return Verdict{Status::kNotRun, "the worker starts in a shell", started.error().ToString()};
  }
  const std::vector<std::string> given = SplitAtZeros(file.Text());
  const std::vector<std::string>& argv = testbed.adapter().argv;
  if (given.size() != argv.size() + 1) {
    return Verdict::HarnessError("the shell around the worker wrote " +
                                 std::to_string(given.size()) + " texts down");
  }
  if (given[0].empty()) return Verdict::Fail("the pool gives the worker a token", "it gives none");
  testbed.KeepSecret(given[0]);
  for (size_t i = 0; i < argv.size(); ++i) {
    const std::string socket = FilledIn(argv[i], given[i + 1], "{socket}");
    if (!socket.empty()) return Secrets{given[0], "unix:" + socket};
    const std::string port = FilledIn(argv[i], given[i + 1], "{port}");
    if (!port.empty()) return Secrets{given[0], "127.0.0.1:" + port};
  }
  return Verdict::NotApplicable("the command line has neither {socket} nor {port}");
}

}  // namespace snakepit::conformance
