// The guardian program; guardian.h says why it exists. It has one thread, uses the C library only,
// and makes no blocking system call but its one poll. So it reaps, reports and kills in time,
// whatever a worker, its files or the pool's process do.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/process/guardian/child.h"
#include "src/process/guardian/end.h"
#include "src/process/guardian/family.h"
#include "src/process/guardian/list.h"
#include "src/process/guardian/protocol.h"
#include "src/process/guardian/tracer.h"
#include "src/process/remove_folder.h"

namespace {

using namespace snakepit;
using namespace snakepit::guardian_protocol;

constexpr size_t kKernelSignalSetBytes = 8;
// Limit of queued events, beyond which requests wait in the socket. The largest pool (1,000
// workers) cannot owe as many.
constexpr size_t kMaxQueuedEvents = 4096;
// Requests handled in one go, before children that ended have their turn.
constexpr int kRequestsPerTurn = 32;
// A worker that was killed and has not ended is visited again after this time, then after twice as
// long each time, 5 s in all. The pool gives it up after that.
constexpr int kFirstLookMs = 20;
constexpr int kLastLookMs = 2'560;

struct Worker {
  uint64_t id;
  pid_t pid;
  int start_fd;  // while the worker starts: yields SpawnFailure or end of file; then -1
  uint64_t family;
  Cgroup cgroup;
  EndPlan end_plan;
  bool is_killed;
  int look_after_ms;  // 0: no further visit
  int64_t look_at_ms;
};

List<Worker> workers;
List<Event> events;
size_t sent_events = 0;  // events.at[0, sent_events) are sent
pid_t guardian_pid;
bool ends = false;  // the pool is gone: everything has to end

// ---- Events to the pool ------------------------------------------------------------------------

size_t QueuedEvents() { return events.count - sent_events; }

void QueueEvent(const Event& event) {
  if (events.count == events.capacity && sent_events > 0) {
    memmove(events.at, events.at + sent_events, QueuedEvents() * sizeof(Event));
    events.count -= sent_events;
    sent_events = 0;
  }
  events.Add(event);
}

void SendEvents() {
  while (QueuedEvents() > 0) {
    const ssize_t sent =
        send(kSocketFd, &events.at[sent_events], sizeof(Event), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // The rest is sent when the socket takes it. A fault of the socket shows when it is read.
    if (sent < 0) return;
    ++sent_events;
  }
  events.count = sent_events = 0;
}

void QueueSpawnFailed(uint64_t id, const SpawnFailure& failure) {
  Event event = {};
  event.kind = kSpawnFailed;
  event.id = id;
  event.step = failure.step;
  event.error = failure.error;
  event.which = failure.which;
  QueueEvent(event);
}

// ---- Workers -----------------------------------------------------------------------------------

Worker* FindById(uint64_t id) {
  for (size_t i = 0; i < workers.count; ++i) {
    if (workers.at[i].id == id) return &workers.at[i];
  }
  return nullptr;
}

Worker* FindByPid(pid_t pid) {
  for (size_t i = 0; i < workers.count; ++i) {
    if (workers.at[i].pid == pid) return &workers.at[i];
  }
  return nullptr;
}

// Takes the descriptor over from its owner.
int TakeFd(int* fd) {
  const int taken = *fd;
  *fd = -1;
  return taken;
}

// Takes over the descriptors that are needed after the start.
void StartWorker(const Request& request, int* fds, int fd_count) {
  const uint64_t id = request.id;
  // fork and not vfork: a working directory on a network that hangs must not hang the guardian.
  int start_fds[2];
  if (pipe2(start_fds, O_CLOEXEC) != 0) return QueueSpawnFailed(id, {kStepPrepare, errno, 0});
  Cgroup cgroup = {-1, guardian_pid, id};
  if (fd_count > kCgroupFd) cgroup.parent_fd = fds[kCgroupFd];
  const uint64_t family = NewFamily();
  const pid_t pid = fork();
  if (pid == 0) BecomeWorker(fds, cgroup, family, start_fds[1], guardian_pid);
  const int error = errno;
  close(start_fds[1]);
  if (pid < 0) {
    close(start_fds[0]);
    return QueueSpawnFailed(id, {kStepPrepare, error, 0});
  }
  // Here and in the child, so that the group exists for both, whichever runs first.
  setpgid(pid, pid);
  EndPlan plan = {request.family_grace_ms, -1, -1};
  // Processes that are not known to be of a family cannot be ended later.
  if (family == kNoFamily) plan.family_grace_ms = 0;
  if (request.has_end_command) {
    plan.command_spec_fd = TakeFd(&fds[kSpecFd]);
    plan.start_directory_fd = TakeFd(&fds[kStartDirectoryFd]);
  }
  if (fd_count > kCgroupFd) fds[kCgroupFd] = -1;
  workers.Add({id, pid, start_fds[0], family, cgroup, plan, false, 0, 0});
}

// Reads the result of a worker's start, if it is known yet. False if the start failed.
bool FinishStart(Worker* worker) {
  SpawnFailure failure;
  const ssize_t got = read(worker->start_fd, &failure, sizeof failure);
  if (got < 0 && errno == EINTR) return true;  // poll asks again
  close(worker->start_fd);
  worker->start_fd = -1;
  if (got == sizeof failure) {
    QueueSpawnFailed(worker->id, failure);
    return false;
  }
  Event event = {};
  event.kind = kSpawned;
  event.id = worker->id;
  event.pid = worker->pid;
  QueueEvent(event);
  return true;
}

int64_t Microseconds(const timeval& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000 + time.tv_usec;
}

bool IsWorker(pid_t pid) { return FindByPid(pid) != nullptr; }

// Kills the worker and, unless it has a grace, its process group. The worker is not reaped yet, so
// its pid is still its own.
void SendKill(const Worker& worker) {
  kill(worker.pid, SIGKILL);  // it may have left its group for another
  if (worker.end_plan.family_grace_ms == 0) kill(-worker.pid, SIGKILL);
}

void KillWorker(Worker* worker) {
  SendKill(*worker);
  if (worker->is_killed) return;
  worker->is_killed = true;
  worker->look_after_ms = kFirstLookMs;
  worker->look_at_ms = MonotonicMs() + kFirstLookMs;
}

// True if the family's worker lives or has a grace.
bool IsToLive(uint64_t family) {
  for (size_t i = 0; i < workers.count; ++i) {
    const Worker& worker = workers.at[i];
    if (worker.family != family) continue;
    return worker.end_plan.family_grace_ms > 0 || !(ends || worker.is_killed);
  }
  return IsInGrace(family);
}

void KillIfLeftBehind(pid_t child) {
  const uint64_t family = FamilyOf(child);
  if (family == kNoFamily && !ends) return;  // its worker is unknown
  if (IsToLive(family) || IsWorker(child) || IsEndCommand(child)) return;
  kill(child, SIGKILL);  // only this process reaps it, so the pid is its own
}

// Drops the end command of a worker whose program was never executed.
void DropEndCommand(Worker* worker) {
  worker->end_plan.family_grace_ms = 0;
  if (worker->end_plan.command_spec_fd < 0) return;
  close(worker->end_plan.command_spec_fd);
  close(worker->end_plan.start_directory_fd);
  worker->end_plan.command_spec_fd = worker->end_plan.start_directory_fd = -1;
}

// The worker has ended and is in no table any more.
void EndWorker(const Worker& worker) {
  const int error =
      BeginEnd(worker.id, worker.pid, worker.family, worker.cgroup, worker.end_plan, MonotonicMs());
  if (error == 0) return;
  Event event = {};
  event.kind = kEndCommandFailed;
  event.id = worker.id;
  event.pid = worker.pid;
  event.error = error;
  QueueEvent(event);
}

// The worker is dead, so its end of the pipe is closed and reading it does not block.
void ReportExit(Worker* worker, int wait_status, const rusage& use) {
  if (worker->start_fd >= 0 && !FinishStart(worker)) return DropEndCommand(worker);
  Event event = {};
  event.kind = kExited;
  event.id = worker->id;
  event.wait_status = wait_status;
  event.user_time_us = Microseconds(use.ru_utime);
  event.system_time_us = Microseconds(use.ru_stime);
  event.max_rss_bytes = static_cast<int64_t>(use.ru_maxrss) * 1024;
  QueueEvent(event);
}

// Reaps a child of this process that is a zombie. If it was a worker, ends its group and reports.
void Reap(pid_t pid) {
  Worker* const found = FindByPid(pid);
  // Until the leader is reaped, its pid cannot become another group's.
  if (found != nullptr && found->end_plan.family_grace_ms == 0) kill(-pid, SIGKILL);
  int status = 0;
  rusage use = {};
  if (wait4(pid, &status, WNOHANG, &use) != pid) return;
  if (found != nullptr) {
    Worker worker = *found;
    workers.RemoveAt(found - workers.at);
    ReportExit(&worker, status, use);
    return EndWorker(worker);
  }
  Event event;
  if (FinishEndCommand(pid, status, &event)) QueueEvent(event);
}

void ReapAll() {
  for (;;) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
    Reap(info.si_pid);
  }
  // The children of a process that died have become children of this one.
  VisitChildren(KillIfLeftBehind);
  RemoveOldCgroups();
}

// Visits the workers that were killed and have not ended: their own descendants may hold them.
void LookAtKilled(int64_t now_ms) {
  bool is_any = false;
  for (size_t i = 0; i < workers.count; ++i) {
    Worker& worker = workers.at[i];
    if (worker.look_after_ms == 0 || worker.look_at_ms > now_ms) continue;
    SendKill(worker);  // the first SIGKILL may have met a stop that only a second one ends
    KillOwnTracers(worker.pid, IsWorker);
    worker.look_after_ms = worker.look_after_ms < kLastLookMs ? 2 * worker.look_after_ms : 0;
    worker.look_at_ms = now_ms + worker.look_after_ms;
    is_any = true;
  }
  if (is_any) VisitChildren(KillIfLeftBehind);
}

// Time until LookAtKilled is due; -1 if it is not.
int64_t NextLookMs(int64_t now_ms) {
  int64_t next_ms = -1;
  for (size_t i = 0; i < workers.count; ++i) {
    if (workers.at[i].look_after_ms == 0) continue;
    const int64_t left_ms = workers.at[i].look_at_ms - now_ms;
    if (next_ms < 0 || left_ms < next_ms) next_ms = left_ms > 0 ? left_ms : 0;
  }
  return next_ms;
}

// True if no worker is left, except for those that were killed and will not end.
bool WorkersHaveEnded() {
  for (size_t i = 0; i < workers.count; ++i) {
    if (!workers.at[i].is_killed || workers.at[i].look_after_ms != 0) return false;
  }
  return true;
}

// The end of the pool is the end of everything.
void BeginToEnd() {
  ends = true;
  for (size_t i = 0; i < workers.count; ++i) {
    KillWorker(&workers.at[i]);
    if (workers.at[i].end_plan.family_grace_ms == 0) KillCgroup(workers.at[i].cgroup);
  }
  VisitChildren(KillIfLeftBehind);
}

// ---- Requests from the pool --------------------------------------------------------------------

// Takes the descriptors out of the message and returns their number.
int TakeFds(msghdr* message, int* fds) {
  int count = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t bytes = header->cmsg_len - CMSG_LEN(0);
    for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
      if (count < kMaxSpawnFds) {
        fds[count++] = fd;
      } else {
        close(fd);
      }
    }
  }
  return count;
}

void HandleRequest(const Request& request, int* fds, int fd_count) {
  if (request.kind == kSpawn) {
    // Fewer arrive if this process may not open so many.
    if (fd_count < kSpawnFdCount) return QueueSpawnFailed(request.id, {kStepPrepare, EMFILE, 0});
    StartWorker(request, fds, fd_count);
  } else if (request.kind == kSignal) {
    Worker* const worker = FindById(request.id);
    if (worker == nullptr) return;
    if (request.signal == SIGKILL) return KillWorker(worker);
    // A worker is in the table until it is reaped, so the pid is still its own.
    kill(-worker->pid, request.signal);
    if (getpgid(worker->pid) != worker->pid) kill(worker->pid, request.signal);
  } else if (request.kind == kRuntimeDirectory && fd_count > 0) {
    dup3(fds[0], kRuntimeDirectoryFd, O_CLOEXEC);
  }
}

// Reads some of the pending requests; poll tells of the others again.
void ReceiveRequests() {
  for (int i = 0; i < kRequestsPerTurn && QueuedEvents() < kMaxQueuedEvents; ++i) {
    Request request;
    iovec part = {&request, sizeof request};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxSpawnFds)];
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(kSocketFd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got != sizeof request) return BeginToEnd();
    int fds[kMaxSpawnFds];
    const int fd_count = TakeFds(&message, fds);
    HandleRequest(request, fds, fd_count);
    for (int at = 0; at < fd_count; ++at) {
      if (fds[at] >= 0) close(fds[at]);
    }
    Event received = {};
    received.kind = kReceived;
    QueueEvent(received);
    // At once: a burst of spawns on a busy machine can outlast the time that the pool waits.
    SendEvents();
  }
}

// ---- Set-up and the loop -----------------------------------------------------------------------

// Descriptors and ignored signals of an arbitrary parent must reach neither this process nor a
// worker.
void ShedInheritance() {
  if (syscall(SYS_close_range, kRuntimeDirectoryFd + 1, ~0u, 0) != 0) {
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t fd = kRuntimeDirectoryFd + 1; fd < limit.rlim_cur; ++fd) {
      close(static_cast<int>(fd));
    }
  }
  fcntl(kSocketFd, F_SETFD, FD_CLOEXEC);
  fcntl(kRuntimeDirectoryFd, F_SETFD, FD_CLOEXEC);
  // A direct system call, because the C library refuses its two internal signals, and there are
  // programs that ignore them. Zeroes stand for SIG_DFL without flags and mask.
  const char default_action[128] = {};
  for (int number = 1; number < NSIG; ++number) {
    syscall(SYS_rt_sigaction, number, default_action, nullptr, kKernelSignalSetBytes);
  }
  // All signals are blocked. If the whole service gets SIGTERM, for example, the pool decides how
  // to end, and the guardian follows it.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

int OpenChildSignals() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

// Kills the children until there is none. That kills every descendant, in any group or session,
// since a process whose parent has ended becomes a child.
[[noreturn]] void KillRestAndExit() {
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  for (int wait_ms = kFirstLookMs;;) {
    VisitChildren([](pid_t child) { kill(child, SIGKILL); });
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD) {
      RemoveOldCgroups();
      // Nobody else is left to remove the folder if the pool was killed.
      RemoveRuntimeFolder(kRuntimeDirectoryFd);
      _exit(0);
    }
    // A SIGCHLD that came in the meantime is pending.
    const timespec wait = {wait_ms / 1'000, wait_ms % 1'000 * 1'000'000};
    if (sigtimedwait(&child_signal, nullptr, &wait) > 0) continue;
    if (wait_ms < kLastLookMs) wait_ms *= 2;
    VisitChildren([](pid_t child) { KillOwnTracers(child, [](pid_t) { return false; }); });
  }
}

// Timeout for poll until the next duty; -1 if there is none.
int TimeoutMs(int64_t now_ms) {
  const int64_t overdue_ms = NextOverdueMs(now_ms);
  const int64_t look_ms = NextLookMs(now_ms);
  if (overdue_ms < 0 || look_ms < 0) return static_cast<int>(overdue_ms < 0 ? look_ms : overdue_ms);
  return static_cast<int>(overdue_ms < look_ms ? overdue_ms : look_ms);
}

[[noreturn]] void Run(int child_signals_fd, int pool_fd) {
  enum { kChildPoll, kSocketPoll, kPoolPoll, kFirstWorkerPoll };
  List<pollfd> polls = {};
  for (;;) {
    if (ends && WorkersHaveEnded() && AllHaveEnded()) KillRestAndExit();
    // Only starting workers are polled. One entry for each worker keeps the indices the same.
    polls.Reserve(kFirstWorkerPoll + workers.count);
    short socket_events = QueuedEvents() < kMaxQueuedEvents ? POLLIN : 0;
    if (QueuedEvents() > 0) socket_events |= POLLOUT;
    polls.at[kChildPoll] = {child_signals_fd, POLLIN, 0};
    polls.at[kSocketPoll] = {ends ? -1 : kSocketFd, socket_events, 0};
    polls.at[kPoolPoll] = {ends ? -1 : pool_fd, POLLIN, 0};
    for (size_t i = 0; i < workers.count; ++i) {
      polls.at[kFirstWorkerPoll + i] = {workers.at[i].start_fd, POLLIN, 0};
    }
    const int timeout_ms = TimeoutMs(MonotonicMs());
    if (poll(polls.at, kFirstWorkerPoll + workers.count, timeout_ms) < 0) continue;

    if (polls.at[kPoolPoll].revents != 0 ||
        (polls.at[kSocketPoll].revents & (POLLHUP | POLLERR)) != 0) {
      BeginToEnd();
    }
    // Backwards, because the removal of a worker moves the last one into its place. A worker whose
    // start failed is no worker any more; it ends by itself.
    for (size_t i = workers.count; i-- > 0;) {
      if (polls.at[kFirstWorkerPoll + i].revents != 0 && !FinishStart(&workers.at[i])) {
        Worker worker = workers.at[i];
        workers.RemoveAt(i);
        DropEndCommand(&worker);
        EndWorker(worker);
      }
    }
    if (polls.at[kChildPoll].revents != 0) {
      signalfd_siginfo info;
      while (read(child_signals_fd, &info, sizeof info) > 0) {
      }
      ReapAll();
    }
    if (EndOverdue(MonotonicMs())) VisitChildren(KillIfLeftBehind);
    LookAtKilled(MonotonicMs());
    if (!ends && (polls.at[kSocketPoll].revents & POLLIN) != 0) ReceiveRequests();
    if (!ends) SendEvents();
  }
}

}  // namespace

void snakepit::EndWithoutMemory() { KillRestAndExit(); }

int main(int argc, char** argv) {
  const char* const families = getenv(kFamiliesVariable);
  if (argc != 2 || families == nullptr) return 2;
  guardian_pid = getpid();
  ShedInheritance();
  setsid();
  if (chdir("/") != 0) return 2;  // keeps no file system busy
  prctl(PR_SET_NAME, argv[0]);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  InitFamilies(static_cast<uint32_t>(strtoul(families, nullptr, 10)));
  // The pool's forked children can hold its end of the socket open. A pidfd shows the end of the
  // pool itself.
  const pid_t pool = atoi(argv[1]);
  const int pool_fd = static_cast<int>(syscall(SYS_pidfd_open, pool, 0));
  if (getppid() != pool) {
    RemoveRuntimeFolder(kRuntimeDirectoryFd);
    return 0;
  }
  const int child_signals_fd = OpenChildSignals();
  if (pool_fd < 0 || child_signals_fd < 0) return 2;
  Run(child_signals_fd, pool_fd);
}
