#include "conformance/harness/pool_under_test.h"

#include <utility>

namespace snakepit::conformance {
namespace {

class RealPool : public PoolUnderTest {
 public:
  explicit RealPool(Pool pool) : pool_(std::move(pool)) {}

  Result<Value> Execute(std::string_view command, const Value& args,
                        const CallOptions& options) override {
    return pool_.Execute(command, args, options);
  }
  Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                const ChunkCallback& on_chunk,
                                const CallOptions& options) override {
    return pool_.ExecuteStream(command, args, on_chunk, options);
  }
  void EndSession(std::string_view session) override { pool_.EndSession(session); }
  Result<WorkerHealth> CheckHealth(int worker, std::chrono::milliseconds timeout) override {
    return pool_.CheckHealth(worker, timeout);
  }
  PoolStats Stats() const override { return pool_.Stats(); }
  std::vector<WorkerInfo> Workers() const override { return pool_.Workers(); }

 private:
  Pool pool_;
};

}  // namespace

Result<std::unique_ptr<PoolUnderTest>> StartRealPool(PoolOptions options) {
  auto pool = Pool::Start(std::move(options));
  if (!pool) return Fail(std::move(pool.error()));
  return std::make_unique<RealPool>(std::move(*pool));
}

}  // namespace snakepit::conformance
