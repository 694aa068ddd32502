// ChildProcess: a process of the benchmark outside any pool.
#ifndef SNAKEPIT_BENCH_CHILD_PROCESS_H_
#define SNAKEPIT_BENCH_CHILD_PROCESS_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "snakepit/error.h"

namespace snakepit {

// The path of this program, which is started again in other roles.
std::string OwnPath();

// Owns the process: kills it if it still runs, and reaps it.
class ChildProcess {
 public:
  // argv[0] is a path. The environment is this process's with `environment` on top. stderr is
  // shared.
  static Result<ChildProcess> Start(const std::vector<std::string>& argv,
                                    const std::map<std::string, std::string>& environment,
                                    int stdin_fd, int stdout_fd);

  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  // Waits for the end of the process.
  ExitStatus Wait();

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;  // 0: none, or reaped
};

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_CHILD_PROCESS_H_
