// Keeps the protocol's descriptors away from handlers and from their children. PROTOCOL.md 1.3.
#ifndef SNAKEPIT_WORKER_DESCRIPTORS_H_
#define SNAKEPIT_WORKER_DESCRIPTORS_H_

#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit {

struct StdioDescriptors {
  UniqueFd input;
  UniqueFd output;
};

// Moves descriptors 0 and 1 to private ones, which block and are closed in children. From then on 0
// is /dev/null and 1 is the same as 2, for this process and its children. Call it once in a
// process.
Result<StdioDescriptors> TakeStdio();

// Opens /dev/null if the process was started without descriptor 0 or 1. Call it before TakeStdio.
void OpenClosedStdio();

// Closes the sockets that listen at the address, or were accepted there. `path` is the path of a
// Unix socket, empty for a TCP port. A forked child may call it.
void CloseServedSockets(const char* path, int port);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_DESCRIPTORS_H_
