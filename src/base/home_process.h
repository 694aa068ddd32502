// Tells the process that an object was made in from its forked children.
#ifndef SNAKEPIT_BASE_HOME_PROCESS_H_
#define SNAKEPIT_BASE_HOME_PROCESS_H_

#include <sys/types.h>

#include <cstdint>

namespace snakepit {

// Remembers the process that it is made in. From any thread, without a lock or a system call: fork
// may have copied a lock while another thread held it.
class HomeProcess {
 public:
  HomeProcess();

  // False in a process that was forked since (fork(2), or clone(2) without CLONE_VM).
  bool IsHere() const { return tag_ == Tag(); }

  // The process that it was made in.
  pid_t pid() const { return pid_; }

 private:
  // Another one in each process of a family.
  static uint64_t Tag();

  uint64_t tag_;
  pid_t pid_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_HOME_PROCESS_H_
