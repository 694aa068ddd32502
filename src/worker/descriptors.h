// Keeps the protocol's descriptors away from handlers and from their children. PROTOCOL.md 1.3.
#ifndef SNAKEPIT_SRC_WORKER_DESCRIPTORS_H_
#define SNAKEPIT_SRC_WORKER_DESCRIPTORS_H_

#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit {

struct StdioDescriptors {
  UniqueFd input;
  UniqueFd output;
};

// Moves descriptors 0 and 1 to private ones, which block and are closed in children. Thereafter 0
// is /dev/null and 1 is what 2 is, for this process and its children. Once a process.
Result<StdioDescriptors> TakeStdio();

// For the life of the process: a child that is forked and runs on does not hold these open.
void CloseInForkedChildren(const StdioDescriptors& descriptors);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_DESCRIPTORS_H_
