// The judge's proof, without a worker, that it can say no, and for the right reason.
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

// Runs cases that leak, hang, fail, or need a worker that ends at once.
std::vector<SelfTestResult> SelfTest(const ScratchFolder& scratch);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_SELF_TEST_H_
