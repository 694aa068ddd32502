// Launch: one process of a worker from the adapter to a connection: what it is spawned with, and
// how it is found to be ready.
#ifndef SNAKEPIT_TRANSPORT_LAUNCH_H_
#define SNAKEPIT_TRANSPORT_LAUNCH_H_

#include <sys/types.h>

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "src/base/fd.h"
#include "src/process/guardian.h"
#include "src/transport/connection.h"

namespace snakepit {

struct LaunchContext {
  asio::io_context* io = nullptr;
  int worker_id = 0;
  uint64_t process_number = 0;
  std::string instance;  // replaces `{instance}`; Prepare makes it
  // A folder of the pool, which only this user can enter; empty for an adapter that needs none.
  std::string runtime_directory;
  std::shared_ptr<const UniqueFd> runtime_directory_fd;  // null likewise
  // Longest time a worker may go on with a call that was given up. PROTOCOL.md 6.6.
  std::chrono::milliseconds cancel_grace{2'000};
  // Gets each line that a gRPC worker writes to stdout. On the io thread.
  std::function<void(std::string_view)> on_stdout_line;
};

// True if LaunchContext::runtime_directory is needed.
bool NeedsRuntimeDirectory(const Adapter& adapter);

// All methods on the io thread. To be kept for as long as the process lives: it owns what
// that needs besides, such as its socket's name.
class Launch {
 public:
  using ReadyCallback = std::function<void(Result<std::shared_ptr<Connection>>)>;

  // Opens what the process is to have. INTERNAL when the system has it not to give.
  static Result<std::unique_ptr<Launch>> Prepare(const Adapter& adapter, LaunchContext context);

  virtual ~Launch() = default;

  // Without a stderr. The descriptors are the launch's own, until Connect.
  SpawnSpec spec() const { return spec_; }

  // The process, `worker`, runs: closes this side's copies of its descriptors, and begins to talk
  // to it. `ready` runs once: with the connection, or with why there is none: WORKER_LOST when it
  // closed its end, else START_FAILED, START_TIMEOUT or PROTOCOL_ERROR. Not after Abort or
  // destruction.
  virtual void Connect(pid_t worker, SteadyTime deadline, ReadyCallback ready) = 0;

  // The worker's token, which nobody else may learn. Empty: none.
  const std::string& secret() const { return secret_; }

  // The process is asked to end, or has: what Connect began is given up.
  virtual void Abort() = 0;

  // True if SIGTERM asks an idle worker to end, beside Connection::AskToEnd.
  virtual bool EndsBySigterm() const = 0;

 protected:
  SpawnSpec spec_;
  std::string secret_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_LAUNCH_H_
