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

// Opens /dev/null where the process was started without descriptor 0 or 1. Before TakeStdio.
void OpenClosedStdio();

// Closes the sockets that listen at the address, or were accepted there. `path` is that of a Unix
// socket, empty for a TCP port. May be called in a forked child.
void CloseServedSockets(const char* path, int port);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_DESCRIPTORS_H_
