#include "src/process/guardian/tracer.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace snakepit {
namespace {

// A longer chain is taken for a ring: a pid can become another process's at any time.
constexpr int kMostGenerations = 1000;

// The value of "PPid:" or "TracerPid:" in a status file of /proc; 0 if there is none.
pid_t ReadPid(const char* path, const char* field) {
  FILE* const file = fopen(path, "re");
  if (file == nullptr) return 0;
  char line[256];
  int pid = 0;
  while (pid == 0 && fgets(line, sizeof line, file) != nullptr) {
    if (strncmp(line, field, strlen(field)) == 0) pid = atoi(line + strlen(field));
  }
  fclose(file);
  return pid;
}

bool IsDescendant(pid_t pid) {
  for (int i = 0; i < kMostGenerations && pid > 1; ++i) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", static_cast<int>(pid));
    pid = ReadPid(path, "PPid:");
    if (pid == getpid()) return true;
  }
  return false;
}

void KillOwnTracer(const char* status_path, bool (*is_to_live)(pid_t)) {
  const pid_t tracer = ReadPid(status_path, "TracerPid:");
  if (tracer == 0) return;
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, tracer, 0));
  if (pidfd < 0) return;
  // Checked again, because only now the pid cannot become another process's.
  if (ReadPid(status_path, "TracerPid:") == tracer && IsDescendant(tracer) && !is_to_live(tracer)) {
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  }
  close(pidfd);
}

}  // namespace

void KillOwnTracers(pid_t pid, bool (*is_to_live)(pid_t)) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", static_cast<int>(pid));
  DIR* const threads = opendir(path);
  if (threads == nullptr) return;
  while (const dirent* entry = readdir(threads)) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", static_cast<int>(pid), entry->d_name);
    KillOwnTracer(path, is_to_live);
  }
  closedir(threads);
}

}  // namespace snakepit
