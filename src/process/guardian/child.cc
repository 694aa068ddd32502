#include "src/process/guardian/child.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/process/guardian/family.h"
#include "src/process/guardian/protocol.h"

namespace snakepit {
namespace {

using namespace guardian_protocol;

constexpr size_t kMaxPathBytes = 4096;

int start_write_fd = -1;  // an end command has no reader

[[noreturn]] void FailStart(const SpawnFailure& failure) {
  // It fits a pipe's buffer, so it is written whole and at once.
  const ssize_t written = write(start_write_fd, &failure, sizeof failure);
  (void)written;
  _exit(127);
}

[[noreturn]] void FailStart(Step step, int error) { FailStart({step, error, 0}); }

// Executes one path. Returns only if that failed, with the failure to report.
SpawnFailure Execute(const char* path, char** arguments, char** variables) {
  execve(path, arguments, variables);
  const int error = errno;
  struct stat status;
  if (error == ENOENT && stat(path, &status) == 0) return {kStepInterpreter, error, 0};
  if (error == EACCES && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
    return {kStepExecute, EISDIR, 0};
  }
  return {kStepExecute, error, 0};
}

// Same as execvp(3), except that a file of the wrong format is an error and no script for /bin/sh.
[[noreturn]] void ExecuteOnPath(char** arguments, char** variables) {
  const char* const program = arguments[0];
  SpawnFailure failure = {kStepExecute, ENOENT, 0};
  if (program[0] == '\0' || strchr(program, '/') != nullptr) {
    failure = Execute(program, arguments, variables);
    FailStart(failure);
  }
  const char* path = "/bin:/usr/bin";
  for (char** variable = variables; *variable != nullptr; ++variable) {
    if (strncmp(*variable, "PATH=", 5) == 0) {
      path = *variable + 5;
      break;
    }
  }
  for (const char* folder = path;; ++folder) {
    const size_t length = strcspn(folder, ":");
    char candidate[kMaxPathBytes];
    const int needed = snprintf(candidate, sizeof candidate, "%.*s%s%s", static_cast<int>(length),
                                folder, length == 0 ? "" : "/", program);
    if (needed > 0 && static_cast<size_t>(needed) < sizeof candidate) {
      const SpawnFailure tried = Execute(candidate, arguments, variables);
      switch (tried.error) {
        case ENOENT:
        case ENOTDIR:
        case EISDIR:
        case ESTALE:
        case ENODEV:
        case ETIMEDOUT:
          // Not in this folder. A missing interpreter is still worth more to the user than
          // "nowhere".
          if (tried.step == kStepInterpreter && failure.error == ENOENT) failure = tried;
          break;
        case EACCES:
          failure = tried;
          break;
        default:
          FailStart(tried);
      }
    }
    folder += length;
    if (*folder == '\0') break;
  }
  FailStart(failure);
}

// Returns the next string of the spec, and moves `*text` past it.
char* NextString(char** text, const char* end) {
  char* const begin = *text;
  void* const nul = memchr(begin, '\0', static_cast<size_t>(end - begin));
  if (nul == nullptr) FailStart(kStepPrepare, EPROTO);
  *text = static_cast<char*>(nul) + 1;
  return begin;
}

char** NextStrings(char** text, const char* end, uint32_t count) {
  char** const strings = static_cast<char**>(calloc(size_t{count} + 1, sizeof(char*)));
  if (strings == nullptr) FailStart(kStepPrepare, ENOMEM);
  for (uint32_t i = 0; i < count; ++i) strings[i] = NextString(text, end);
  return strings;
}

// The content of kSpecFd.
struct Spec {
  SpecHeader header;
  const char* working_directory;
  char** arguments;
  char** end_arguments;
  char** variables;
  char** cgroup_settings;
};

Spec ReadSpec(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) FailStart(kStepPrepare, errno);
  const size_t size = static_cast<size_t>(status.st_size);
  if (size < sizeof(SpecHeader)) FailStart(kStepPrepare, EPROTO);
  char* const bytes = static_cast<char*>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0));
  if (bytes == MAP_FAILED) FailStart(kStepPrepare, errno);
  Spec spec;
  memcpy(&spec.header, bytes, sizeof spec.header);
  char* text = bytes + sizeof spec.header;
  const char* const end = bytes + size;
  spec.working_directory = NextString(&text, end);
  spec.arguments = NextStrings(&text, end, spec.header.argument_count);
  spec.end_arguments = NextStrings(&text, end, spec.header.end_argument_count);
  spec.variables = NextStrings(&text, end, spec.header.variable_count);
  spec.cgroup_settings = NextStrings(&text, end, 2 * spec.header.cgroup_setting_count);
  if (spec.header.argument_count == 0) FailStart(kStepPrepare, EPROTO);
  return spec;
}

void EnterWorkingDirectory(const Spec& spec, int start_directory_fd) {
  if (fchdir(start_directory_fd) != 0 ||
      (spec.working_directory[0] != '\0' && chdir(spec.working_directory) != 0)) {
    FailStart(kStepWorkingDirectory, errno);
  }
}

void UnblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void SetCgroup(const Cgroup& cgroup, char** settings) {
  if (cgroup.parent_fd < 0) FailStart(kStepPrepare, EMFILE);
  int error = MakeCgroup(cgroup);
  if (error != 0) FailStart({kStepCgroup, error, kCgroupMade});
  for (int i = 0; settings[2 * i] != nullptr; ++i) {
    error = WriteCgroupFile(cgroup, settings[2 * i], settings[2 * i + 1]);
    if (error != 0) FailStart({kStepCgroup, error, i});
  }
  error = EnterCgroup(cgroup);
  if (error != 0) FailStart({kStepCgroup, error, kCgroupEntered});
}

void SetCpus(const SpecHeader& header) {
  if (header.sets_cpus == 0) return;
  if (sched_setaffinity(0, sizeof header.cpus, reinterpret_cast<const cpu_set_t*>(header.cpus)) !=
      0) {
    FailStart(kStepCpus, errno);
  }
  // The kernel silently leaves out processors that do not exist or are not allowed.
  uint64_t set[kMaxCpus / 64] = {};
  if (sched_getaffinity(0, sizeof set, reinterpret_cast<cpu_set_t*>(set)) != 0) {
    FailStart(kStepCpus, errno);
  }
  if (memcmp(set, header.cpus, sizeof set) != 0) FailStart(kStepCpus, EINVAL);
}

void SetLimits(const SpecHeader& header) {
  for (uint32_t i = 0; i < header.limit_count && i < kMaxLimits; ++i) {
    const Limit& limit = header.limits[i];
    const rlimit value = {limit.soft, limit.hard};
    if (setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &value) != 0) {
      FailStart({kStepLimit, errno, static_cast<int32_t>(limit.resource)});
    }
  }
}

}  // namespace

void BecomeWorker(const int* fds, const Cgroup& cgroup, uint64_t family, int start_fd,
                  pid_t guardian) {
  start_write_fd = start_fd;
  // Only the guardian may hold its socket: the pool learns from its end that the guardian is gone.
  close(kSocketFd);
  JoinFamily(family);
  setpgid(0, 0);
  // The signal comes when the parent's thread dies. The guardian has only one.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != guardian) _exit(127);

  const Spec spec = ReadSpec(fds[kSpecFd]);
  const SpecHeader& header = spec.header;
  if (header.has_cgroup != 0) SetCgroup(cgroup, spec.cgroup_settings);
  SetCpus(header);
  if (header.nice != kInherited && setpriority(PRIO_PROCESS, 0, header.nice) != 0) {
    FailStart(kStepNice, errno);
  }
  if (header.umask != kInherited) umask(static_cast<mode_t>(header.umask));
  EnterWorkingDirectory(spec, fds[kStartDirectoryFd]);
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(fds[kStdinFd + fd], fd) < 0) FailStart(kStepPrepare, errno);
  }
  // The guardian's own dispositions are the defaults, and its other descriptors close on execution.
  UnblockSignals();
  SetLimits(header);  // last: the steps before need memory and descriptors, too
  ExecuteOnPath(spec.arguments, spec.variables);
}

void BecomeEndCommand(int spec_fd, int start_directory_fd) {
  close(kSocketFd);
  setpgid(0, 0);
  const Spec spec = ReadSpec(spec_fd);
  EnterWorkingDirectory(spec, start_directory_fd);
  UnblockSignals();
  ExecuteOnPath(spec.end_arguments, spec.variables);
}

}  // namespace snakepit
