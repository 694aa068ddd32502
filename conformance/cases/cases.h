// The cases, in one file for each group.
#ifndef SNAKEPIT_CONFORMANCE_CASES_CASES_H_
#define SNAKEPIT_CONFORMANCE_CASES_CASES_H_

#include <string>
#include <string_view>
#include <vector>

#include "conformance/harness/case.h"

namespace snakepit::conformance {

std::vector<Case> HandshakeCases();
std::vector<Case> FramingCases();
std::vector<Case> SizeCases();
std::vector<Case> MessageCases();
std::vector<Case> ShutdownCases();
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

// The case for --expect-version. It runs whenever that flag is given.
inline constexpr char kExpectedVersionCase[] = "ver/expected";

// All cases, in the order of a run.
const std::vector<Case>& AllCases();

// The case that fails for every worker, since it requires a result that none gives.
const Case& Canary();

// nullptr if there is no such case.
const Case* FindCase(std::string_view id);

// The cases whose id matches one of the patterns; all without a pattern. '*' stands for any
// characters, also '/': "str/**" is the group str.
std::vector<const Case*> SelectCases(const std::vector<std::string>& patterns);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_CASES_H_
