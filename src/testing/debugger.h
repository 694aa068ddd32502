// A debugger for tests: it holds a process, or hides the exit of a process from its parent.
#ifndef SNAKEPIT_TESTING_DEBUGGER_H_
#define SNAKEPIT_TESTING_DEBUGGER_H_

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

namespace snakepit::testing {

// The debugger is a process of its own, which the destructor ends. ptrace(2)
class Debugger {
 public:
  enum class Holds {
    kItsExit,  // the process runs until a signal comes; only the debugger could reap it, and does
               // not
    kAll,      // the process is stopped, and SIGCONT does not continue it
  };

  Debugger(pid_t pid, Holds what) : child_(fork()) {
    if (child_ == 0) {
      bool holds = ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0;
      if (holds && what == Holds::kAll) {
        holds = ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) == 0 &&
                waitpid(pid, nullptr, __WALL) == pid;
      }
      if (!holds) _exit(1);
      raise(SIGSTOP);  // the parent waits for this
      for (;;) pause();
    }
    int status = 0;
    waitpid(child_, &status, WUNTRACED);
    holds_ = WIFSTOPPED(status);
    kill(child_, SIGCONT);
  }
  ~Debugger() { LetGo(); }
  Debugger(const Debugger&) = delete;
  Debugger& operator=(const Debugger&) = delete;

  // False if the system does not allow it.
  bool holds() const { return holds_; }

  void LetGo() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = 0;
  }

 private:
  pid_t child_;
  bool holds_ = false;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TESTING_DEBUGGER_H_
