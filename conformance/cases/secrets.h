// What a pool gives a gRPC worker of its own and nobody else, for the cases that call a worker past
// the pool.
#ifndef SNAKEPIT_CONFORMANCE_CASES_SECRETS_H_
#define SNAKEPIT_CONFORMANCE_CASES_SECRETS_H_

#include <string>
#include <variant>

#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

struct Secrets {
  std::string token;
  std::string target;  // where the worker listens, as gRPC names it
};

// The file's bytes; none when it cannot be read.
std::string ReadAll(const std::string& path);

// Starts the pool, of one worker, with a shell around it that writes down what the worker is given,
// and then becomes the worker. The verdict when that does not work, or when the command line has no
// address.
std::variant<Secrets, Verdict> StartAndTakeSecrets(Testbed& testbed);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_SECRETS_H_
