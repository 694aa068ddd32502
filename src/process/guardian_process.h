// The guardian as a process of this one: how it is started from memory, and how it is seen off.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_PROCESS_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "src/base/fd.h"
#include "src/process/strays.h"

namespace snakepit {

// A file in memory with close-on-exec. `executable` says whether it may be executed, for kernels
// that ask (Linux 6.3). INTERNAL, naming the limit, when this process may not write as large a
// file; it gets no SIGXFSZ for that.
Result<UniqueFd> OpenMemoryFile(const char* name, bool executable, std::string_view content);

// Not synchronised.
class GuardianProcess {
 public:
  // `runtime_directory_fd`: guardian_protocol::kRuntimeDirectoryFd; borrowed; -1 is none.
  static Result<GuardianProcess> Start(int runtime_directory_fd);

  pid_t pid() const { return pid_; }

  // For the environment of each worker: how AwaitEnd finds what they started, where it cannot by
  // their families. strays.h
  const std::string& mark() const { return mark_.variable; }

  // This process's end of the socket, until that is given up; the guardian ends when it is closed.
  int socket() const { return socket_.get(); }
  [[nodiscard]] int ReleaseSocket() { return socket_.Release(); }

  // Ends what may have stopped the guardian: SIGSTOP, say.
  void Continue() const;

  // Returns when the guardian is gone and reaped; to be called when it has no reason to live, or
  // has died. Kills it after the time limit. When it did not end in order, or nobody can tell any
  // more, kills what it left of the workers, too. `before_reaping` runs when it is gone; where
  // IsHeld says so its number is still its own. A second call does nothing.
  void AwaitEnd(
      std::chrono::milliseconds timeout, const std::function<void()>& before_reaping = [] {});

  // Whether the guardian's number, which is also that of its session, cannot have become another
  // process's up to now: it is not reaped. A program that ignores SIGCHLD, or waits for every
  // child, may have done that as soon as it ended.
  bool IsHeld() const;

 private:
  bool EndedInOrder() const;

  GuardianMark mark_;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd socket_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_PROCESS_H_
