// The secrets that a pool shares with its gRPC worker, for cases that call the worker past the
// pool.
#ifndef SNAKEPIT_CONFORMANCE_CASES_SECRETS_H_
#define SNAKEPIT_CONFORMANCE_CASES_SECRETS_H_

#include <string>
#include <variant>

#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

struct Secrets {
  std::string token;
  std::string target;  // the worker's address, in gRPC's form
};

// The bytes of the file; none if it cannot be read.
std::string ReadAll(const std::string& path);

// Starts the pool with one worker. A shell around the worker writes down the secrets, and then
// becomes the worker. A verdict if that fails, or if the command line has no address.
std::variant<Secrets, Verdict> StartAndTakeSecrets(Testbed& testbed);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_SECRETS_H_
