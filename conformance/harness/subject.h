// Subject: the worker that is judged, as the command line names it.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_SUBJECT_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_SUBJECT_H_

#include <string>
#include <vector>

#include "snakepit/adapter.h"
#include "src/cli/worker_variables.h"

namespace snakepit::conformance {

struct Subject {
  std::string transport = "stdio";  // "stdio" or "grpc"
  std::string codec = "auto";       // of stdio, what is offered: "auto" is both; "json", "msgpack"
  bool handshake = true;            // of stdio; false: `codec` from the first frame on
  WorkerVariables variables;        // --env
  int expected_version = 0;         // --expect-version; 0: any
  std::vector<std::string> argv;    // with `{port}`, `{socket}` and `{worker_id}`, as in an Adapter
};

// A named codec is the only one offered in the handshake: a worker that negotiates has to take it,
// and one that was started with it is taken to speak it (PROTOCOL.md 3.3).
Adapter MakeAdapter(const Subject& subject);

// INVALID_ARGUMENT, saying what to do, when argv[0] is no file that this user may execute.
Result<void> CheckExecutable(const Subject& subject);

// The command line that runs one case against the subject again.
std::string RepeatCommand(std::string_view program, const Subject& subject, std::string_view id);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_SUBJECT_H_
