// snakepit: runs commands on a pool of worker processes, in any language, over stdio or gRPC.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "src/base/threads.h"
#include "src/cli/arguments.h"
#include "src/cli/calls.h"
#include "src/cli/demo.h"
#include "src/cli/interrupts.h"
#include "src/cli/output.h"

namespace snakepit {
namespace {

// Replaces closed standard streams, since the next file that is opened would be taken for one. The
// replacement of stdout cannot be written, so that results are not lost silently.
void FillStandardStreams() {
  while (true) {
    const int fd = open("/dev/null", O_RDONLY);
    if (fd > STDERR_FILENO) close(fd);
    if (fd < 0 || fd > STDERR_FILENO) return;
  }
}

int Run(const std::vector<std::string>& arguments) {
  const ParsedArguments parsed = ParseArguments(arguments);
  if (const auto* print = std::get_if<PrintAndExit>(&parsed)) {
    // Nothing has to be stopped in order, so signals keep their default action.
    const int error = WriteAll(print->exit_code == 0 ? STDOUT_FILENO : STDERR_FILENO, print->text);
    return error == 0 || print->exit_code != 0 ? print->exit_code : 1;
  }
  Interrupts::BlockSignals();
  const auto* calls = std::get_if<CallArguments>(&parsed);
  Output output(STDOUT_FILENO, STDERR_FILENO, calls != nullptr && calls->raw);
  Interrupts interrupts(STDOUT_FILENO, output);
  const auto* demo = std::get_if<DemoArguments>(&parsed);
  const int exit_code =
      demo != nullptr ? RunDemo(*demo, interrupts, output) : RunCalls(*calls, interrupts, output);
  output.Finish();
  return interrupts.requested() ? interrupts.exit_code() : exit_code;
}

}  // namespace
}  // namespace snakepit

int main(int argc, char** argv) {
  snakepit::FillStandardStreams();
  // `bazel run` starts a program in a folder of its own, and this variable names the user's, from
  // which relative paths are meant.
  if (const char* directory = std::getenv("BUILD_WORKING_DIRECTORY")) (void)!chdir(directory);
  try {
    return snakepit::Run({argv + 1, argv + argc});
  } catch (const std::bad_alloc&) {  // the text is constant, since there is no memory
    snakepit::WriteAll(STDERR_FILENO,
                       "error: INTERNAL: out of memory; is this process limited to too little "
                       "(RLIMIT_AS, ulimit -v)?\n");
  } catch (const std::system_error& error) {
    const int number = error.code().value();
    // The library reports only the errno of a thread that cannot start.
    const std::string what = number == EAGAIN ? "cannot start a thread: " : "";
    snakepit::WriteAll(STDERR_FILENO, "error: INTERNAL: " + what + error.what() +
                                          snakepit::ProcessLimitAdvice(number) + "\n");
  } catch (const std::exception& error) {
    snakepit::WriteAll(STDERR_FILENO, std::string("error: INTERNAL: ") + error.what() + "\n");
  }
  return 1;
}
