#include "src/process/guardian_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "src/base/held_signal.h"
#include "src/base/threads.h"
#include "src/process/guardian/protocol.h"
#include "src/process/pidfd.h"
#include "src/process/strays.h"

// Newer than Debian 12's headers.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace snakepit {
namespace {

constexpr unsigned char kProgram[] = {
#include "src/process/guardian/program.inc"
};

constexpr char kName[] = "snakepit-guardian";
// Descriptors from here on are in nobody's way while 0 to 4 are set up.
constexpr int kLowestSpareFd = 10;
constexpr size_t kLaunchStackBytes = 32 * 1024;
// Wait after SIGKILL. Only a process that the kernel cannot end takes longer.
constexpr std::chrono::milliseconds kKillTimeout{2'000};

Result<UniqueFd> CopyOutOfTheWay(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, kLowestSpareFd));
  if (!copy.valid()) return Fail(ErrnoError("fcntl", errno));
  return copy;
}

Result<UniqueFd> MoveOutOfTheWay(UniqueFd fd) { return CopyOutOfTheWay(fd.get()); }

struct LaunchPlan {
  int program_fd;
  int socket_fd;
  int null_fd;
  int runtime_directory_fd;
  char** arguments;
  char** variables;
  volatile int error;
};

#ifdef __SANITIZE_THREAD__
// The C library's own clone(2). ThreadSanitizer's takes every child for the copy of a process, and
// from then on ignores the locks of the parent, whose memory this child shares.
extern "C" int __clone(int (*run)(void*), void* stack, int flags, void* argument, ...);
#define clone __clone
#endif

// Becomes the guardian. It runs in the memory of the parent, so it touches nothing there but the
// error.
[[gnu::no_sanitize("address", "thread")]] int ExecuteGuardian(void* plan_pointer) {
  LaunchPlan& plan = *static_cast<LaunchPlan*>(plan_pointer);
  bool ready = dup2(plan.socket_fd, guardian_protocol::kSocketFd) >= 0 &&
               dup2(plan.runtime_directory_fd, guardian_protocol::kRuntimeDirectoryFd) >= 0;
  for (int fd = 0; fd < 3; ++fd) ready = ready && dup2(plan.null_fd, fd) >= 0;
  if (ready) fexecve(plan.program_fd, plan.arguments, plan.variables);
  plan.error = errno;
  return 127;
}

void ReapByPidfd(const UniqueFd& pidfd, int flags) {
  siginfo_t info = {};
  // ECHILD is as good: this process ignores SIGCHLD or waits for any child elsewhere.
  while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.get()), &info,
                WEXITED | flags) != 0 &&
         errno == EINTR) {
  }
}

struct Launched {
  pid_t pid = -1;
  UniqueFd pidfd;
  int error = 0;
};

// Copies nothing, same as vfork(2), so the cost does not grow with this process. The descriptor of
// the child comes with it: a pid alone could be another process's by the time it is opened.
Launched Launch(LaunchPlan plan) {
  // Enough for the short code that runs until the execution, even with a sanitizer.
  alignas(64) unsigned char stack[kLaunchStackBytes];
  Launched launched;
  int pidfd = -1;
  // No handler of this process may run in the child. The guardian begins with all signals blocked.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  launched.pid = clone(ExecuteGuardian, stack + sizeof stack,
                       CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &pidfd);
  if (launched.pid < 0) launched.error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (launched.pid < 0) return launched;
  launched.pidfd.Reset(pidfd);
  launched.error = plan.error;
  if (launched.error != 0) ReapByPidfd(launched.pidfd, 0);
  return launched;
}

Error WriteError(int error, size_t bytes) {
  Error result = ErrnoError("cannot write to a file in memory", error);
  rlimit limit = {};
  if (error == EFBIG && getrlimit(RLIMIT_FSIZE, &limit) == 0) {
    result.message += "; this process may write files of " + std::to_string(limit.rlim_cur) +
                      " bytes (RLIMIT_FSIZE, ulimit -f), and " + std::to_string(bytes) +
                      " are needed";
  }
  return result;
}

}  // namespace

Result<UniqueFd> OpenMemoryFile(const char* name, bool executable, std::string_view content) {
  UniqueFd file(memfd_create(name, MFD_CLOEXEC | (executable ? MFD_EXEC : MFD_NOEXEC_SEAL)));
  if (!file.valid() && errno == EINVAL) file.Reset(memfd_create(name, MFD_CLOEXEC));
  if (!file.valid()) return Fail(ErrnoError("memfd_create", errno));
  const size_t bytes = content.size();
  const HeldSignal held(SIGXFSZ);
  while (!content.empty()) {
    const ssize_t written = write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Fail(WriteError(errno, bytes));
    content.remove_prefix(static_cast<size_t>(written));
  }
  return file;
}

Result<GuardianProcess> GuardianProcess::Start(int runtime_directory_fd) {
  auto program = OpenMemoryFile(
      kName, true, std::string_view(reinterpret_cast<const char*>(kProgram), sizeof kProgram));
  if (!program) return Fail(program.error());
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return Fail(ErrnoError("socketpair", errno));
  }
  auto mark = NewGuardianMark();
  if (!mark) return Fail(mark.error());
  GuardianProcess guardian;
  guardian.mark_ = std::move(*mark);
  guardian.socket_.Reset(pair[0]);
  UniqueFd far_end(pair[1]);
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return Fail(ErrnoError("cannot open /dev/null", errno));

  auto program_fd = MoveOutOfTheWay(std::move(*program));
  auto socket_fd = MoveOutOfTheWay(std::move(far_end));
  auto null_fd = MoveOutOfTheWay(std::move(null));
  for (const auto* fd : {&program_fd, &socket_fd, &null_fd}) {
    if (!*fd) return Fail(fd->error());
  }
  auto directory_fd =
      CopyOutOfTheWay(runtime_directory_fd >= 0 ? runtime_directory_fd : null_fd->get());
  if (!directory_fd) return Fail(directory_fd.error());
  std::string name = kName;
  std::string pool_pid = std::to_string(getpid());
  char* arguments[] = {name.data(), pool_pid.data(), nullptr};
  std::string families = std::string(guardian_protocol::kFamiliesVariable) + "=" +
                         std::to_string(guardian.mark_.families);
  char* variables[] = {families.data(), nullptr};
  Launched launched = Launch({program_fd->get(), socket_fd->get(), null_fd->get(),
                              directory_fd->get(), arguments, variables, 0});
  if (launched.error != 0) {
    Error error = ErrnoError("cannot start the guardian process from memory", launched.error);
    if (launched.error == EACCES) error.message += "; does the sysctl vm.memfd_noexec forbid it?";
    error.message += ProcessLimitAdvice(launched.error);
    return Fail(std::move(error));
  }
  guardian.pid_ = launched.pid;
  guardian.pidfd_ = std::move(launched.pidfd);
  return guardian;
}

void GuardianProcess::Continue() const {
  if (pidfd_.valid()) PidfdSignal(pidfd_, SIGCONT);
}

void GuardianProcess::AwaitEnd(std::chrono::milliseconds timeout,
                               const std::function<void()>& before_reaping) {
  if (!pidfd_.valid()) return;
  Continue();  // a stopped guardian has work to do
  if (!AwaitPidfd(pidfd_, timeout)) {
    PidfdSignal(pidfd_, SIGKILL);
    AwaitPidfd(pidfd_, kKillTimeout);
  }
  if (!EndedInOrder()) {
    KillStrays({.session = pid_, .is_held = [this] { return IsHeld(); }}, mark_, kKillTimeout);
  }
  before_reaping();
  ReapByPidfd(pidfd_, WNOHANG);
  pidfd_.Reset();
}

bool GuardianProcess::IsHeld() const {
  siginfo_t info = {};
  return waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info,
                WEXITED | WNOHANG | WNOWAIT) == 0;
}

bool GuardianProcess::EndedInOrder() const {
  siginfo_t info = {};
  return waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info,
                WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_ && info.si_code == CLD_EXITED && info.si_status == 0;
}

}  // namespace snakepit
