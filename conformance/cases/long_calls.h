// Calls of conf.sleep whose handlers run.
#ifndef SNAKEPIT_CONFORMANCE_CASES_LONG_CALLS_H_
#define SNAKEPIT_CONFORMANCE_CASES_LONG_CALLS_H_

#include <chrono>
#include <string>
#include <vector>

#include "conformance/wire/stdio_pool_end.h"

namespace snakepit::conformance {

class LongCalls {
 public:
  // Starts so many calls of that length, and waits until each handler has begun. Not-applicable for
  // a worker without version 2 or conf.sleep.
  LongCalls(StdioPoolEnd& pool, int count, std::chrono::milliseconds length);
  ~LongCalls();
  LongCalls(const LongCalls&) = delete;
  LongCalls& operator=(const LongCalls&) = delete;

  const std::vector<int64_t>& ids() const { return ids_; }

 private:
  std::string folder_;  // where the handlers make their files
  std::vector<int64_t> ids_;
};

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_LONG_CALLS_H_
