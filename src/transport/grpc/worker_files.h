// The files that a gRPC worker puts into the pool's folder: one with its port, a socket. The worker
// can put anything there: a pipe, a device, a link to somewhere. So nothing here blocks, follows a
// link or reads without bound.
#ifndef SNAKEPIT_TRANSPORT_GRPC_WORKER_FILES_H_
#define SNAKEPIT_TRANSPORT_GRPC_WORKER_FILES_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/fd.h"

namespace snakepit {

// The pool's folder: empty for a worker that has none.
struct WorkerFolder {
  std::string path;
  std::shared_ptr<const UniqueFd> fd;
};

// 1 to 65535, in decimal and nothing else.
std::optional<int> ParsePort(std::string_view text);

// The file `name` of the folder, which a worker writes when it is ready. PROTOCOL.md 4.2.5.
struct ReadyFile {
  std::optional<int> port;  // not there while the worker is not ready
  std::string fault;  // the thing in its place, for "… in place of …"; empty: nothing wrong
};
ReadyFile ReadReadyFile(const WorkerFolder& folder, const std::string& name);

// Gives the user back the right to connect to a socket of his own, `path`, that a umask took from
// it. Does nothing to what is no socket of this user, or not in the folder.
void AllowOwner(const WorkerFolder& folder, const std::string& path);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_WORKER_FILES_H_
