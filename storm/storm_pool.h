// The pool that the storm is about, with its workers' files.
#ifndef SNAKEPIT_STORM_POOL_UNDER_TEST_H_
#define SNAKEPIT_STORM_POOL_UNDER_TEST_H_

#include <sys/types.h>

#include <deque>
#include <ios>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "storm/check.h"
#include "storm/history.h"
#include "storm/storm.h"

namespace snakepit::storm {

class PoolUnderTest {
 public:
  // `begin`: what the times in the log count from.
  PoolUnderTest(const StormOptions& options, Time begin);
  ~PoolUnderTest();
  PoolUnderTest(const PoolUnderTest&) = delete;
  PoolUnderTest& operator=(const PoolUnderTest&) = delete;

  Result<void> Start();
  // Ends it.
  void Shutdown() { pool_->Shutdown(); }

  Pool& pool() { return *pool_; }
  const std::string& control_file() const { return control_file_; }
  // What follows from the pool's options.
  Limits limits() const;

  // What was added since the last time.
  Journal ReadJournal();

  // Those of the processes that still are, and are workers of this storm.
  std::vector<pid_t> Remaining(const std::set<pid_t>& pids) const;

  // The last lines of the pool's log.
  std::string LogTail() const;

 private:
  PoolOptions Options();
  size_t MaxQueuedCalls() const;
  void Log(std::string_view line);

  const StormOptions& options_;
  const Time begin_;
  std::string folder_;
  std::string journal_file_;
  std::string control_file_;
  std::streamoff journal_read_ = 0;  // bytes
  mutable std::mutex log_mutex_;
  std::deque<std::string> log_;
  std::optional<Pool> pool_;  // last: it logs until its end
};

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_POOL_UNDER_TEST_H_
