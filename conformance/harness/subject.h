// Subject: the judged worker, as the command line names it.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_SUBJECT_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_SUBJECT_H_

#include <optional>
#include <string>
#include <vector>

#include "snakepit/adapter.h"
#include "src/adapters/transport_kind.h"
#include "src/cli/worker_variables.h"

namespace snakepit::conformance {

struct Subject {
  TransportKind transport = TransportKind::kStdio;
  std::optional<Codec> codec;     // on stdio: the only one offered; absent: both
  bool handshake = true;          // on stdio; false: `codec` from the first frame on
  WorkerVariables variables;      // --env
  int expected_version = 0;       // --expect-version; 0: any
  bool strict = false;            // --strict: a broken SHOULD is red
  std::vector<std::string> argv;  // with `{port}`, `{socket}` and `{worker_id}`, as in an Adapter
};

// The adapter of the subject. A named codec is the only one offered in the handshake: a worker that
// negotiates has to take it, and one that was started with it is taken to speak it
// (PROTOCOL.md 3.3).
Adapter MakeAdapter(const Subject& subject);

// "json", "msgpack" or, for both, "auto": the value of --codec.
std::string CodecFlag(const Subject& subject);

// INVALID_ARGUMENT, with a hint, if this user may not execute argv[0].
Result<void> CheckExecutable(const Subject& subject);

// The command line that runs one case against the subject again.
std::string RepeatCommand(std::string_view program, const Subject& subject, std::string_view id);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_SUBJECT_H_
