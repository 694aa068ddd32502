// Where the cgroup of a worker goes, and what is written into it. cgroups(7), version 2.
//
// A worker's cgroup cannot be inside that of its pool: a cgroup that has processes of its own can
// give its children no controllers. So it is a sibling of it, in a cgroup that was delegated to
// this user; or a child, when the pool is in the root, for which that rule does not hold.
#ifndef SNAKEPIT_SRC_PROCESS_CGROUP_H_
#define SNAKEPIT_SRC_PROCESS_CGROUP_H_

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
  std::string parent;                                         // a folder
  std::vector<std::pair<std::string, std::string>> settings;  // a file's name, and what it gets
};

// What the machine says of itself; a test has other folders.
struct CgroupView {
  std::string proc_self = "/proc/self";
  // Whether this user may make cgroups in the folder, and move processes there.
  std::function<bool(const std::string& folder)> is_delegated = nullptr;
};

// INVALID_ARGUMENT when the limits cannot be right on any machine.
Result<void> Validate(const CgroupLimits& limits);

// Nothing when there is no limit. Else finds the place, and enables there what the limits need.
// START_FAILED, saying why, when there is none. Removes the cgroups in that place that guardians
// which are gone have left, and that are empty.
Result<std::optional<CgroupPlan>> PlanCgroup(const CgroupLimits& limits,
                                             const CgroupView& view = {});

// Ends what is in the cgroups that a guardian left in the folder, and removes them, as far as they
// are empty then. Leaves them to the next PlanCgroup when `is_held` does not say that the number is
// still the guardian's.
void ClearCgroups(const std::string& parent, pid_t guardian, const std::function<bool()>& is_held);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_CGROUP_H_
