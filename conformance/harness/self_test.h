// What the judge can prove of itself, without a worker: that it can say no, and for which reason.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_SELF_TEST_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_SELF_TEST_H_

#include <string>
#include <vector>

#include "conformance/harness/ledger.h"

namespace snakepit::conformance {

struct SelfTestResult {
  std::string what;  // "a leaked process turns a green case red"
  bool passed = false;
  std::string observed;
};

// Cases that leak, hang, fail and need a worker that ends at once; each has to end as it should.
std::vector<SelfTestResult> SelfTest(const ScratchFolder& scratch);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_SELF_TEST_H_
