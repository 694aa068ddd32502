// Case: one requirement of PROTOCOL.md, and the function that judges it.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_CASE_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_CASE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace snakepit::conformance {

class Testbed;

enum class Status {
  kPass,
  kFail,           // red
  kNotApplicable,  // the worker lacks what the case needs; never a pass
  kNotRun,         // red: the case was asked for, and could not be begun
  kHarnessError,   // the judge itself failed
};

// "pass", "fail", "not-applicable", "not-run" or "harness-error".
std::string_view StatusName(Status status);

// What a case found. `expected` and `observed` are one line each; `expected` is for failures alone.
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

// A worker or a pool with one bug, which must fail the case for the stated reason. The name is that
// of mutants/mutant_worker.py's --bug, or of mutants/mutant_pool.h.
struct Mutant {
  enum class Kind { kWorker, kPool };
  Kind kind;
  std::string_view name;
  std::string_view reason;  // what the case's `observed` has to contain
};

struct Case {
  std::string_view id;           // group/name; never reused
  std::string_view title;        // one line
  std::string_view clause;       // of PROTOCOL.md
  std::string_view requirement;  // what has to hold
  // The clause by which a worker of version 1 is judged, where `clause` is one of version 2 alone.
  std::string_view version_1_clause = {};
  int workers = 1;                  // of the pool that the case finds in its Testbed; 0: no pool
  std::string_view transport = {};  // the one where it applies; empty: both
  Verdict (*run)(Testbed& testbed) = nullptr;
  std::vector<Mutant> mutants;  // a case without one is not finished
};

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_CASE_H_
