// The guardian as a child of this process: its start from memory, and its end.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_PROCESS_H_
#define SNAKEPIT_PROCESS_GUARDIAN_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "src/base/fd.h"
#include "src/process/strays.h"

namespace snakepit {

// Opens a file in memory with close-on-exec. `executable` says if it may be executed, for kernels
// that ask (Linux 6.3). INTERNAL, naming the limit, if this process may not write so large a file;
// no SIGXFSZ is raised then.
Result<UniqueFd> OpenMemoryFile(const char* name, bool executable, std::string_view content);

// Not synchronised.
class GuardianProcess {
 public:
  // `runtime_directory_fd` becomes guardian_protocol::kRuntimeDirectoryFd; borrowed; -1 is none.
  static Result<GuardianProcess> Start(int runtime_directory_fd);

  pid_t pid() const { return pid_; }

  // The variable for the environment of each worker. AwaitEnd finds descendants by it where it
  // cannot find them by their families: strays.h.
  const std::string& mark() const { return mark_.variable; }

  // This process's end of the socket, until ReleaseSocket. The guardian ends when it is closed.
  int socket() const { return socket_.get(); }
  [[nodiscard]] int ReleaseSocket() { return socket_.Release(); }

  // Sends SIGCONT: SIGSTOP, for example, may have stopped the guardian.
  void Continue() const;

  // Waits until the guardian is gone, and reaps it. The guardian must have no reason to live, or
  // have died. Kills it after the time limit. If it did not end in order, or nobody can tell any
  // more, kills the leftovers of the workers too. `before_reaping` runs when the guardian is gone;
  // if IsHeld is true then, its pid is still its own. A second call does nothing.
  void AwaitEnd(
      std::chrono::milliseconds timeout, const std::function<void()>& before_reaping = [] {});

  // True if the guardian's pid, which is also its session's, is still its own: the guardian is not
  // reaped. A program that ignores SIGCHLD, or waits for every child, may have reaped it as soon as
  // it ended.
  bool IsHeld() const;

 private:
  bool EndedInOrder() const;

  GuardianMark mark_;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd socket_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_PROCESS_H_
