// Pools with one bug each, which the judge has to find. Each is the real pool, misused or
// misreported.
#ifndef SNAKEPIT_CONFORMANCE_MUTANTS_MUTANT_POOL_H_
#define SNAKEPIT_CONFORMANCE_MUTANTS_MUTANT_POOL_H_

#include <string>
#include <string_view>

#include "conformance/harness/pool_under_test.h"

namespace snakepit::conformance {

// Starts real pools that have the bug. The name must be one of PoolBugs().
PoolStarter MutantPoolStarter(std::string_view name);

// "ignores-sessions", and so on.
std::vector<std::string_view> PoolBugs();

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_MUTANTS_MUTANT_POOL_H_
