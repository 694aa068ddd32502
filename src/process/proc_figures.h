// What /proc says of a running process, as far as it is cheap to ask.
#ifndef SNAKEPIT_SRC_PROCESS_PROC_FIGURES_H_
#define SNAKEPIT_SRC_PROCESS_PROC_FIGURES_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>

#include "snakepit/error.h"

namespace snakepit {

struct ProcFigures {
  // Resident memory, shared pages included. The kernel keeps the count in batches a processor, so
  // it may be off by some hundred KiB.
  int64_t rss_bytes = 0;
  int threads = 0;
  int open_fds = 0;  // -1: not for this user to see
  // Of the process itself; in steps of the kernel's clock tick, usually 10 ms.
  std::chrono::milliseconds user_time{0};
  std::chrono::milliseconds system_time{0};
};

// Two reads of /proc: 20 us or more. INTERNAL when there is no such process (a zombie counts as
// none), or when it may not be looked at. From any thread.
// It takes longer for each descriptor that the process has open.
Result<ProcFigures> ReadProcFigures(pid_t pid);

// ProcFigures::rss_bytes alone: one read, whatever the process does.
Result<int64_t> ReadRssBytes(pid_t pid);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_PROC_FIGURES_H_
