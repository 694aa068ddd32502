// The cases, a file per group.
#ifndef SNAKEPIT_CONFORMANCE_CASES_CASES_H_
#define SNAKEPIT_CONFORMANCE_CASES_CASES_H_

#include <string>
#include <string_view>
#include <vector>

#include "conformance/harness/case.h"

namespace snakepit::conformance {

std::vector<Case> VersionCases();
std::vector<Case> ClaimCases();
std::vector<Case> TokenCases();
std::vector<Case> PingCases();
std::vector<Case> ValueCases();
std::vector<Case> ErrorCases();
std::vector<Case> StreamCases();
std::vector<Case> CancelCases();
std::vector<Case> DeadlineCases();
std::vector<Case> SessionCases();
std::vector<Case> ConcurrencyCases();
std::vector<Case> CrashCases();

// The case that judges by --expect-version: it runs whenever that is given.
inline constexpr char kExpectedVersionCase[] = "ver/expected";

// All of them, in the order in which they run.
const std::vector<Case>& AllCases();

// The case that has to fail, whatever the worker: it asks for what no worker gives.
const Case& Canary();

// nullptr when there is none.
const Case* FindCase(std::string_view id);

// Those whose id matches one of the patterns, of which '*' stands for any characters, '/' included:
// "str/**" is the group str. Without a pattern, all.
std::vector<const Case*> SelectCases(const std::vector<std::string>& patterns);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_CASES_H_
