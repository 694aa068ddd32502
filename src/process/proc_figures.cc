#include "src/process/proc_figures.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "src/base/fd.h"

namespace snakepit {
namespace {

// How many descriptors are open, or -1 with errno.
int CountFds(const std::string& folder) {
  DIR* const fds = opendir(folder.c_str());
  if (fds == nullptr) return -1;
  int count = 0;
  while (const dirent* entry = readdir(fds)) count += entry->d_name[0] != '.';
  closedir(fds);
  return count;
}

// All but the descriptors.
Result<ProcFigures> ReadStat(pid_t pid) {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid) + "/stat").value_or("");
  // proc(5). The name, in parentheses, may contain anything.
  const size_t after_name = stat.rfind(')');
  char state = 0;
  unsigned long user_ticks = 0;
  unsigned long system_ticks = 0;
  long threads = 0;
  long rss_pages = 0;
  if (after_name == std::string::npos ||
      std::sscanf(stat.c_str() + after_name,
                  ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d "
                  "%*u %*u %ld",
                  &state, &user_ticks, &system_ticks, &threads, &rss_pages) != 5 ||
      state == 'Z' || state == 'X') {
    return Fail(ErrorCode::kInternal, "there is no process " + std::to_string(pid));
  }
  const long ticks_per_second = sysconf(_SC_CLK_TCK);
  return ProcFigures{
      .rss_bytes = static_cast<int64_t>(rss_pages) * sysconf(_SC_PAGESIZE),
      .threads = static_cast<int>(threads),
      .open_fds = -1,
      .user_time = std::chrono::milliseconds(user_ticks * 1000 / ticks_per_second),
      .system_time = std::chrono::milliseconds(system_ticks * 1000 / ticks_per_second),
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
