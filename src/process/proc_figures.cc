#include "src/process/proc_figures.h"

#include <dirent.h>
#include <unistd.h>

#include <string>

#include "src/base/proc.h"

namespace snakepit {
namespace {

// Number of open descriptors, or -1 with errno.
int CountFds(const std::string& folder) {
  DIR* const fds = opendir(folder.c_str());
  if (fds == nullptr) return -1;
  int count = 0;
  while (const dirent* entry = readdir(fds)) count += entry->d_name[0] != '.';
  closedir(fds);
  return count;
}

// All figures but the descriptors.
Result<ProcFigures> ReadStat(pid_t pid) {
  const auto stat = ReadProcStat(pid);
  if (!stat || stat->state == 'Z' || stat->state == 'X') {
    return Fail(ErrorCode::kInternal, "there is no process " + std::to_string(pid));
  }
  const long ticks_per_second = sysconf(_SC_CLK_TCK);
  return ProcFigures{
      .rss_bytes = stat->rss_pages * sysconf(_SC_PAGESIZE),
      .threads = static_cast<int>(stat->threads),
      .open_fds = -1,
      .user_time = std::chrono::milliseconds(stat->user_ticks * 1000 / ticks_per_second),
      .system_time = std::chrono::milliseconds(stat->system_ticks * 1000 / ticks_per_second),
  };
}

}  // namespace

Result<ProcFigures> ReadProcFigures(pid_t pid) {
  auto figures = ReadStat(pid);
  if (figures) figures->open_fds = CountFds("/proc/" + std::to_string(pid) + "/fd");
  return figures;
}

Result<int64_t> ReadRssBytes(pid_t pid) {
  const auto figures = ReadStat(pid);
  if (!figures) return Fail(figures.error());
  return figures->rss_bytes;
}

}  // namespace snakepit
