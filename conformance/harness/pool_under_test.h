// PoolUnderTest: a pool as the cases see it. The real pool is one; the mutants are others.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_POOL_UNDER_TEST_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_POOL_UNDER_TEST_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "snakepit/pool.h"

namespace snakepit::conformance {

// Thread-safe.
class PoolUnderTest {
 public:
  virtual ~PoolUnderTest() = default;
  virtual Result<Value> Execute(std::string_view command, const Value& args,
                                const CallOptions& options) = 0;
  virtual Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                        const ChunkCallback& on_chunk,
                                        const CallOptions& options) = 0;
  virtual void EndSession(std::string_view session) = 0;
  virtual Result<WorkerHealth> CheckHealth(int worker, std::chrono::milliseconds timeout) = 0;
  virtual PoolStats Stats() const = 0;
  virtual std::vector<WorkerInfo> Workers() const = 0;
};

using PoolStarter = std::function<Result<std::unique_ptr<PoolUnderTest>>(PoolOptions options)>;

// Starts the project's own pool.
Result<std::unique_ptr<PoolUnderTest>> StartRealPool(PoolOptions options);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_POOL_UNDER_TEST_H_
