#include "src/process/guardian_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "src/process/guardian_protocol.h"
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
#include "src/process/guardian_program.inc"
};

constexpr char kName[] = "snakepit-guardian";
// Descriptors over this are in nobody's way while 0 to 3 are set up.
constexpr int kLowestSpareFd = 10;
// After SIGKILL; longer takes only a process that the kernel cannot end.
constexpr std::chrono::milliseconds kKillTimeout{2'000};

Result<UniqueFd> MoveOutOfTheWay(UniqueFd fd) {
  UniqueFd moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, kLowestSpareFd));
  if (!moved.valid()) return Fail(ErrnoError("fcntl", errno));
  return moved;
}

struct LaunchFds {
  int program;
  int socket;
  int null;
};

// Becomes the guardian. Runs in the memory of the parent, so it touches nothing there but *error.
[[noreturn]] void ExecuteGuardian(const LaunchFds& fds, char** arguments, volatile int* error) {
  char* no_variables[] = {nullptr};
  bool ready = dup2(fds.socket, guardian_protocol::kSocketFd) >= 0;
  for (int fd = 0; fd < 3; ++fd) ready = ready && dup2(fds.null, fd) >= 0;
  if (ready) fexecve(fds.program, arguments, no_variables);
  *error = errno;
  _exit(127);
}

// vfork copies nothing, so the cost does not grow with this process. The errno of a failure is
// returned negative.
[[gnu::noinline]] pid_t Launch(const LaunchFds& fds, char** arguments) {
  volatile int error = 0;
  // No handler of this process may run in the child. The guardian begins with all blocked.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = vfork();
  if (pid == 0) ExecuteGuardian(fds, arguments, &error);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return -fork_error;
  if (error != 0) {
    waitpid(pid, nullptr, 0);
    return -error;
  }
  return pid;
}

}  // namespace

Result<UniqueFd> OpenMemoryFile(const char* name, bool executable, std::string_view content) {
  UniqueFd file(memfd_create(name, MFD_CLOEXEC | (executable ? MFD_EXEC : MFD_NOEXEC_SEAL)));
  if (!file.valid() && errno == EINVAL) file.Reset(memfd_create(name, MFD_CLOEXEC));
  if (!file.valid()) return Fail(ErrnoError("memfd_create", errno));
  while (!content.empty()) {
    const ssize_t written = write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Fail(ErrnoError("cannot write to a file in memory", errno));
    content.remove_prefix(static_cast<size_t>(written));
  }
  return file;
}

Result<GuardianProcess> GuardianProcess::Start(std::string runtime_directory) {
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
  std::string name = kName;
  std::string pool_pid = std::to_string(getpid());
  char* arguments[] = {name.data(), pool_pid.data(),
                       runtime_directory.empty() ? nullptr : runtime_directory.data(), nullptr};
  const pid_t pid = Launch({program_fd->get(), socket_fd->get(), null_fd->get()}, arguments);
  if (pid < 0) {
    Error error = ErrnoError("cannot start the guardian process from memory", -pid);
    if (pid == -EACCES) error.message += "; does the sysctl vm.memfd_noexec forbid it?";
    return Fail(std::move(error));
  }
  guardian.pid_ = pid;
  guardian.pidfd_ = PidfdOpen(pid);
  if (!guardian.pidfd_.valid()) {
    const int error = errno;
    guardian.socket_.Reset();
    waitpid(pid, nullptr, 0);
    return Fail(ErrnoError("pidfd_open", error));
  }
  return guardian;
}

void GuardianProcess::Continue() const {
  if (pidfd_.valid()) PidfdSignal(pidfd_, SIGCONT);
}

void GuardianProcess::AwaitEnd(std::chrono::milliseconds timeout) {
  if (!pidfd_.valid()) return;
  Continue();  // a stopped one has work to do
  if (!AwaitPidfd(pidfd_, timeout)) {
    PidfdSignal(pidfd_, SIGKILL);
    AwaitPidfd(pidfd_, kKillTimeout);
  }
  // It is not reaped yet, so that its number, which is that of the session, is still its own.
  if (!EndedInOrder()) KillStrays(pid_, mark_, kKillTimeout);
  siginfo_t info = {};
  // ECHILD, when this process ignores SIGCHLD or waits for any child elsewhere, is as good.
  while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info,
                WEXITED | WNOHANG) != 0 &&
         errno == EINTR) {
  }
  pidfd_.Reset();
}

bool GuardianProcess::EndedInOrder() const {
  siginfo_t info = {};
  return waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info,
                WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_ && info.si_code == CLD_EXITED && info.si_status == 0;
}

}  // namespace snakepit
