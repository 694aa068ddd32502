// The place and the settings of a worker's cgroup: cgroups(7), version 2.
//
// A worker's cgroup cannot be inside its pool's: a cgroup that has processes of its own cannot give
// its children controllers. So it is a sibling, in a cgroup that was delegated to this user. If the
// pool is in the root, for which that rule does not hold, it is a child.
#ifndef SNAKEPIT_PROCESS_CGROUP_H_
#define SNAKEPIT_PROCESS_CGROUP_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"

namespace snakepit {

struct CgroupPlan {
  std::string parent;  // a folder
  std::vector<std::pair<std::string, std::string>>
      settings;  // the name and the content of each file
};

// The machine's view; a test has other folders.
struct CgroupView {
  std::string proc_self = "/proc/self";
  // True if this user may make cgroups in the folder and move processes there.
  std::function<bool(const std::string& folder)> is_delegated = nullptr;
};

// INVALID_ARGUMENT if no machine could accept the limits.
Result<void> Validate(const CgroupLimits& limits);

// Finds the place for the cgroup and enables the needed controllers there. Returns nothing if there
// is no limit. START_FAILED, with the reason, if there is no place. Removes the empty cgroups there
// of guardians that are gone.
Result<std::optional<CgroupPlan>> PlanCgroup(const CgroupLimits& limits,
                                             const CgroupView& view = {});

// Kills the processes in the cgroups that a guardian left in the folder, and removes those that are
// empty then. If `is_held` does not confirm that the pid is still the guardian's, they stay for the
// next PlanCgroup.
void ClearCgroups(const std::string& parent, pid_t guardian, const std::function<bool()>& is_held);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_CGROUP_H_
