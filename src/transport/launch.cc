#include "src/transport/launch.h"

#include <utility>

#include "src/process/cgroup.h"
#include "src/transport/grpc/launch.h"
#include "src/transport/launch_spec.h"
#include "src/transport/stdio/launch.h"

namespace snakepit {

bool NeedsRuntimeDirectory(const Adapter& adapter) {
  return std::holds_alternative<GrpcTransport>(adapter.transport);
}

Result<std::unique_ptr<Launch>> Launch::Prepare(const Adapter& adapter, LaunchContext context) {
  auto cgroup = PlanCgroup(adapter.cgroup);
  if (!cgroup) return Fail(std::move(cgroup.error()));
  auto instance = NewInstance();
  if (!instance) return Fail(std::move(instance.error()));
  context.instance = std::move(*instance);
  const auto* stdio = std::get_if<StdioTransport>(&adapter.transport);
  auto launch = stdio != nullptr
                    ? PrepareStdioLaunch(adapter, *stdio, std::move(context))
                    : PrepareGrpcLaunch(adapter, std::get<GrpcTransport>(adapter.transport),
                                        std::move(context));
  if (!launch) return launch;
  (*launch)->spec_.working_directory = adapter.working_directory;
  (*launch)->spec_.process = adapter.process;
  (*launch)->spec_.cgroup = std::move(*cgroup);
  (*launch)->spec_.leader_grace = adapter.end.leader_grace;
  return launch;
}

}  // namespace snakepit
