// What is said of a worker that could not be started.
#ifndef SNAKEPIT_SRC_PROCESS_START_ERROR_H_
#define SNAKEPIT_SRC_PROCESS_START_ERROR_H_

#include <optional>
#include <string>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/process/cgroup.h"
#include "src/process/guardian_protocol.h"

namespace snakepit {

// What the message has to name.
struct Starting {
  std::string program;
  std::string working_directory;
  ProcessSettings process;
  std::optional<CgroupPlan> cgroup;
};

// START_FAILED: which step failed, why, and what would help. `event` is a kSpawnFailed.
Error StartError(const Starting& starting, const guardian_protocol::Event& event);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_START_ERROR_H_
