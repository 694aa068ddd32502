// The one reader of /proc/PID/stat and /proc/PID/environ.
#ifndef SNAKEPIT_BASE_PROC_H_
#define SNAKEPIT_BASE_PROC_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace snakepit {

// The fields of /proc/PID/stat that this project uses: proc(5).
struct ProcStat {
  pid_t pid = 0;
  std::string name;
  char state = '?';  // 'T' is stopped, 'Z' a zombie
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  uint64_t user_ticks = 0;  // sysconf(_SC_CLK_TCK) a second, as for the next
  uint64_t system_ticks = 0;
  int64_t threads = 0;
  uint64_t start_ticks = 0;  // since the system began
  int64_t rss_pages = 0;
};

// The text of a stat file. The name of the process may contain anything, parentheses and newlines
// included. Nothing if a field is missing.
std::optional<ProcStat> ParseProcStat(const std::string& text);

// One read, about 10 us. Nothing, and errno, where there is no such process or /proc does not show
// it. From any thread.
std::optional<ProcStat> ReadProcStat(pid_t pid);

// Every process that /proc shows. Empty, and errno, where /proc cannot be opened.
std::vector<pid_t> ListProcesses();

// True if the process was started with this variable, given as NAME=value; children inherit it. The
// process decides how large its environment is and how long the read takes. The search ends after 8
// MiB: execve(2) allows 6 MiB, prctl(2) with PR_SET_MM_MAP more.
bool HasEnvironmentVariable(pid_t pid, const std::string& variable);

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_PROC_H_
