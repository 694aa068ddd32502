// The error of a worker that could not be started.
#ifndef SNAKEPIT_PROCESS_START_ERROR_H_
#define SNAKEPIT_PROCESS_START_ERROR_H_

#include <optional>
#include <string>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/process/cgroup.h"
#include "src/process/guardian/protocol.h"

namespace snakepit {

// The facts that the message names.
struct Starting {
  std::string program;
  std::string working_directory;
  ProcessSettings process;
  std::optional<CgroupPlan> cgroup;
};

// START_FAILED with the failed step, the reason and a remedy. `event` is a kSpawnFailed.
Error StartError(const Starting& starting, const guardian_protocol::Event& event);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_START_ERROR_H_
