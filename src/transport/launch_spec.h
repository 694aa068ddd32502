// The process that both kinds of launch make of an adapter.
#ifndef SNAKEPIT_TRANSPORT_LAUNCH_SPEC_H_
#define SNAKEPIT_TRANSPORT_LAUNCH_SPEC_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"

namespace snakepit {

// The environment of a worker as NAME=value: what it inherits, over it `own`, over that the
// adapter's, and over all `fixed`, which no adapter can change.
std::vector<std::string> WorkerEnvironment(const Adapter& adapter,
                                           std::map<std::string, std::string> own,
                                           const std::map<std::string, std::string>& fixed = {});

// The names, in their order, of the variables of this process that its workers do not get.
std::vector<std::string> NotInherited(const Adapter& adapter);

// "worker_3", as workers know themselves. PROTOCOL.md 1.2.1.
std::string WorkerIdText(int worker_id);

// A token that cannot be guessed, for one process that serves gRPC: 64 hexadecimal digits.
// PROTOCOL.md 6.13. INTERNAL when the system has no random bytes to give.
Result<std::string> NewToken();

// A name for one process of a worker that no other has, for `{instance}`. INTERNAL likewise.
Result<std::string> NewInstance();

// Placeholders, such as "{port}", and what they stand for.
using Placeholders = std::map<std::string, std::string>;

// Each argument with the placeholders in it filled in.
std::vector<std::string> FillIn(std::vector<std::string> arguments,
                                const Placeholders& placeholders);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_LAUNCH_SPEC_H_
