#include "conformance/harness/subject.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "src/base/fd.h"
#include "src/base/quote.h"

namespace snakepit::conformance {
namespace {

// 0 or errno.
int WhyNotExecutable(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  return access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

}  // namespace

Adapter MakeAdapter(const Subject& subject) {
  Adapter adapter;
  adapter.argv = subject.argv;
  subject.variables.AddTo(adapter);
  if (subject.transport == TransportKind::kGrpc) {
    adapter.transport = GrpcTransport{};
  } else {
    StdioTransport stdio{.negotiate = subject.handshake};
    if (subject.codec) stdio.codecs = {*subject.codec};
    adapter.transport = std::move(stdio);
  }
  return adapter;
}

std::string CodecFlag(const Subject& subject) {
  return subject.codec ? std::string(CodecName(*subject.codec)) : "auto";
}

Result<void> CheckExecutable(const Subject& subject) {
  const std::string& program = subject.argv.front();
  int error = ENOENT;
  if (program.find('/') != std::string::npos) {
    error = WhyNotExecutable(program);
  } else {
    const char* path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
    for (std::string folder; error != 0 && std::getline(folders, folder, ':');) {
      const int why = WhyNotExecutable((folder.empty() ? "." : folder) + "/" + program);
      if (why != ENOENT) error = why;
    }
  }
  if (error == 0) return {};
  std::string advice = "check the path after `--`";
  if (error == EACCES) advice = "make it executable (chmod +x), or name its interpreter after `--`";
  return Fail(ErrorCode::kInvalidArgument, "the worker '" + program + "' cannot be executed: " +
                                               ErrnoMessage(error) + "; " + advice);
}

std::string RepeatCommand(std::string_view program, const Subject& subject, std::string_view id) {
  std::string command = ShellQuote(program) + " run --transport ";
  command += TransportFlag(subject.transport);
  if (subject.codec) command += " --codec " + CodecFlag(subject);
  if (!subject.handshake) command += " --no-handshake";
  if (subject.expected_version > 0) {
    command += " --expect-version " + std::to_string(subject.expected_version);
  }
  if (subject.strict) command += " --strict";
  for (const std::string& flag : ToFlags(subject.variables))
    command += " --env " + ShellQuote(flag);
  command += " --case " + ShellQuote(id) + " --";
  for (const std::string& argument : subject.argv) command += " " + ShellQuote(argument);
  return command;
}

}  // namespace snakepit::conformance
