#include "src/base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "src/base/fd.h"

namespace snakepit {
namespace {

constexpr size_t kMostEnvironmentBytes = size_t{8} << 20;

}  // namespace

std::optional<ProcStat> ParseProcStat(const std::string& text) {
  const size_t name_begin = text.find('(');
  const size_t name_end = text.rfind(')');
  if (name_begin == std::string::npos || name_end < name_begin || name_end == std::string::npos) {
    return std::nullopt;
  }
  ProcStat stat;
  stat.pid = std::atoi(text.c_str());
  stat.name = text.substr(name_begin + 1, name_end - name_begin - 1);
  unsigned long long user_ticks = 0;
  unsigned long long system_ticks = 0;
  long long threads = 0;
  unsigned long long start_ticks = 0;
  long long rss_pages = 0;
  if (std::sscanf(text.c_str() + name_end,
                  ") %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %lld %*d "
                  "%llu %*u %lld",
                  &stat.state, &stat.parent, &stat.group, &stat.session, &user_ticks, &system_ticks,
                  &threads, &start_ticks, &rss_pages) != 9) {
    return std::nullopt;
  }
  stat.user_ticks = user_ticks;
  stat.system_ticks = system_ticks;
  stat.threads = threads;
  stat.start_ticks = start_ticks;
  stat.rss_pages = rss_pages;
  return stat;
}

std::optional<ProcStat> ReadProcStat(pid_t pid) {
  const auto text = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return std::nullopt;
  return ParseProcStat(*text);
}

std::vector<pid_t> ListProcesses() {
  std::vector<pid_t> pids;
  DIR* const processes = opendir("/proc");
  if (processes == nullptr) return pids;
  while (const dirent* entry = readdir(processes)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid > 0) pids.push_back(pid);
  }
  closedir(processes);
  return pids;
}

bool HasEnvironmentVariable(pid_t pid, const std::string& variable) {
  const UniqueFd file(
      open(("/proc/" + std::to_string(pid) + "/environ").c_str(), O_RDONLY | O_CLOEXEC));
  const std::string wanted = '\0' + variable + '\0';
  std::string text(1, '\0');  // before the first variable, as before the others
  char buffer[65536];
  for (size_t all = 0; all < kMostEnvironmentBytes;) {
    const ssize_t size = read(file.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    all += static_cast<size_t>(size);
    text.append(buffer, static_cast<size_t>(size));
    if (text.find(wanted) != std::string::npos) return true;
    // The rest may be the beginning of the variable.
    text.erase(0, text.size() - std::min(text.size(), wanted.size()));
  }
  return false;
}

}  // namespace snakepit
