// Figures of a running process from /proc that are cheap to read.
#ifndef SNAKEPIT_PROCESS_PROC_FIGURES_H_
#define SNAKEPIT_PROCESS_PROC_FIGURES_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>

#include "snakepit/error.h"

namespace snakepit {

struct ProcFigures {
  // Resident memory, shared pages included. The kernel counts in batches for each processor, so
  // this may be off by some hundred KiB.
  int64_t rss_bytes = 0;
  int threads = 0;
  int open_fds = 0;  // -1: this user may not see it
  // The process's own time, in steps of the kernel's clock tick, usually 10 ms.
  std::chrono::milliseconds user_time{0};
  std::chrono::milliseconds system_time{0};
};

// Reads /proc twice, which takes 20 us or more, and longer for each open descriptor of the process.
// INTERNAL if there is no such process (a zombie counts as none), or if it may not be inspected.
// From any thread.
Result<ProcFigures> ReadProcFigures(pid_t pid);

// ProcFigures::rss_bytes alone: one read, whatever the process does.
Result<int64_t> ReadRssBytes(pid_t pid);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_PROC_FIGURES_H_
