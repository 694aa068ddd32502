#include "src/transport/launch.h"

#include "src/transport/grpc_launch.h"
#include "src/transport/stdio_launch.h"

namespace snakepit {

std::string WorkerIdText(int worker_id) { return "worker_" + std::to_string(worker_id); }

bool NeedsRuntimeDirectory(const Adapter& adapter) {
  return std::holds_alternative<GrpcTransport>(adapter.transport);
}

Result<std::unique_ptr<Launch>> Launch::Prepare(const Adapter& adapter, LaunchContext context) {
  if (const auto* stdio = std::get_if<StdioTransport>(&adapter.transport)) {
    return PrepareStdioLaunch(adapter, *stdio, std::move(context));
  }
  return PrepareGrpcLaunch(adapter, std::get<GrpcTransport>(adapter.transport), std::move(context));
}

}  // namespace snakepit
