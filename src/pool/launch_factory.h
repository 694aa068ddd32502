// Launches of workers, as the pool's internals are given them: the real ones, or a test's.
#ifndef SNAKEPIT_POOL_LAUNCH_FACTORY_H_
#define SNAKEPIT_POOL_LAUNCH_FACTORY_H_

#include <functional>
#include <memory>

#include "snakepit/adapter.h"
#include "src/transport/launch.h"

namespace snakepit {

struct LaunchFactory {
  // Same as Launch::Prepare.
  std::function<Result<std::unique_ptr<Launch>>(const Adapter&, LaunchContext)> prepare =
      Launch::Prepare;
  std::function<bool(const Adapter&)> needs_runtime_directory = NeedsRuntimeDirectory;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_LAUNCH_FACTORY_H_
