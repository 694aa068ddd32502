// Case: one requirement of PROTOCOL.md, and the function that judges it.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_CASE_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_CASE_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/adapters/transport_kind.h"

namespace snakepit::conformance {

class StdioPoolEnd;
class Testbed;

enum class Status {
  kPass,
  kFail,           // red
  kWarning,        // the worker breaks a SHOULD; red with --strict
  kNotApplicable,  // the worker lacks something that the case needs; never a pass
  kNotRun,         // red: the case was selected but could not begin
  kHarnessError,   // the judge itself failed
};

// "pass", "fail", "warning", "not-applicable", "not-run" or "harness-error".
std::string_view StatusName(Status status);

// The result of a case. `expected` and `observed` are one line each; only failures have `expected`.
struct Verdict {
  Status status = Status::kPass;
  std::string expected;
  std::string observed;

  static Verdict Pass() { return {}; }
  static Verdict Fail(std::string expected, std::string observed) {
    return {Status::kFail, std::move(expected), std::move(observed)};
  }
  static Verdict NotApplicable(std::string why) {
    return {Status::kNotApplicable, {}, std::move(why)};
  }
  static Verdict HarnessError(std::string what) {
    return {Status::kHarnessError, {}, std::move(what)};
  }
};

// A worker or a pool with one bug, which must fail the case for the stated reason. The name is a
// value of --bug of mutants/mutant_worker.py, or one of PoolBugs() of mutants/mutant_pool.h.
struct Mutant {
  enum class Kind { kWorker, kPool };
  Kind kind;
  std::string_view name;
  std::string_view reason;  // a part of the case's `observed`
};

// The word of the clause: RFC 2119.
enum class Level { kMust, kShould };

// A case has `run`, which uses a pool of the worker, or `judge`, in which the judge itself speaks
// to one worker over stdio.
struct Case {
  std::string_view id;           // group/name; never reused
  std::string_view title;        // one line
  std::string_view clause;       // its number in PROTOCOL.md
  std::string_view requirement;  // one sentence
  // The clause for a worker of version 1, if `clause` is of version 2 only.
  std::string_view version_1_clause = {};
  Level level = Level::kMust;
  int workers = 1;                              // in the pool of the Testbed; 0: no pool
  std::optional<TransportKind> transport = {};  // the only one that it applies to; absent: both
  Verdict (*run)(Testbed& testbed) = nullptr;
  // Returns when the worker has passed. Every other end is a CaseEnd that it throws.
  void (*judge)(StdioPoolEnd& pool) = nullptr;
  std::vector<Mutant> mutants;  // at least one
};

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_CASE_H_
