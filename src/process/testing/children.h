// Children of the programs that tests start: how they leave their parent, and what they hold.
#ifndef SNAKEPIT_PROCESS_TESTING_CHILDREN_H_
#define SNAKEPIT_PROCESS_TESTING_CHILDREN_H_

#include <sys/types.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

namespace snakepit::testing {

[[noreturn]] inline void Hold() {
  for (;;) pause();
}

// Starts a child that has done `begin` when this returns, and then does nothing. It holds what it
// inherits, such as stdout.
inline pid_t StartChild(const std::function<void()>& begin) {
  int begun[2];
  if (pipe(begun) != 0) std::abort();
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    begin();
    if (write(begun[1], "x", 1) != 1) std::abort();
    close(begun[0]);
    close(begun[1]);
    Hold();
  }
  close(begun[1]);
  char byte;
  if (read(begun[0], &byte, 1) != 1) std::abort();
  close(begun[0]);
  return child;
}

inline void ForkAndLeaveParent() {
  if (fork() != 0) _exit(0);
}

inline void BecomeDaemon() {
  setsid();
  ForkAndLeaveParent();
  setsid();
}

}  // namespace snakepit::testing

#endif  // SNAKEPIT_PROCESS_TESTING_CHILDREN_H_
