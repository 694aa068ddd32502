// Starts a pool with other launches than those of real workers, for tests.
#ifndef SNAKEPIT_POOL_POOL_STARTER_H_
#define SNAKEPIT_POOL_POOL_STARTER_H_

#include "snakepit/pool.h"
#include "src/pool/launch_factory.h"

namespace snakepit {

struct PoolStarter {
  // Same as Pool::Start.
  static Result<Pool> Start(PoolOptions options, LaunchFactory launches);
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_POOL_STARTER_H_
