// Summary: the outcomes of many calls.
#ifndef SNAKEPIT_CLI_SUMMARY_H_
#define SNAKEPIT_CLI_SUMMARY_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "snakepit/error.h"
#include "src/cli/latencies.h"

namespace snakepit {

// Not synchronised.
struct Summary {
  Latencies latencies;                  // those of successful calls
  std::map<ErrorCode, Error> failures;  // the first failure of each code
  std::map<ErrorCode, int64_t> failed_by_code;
  int64_t failed = 0;
  int64_t cut_short = 0;  // interrupted calls: neither succeeded nor failed

  void AddSuccess(std::chrono::nanoseconds latency) { latencies.Add(latency); }
  void AddFailure(const Error& error);
  void Merge(const Summary& other);

  // "summary: 97 ok, 3 failed (2 WORKER_LOST, 1 DEADLINE_EXCEEDED); p50 1.2 ms, p99 3 ms; 80
  // calls/s". `elapsed`: the time of all calls together.
  std::string ToText(std::chrono::nanoseconds elapsed) const;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_SUMMARY_H_
