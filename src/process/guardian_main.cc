// The guardian program: see guardian.h for what it is for. One thread, C library only, and no
// blocking system call but its one poll: whatever a worker, its files or the pool's process do, it
// reaps, reports and kills in time.
#include <dirent.h>
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

#include "src/process/guardian_child.h"
#include "src/process/guardian_protocol.h"

namespace {

using namespace snakepit::guardian_protocol;
using snakepit::BecomeWorker;
using snakepit::Cgroup;
using snakepit::KillCgroup;
using snakepit::RemoveCgroup;
using snakepit::SpawnFailure;

constexpr size_t kKernelSignalSetBytes = 8;
// More events than the pool may leave unread: requests then wait in the socket. It is over what
// the largest pool (1,000 workers) can owe.
constexpr size_t kMaxQueuedEvents = 4096;

struct Worker {
  uint64_t id;
  pid_t pid;
  int start_fd;  // of a worker that starts: SpawnFailure or end of file; -1 afterwards
  Cgroup cgroup;
};

struct Workers {
  Worker* at;
  size_t count;
  size_t capacity;
};

// Those that are to be removed, but were not empty yet.
struct Cgroups {
  Cgroup* at;
  size_t count;
  size_t capacity;
};

struct EventQueue {
  Event* at;
  size_t first;  // those before it are sent
  size_t end;
  size_t capacity;
};

Workers workers;
Cgroups old_cgroups;
EventQueue events;
pid_t guardian_pid;
const char* runtime_directory = "";  // empty: none

// ---- The end -----------------------------------------------------------------------------------

void KillChildrenOf(const char* children_path) {
  FILE* file = fopen(children_path, "re");
  if (file == nullptr) return;
  int pid;
  while (fscanf(file, "%d", &pid) == 1) kill(pid, SIGKILL);
  fclose(file);
}

// For a kernel without the list of children in /proc.
void KillChildrenByScan() {
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return;
  while (const dirent* entry = readdir(processes)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
    FILE* file = fopen(path, "re");
    if (file == nullptr) continue;
    char text[512];
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char* after_name = strrchr(text, ')');
    int parent = 0;
    if (after_name != nullptr && sscanf(after_name, ") %*c %d", &parent) == 1 &&
        parent == guardian_pid) {
      kill(atoi(entry->d_name), SIGKILL);
    }
  }
  closedir(processes);
}

// The folder with the workers' sockets: nobody else is left to remove it when the pool was killed.
void RemoveRuntimeDirectory() {
  DIR* const directory = opendir(runtime_directory);
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) unlinkat(dirfd(directory), entry->d_name, 0);
  closedir(directory);
  rmdir(runtime_directory);
}

// A process whose parent is gone becomes this one's child, as that was made a subreaper: killing
// the children until there is none kills every descendant, in whatever group or session it is.
[[noreturn]] void KillAllAndExit() {
  for (size_t i = 0; i < workers.count; ++i) {
    kill(-workers.at[i].pid, SIGKILL);
    KillCgroup(workers.at[i].cgroup);
  }
  char children_path[64];
  snprintf(children_path, sizeof children_path, "/proc/self/task/%d/children", guardian_pid);
  const bool has_list = access(children_path, R_OK) == 0;
  for (;;) {
    if (has_list) {
      KillChildrenOf(children_path);
    } else {
      KillChildrenByScan();
    }
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) {
      for (size_t i = 0; i < workers.count; ++i) RemoveCgroup(workers.at[i].cgroup);
      for (size_t i = 0; i < old_cgroups.count; ++i) RemoveCgroup(old_cgroups.at[i]);
      RemoveRuntimeDirectory();
      _exit(0);
    }
    // Look again only when the known ones are gone, as far as that needs no waiting.
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

// The array with room for more than `count` items.
void* Grow(void* array, size_t count, size_t* capacity, size_t item_bytes) {
  if (count < *capacity) return array;
  while (*capacity <= count) *capacity = *capacity == 0 ? 16 : 2 * *capacity;
  void* grown = realloc(array, *capacity * item_bytes);
  if (grown == nullptr) KillAllAndExit();
  return grown;
}

// ---- Events to the pool ------------------------------------------------------------------------

size_t QueuedEvents() { return events.end - events.first; }

void QueueEvent(const Event& event) {
  if (events.end == events.capacity && events.first > 0) {
    memmove(events.at, events.at + events.first, QueuedEvents() * sizeof(Event));
    events.end -= events.first;
    events.first = 0;
  }
  events.at = static_cast<Event*>(Grow(events.at, events.end, &events.capacity, sizeof(Event)));
  events.at[events.end++] = event;
}

void SendEvents() {
  while (QueuedEvents() > 0) {
    const ssize_t sent =
        send(kSocketFd, &events.at[events.first], sizeof(Event), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // The rest is sent when the socket takes it; any fault of the socket shows when it is read.
    if (sent < 0) return;
    ++events.first;
  }
  events.first = events.end = 0;
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

// Takes the descriptor of the cgroup's folder, if there is one, over.
void StartWorker(uint64_t id, int* fds, int fd_count) {
  // Forked, not vforked: a working directory on a network that hangs must not hang the guardian.
  int start_fds[2];
  if (pipe2(start_fds, O_CLOEXEC) != 0) return QueueSpawnFailed(id, {kStepPrepare, errno, 0});
  Cgroup cgroup = {-1, guardian_pid, id};
  if (fd_count > kCgroupFd) cgroup.parent_fd = fds[kCgroupFd];
  const pid_t pid = fork();
  if (pid == 0) BecomeWorker(fds, cgroup, start_fds[1], guardian_pid);
  const int error = errno;
  close(start_fds[1]);
  if (pid < 0) {
    close(start_fds[0]);
    return QueueSpawnFailed(id, {kStepPrepare, error, 0});
  }
  // Here and in the child, so that the group is there for both, whoever is first.
  setpgid(pid, pid);
  workers.at =
      static_cast<Worker*>(Grow(workers.at, workers.count, &workers.capacity, sizeof(Worker)));
  workers.at[workers.count++] = {id, pid, start_fds[0], cgroup};
  if (fd_count > kCgroupFd) fds[kCgroupFd] = -1;
}

// Reads how the start of a worker went, if that is known yet. false: it failed.
bool FinishStart(Worker* worker) {
  SpawnFailure failure;
  const ssize_t got = read(worker->start_fd, &failure, sizeof failure);
  if (got < 0 && errno == EINTR) return true;  // asked again by poll
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

void RemoveOldCgroups() {
  size_t kept = 0;
  for (size_t i = 0; i < old_cgroups.count; ++i) {
    if (RemoveCgroup(old_cgroups.at[i])) {
      close(old_cgroups.at[i].parent_fd);
    } else {
      old_cgroups.at[kept++] = old_cgroups.at[i];
    }
  }
  old_cgroups.count = kept;
}

// What is in its cgroup ends; when the last of it is reaped, the cgroup can be removed.
void RemoveWorker(Worker* worker) {
  if (worker->cgroup.parent_fd >= 0) {
    KillCgroup(worker->cgroup);
    old_cgroups.at = static_cast<Cgroup*>(
        Grow(old_cgroups.at, old_cgroups.count, &old_cgroups.capacity, sizeof(Cgroup)));
    old_cgroups.at[old_cgroups.count++] = worker->cgroup;
  }
  *worker = workers.at[--workers.count];
}

// A child of this process is a zombie: reaps it and, if it was a worker, ends its group and
// reports.
void Reap(pid_t pid) {
  Worker* const worker = FindByPid(pid);
  // While the leader is not reaped, its number cannot become another group's.
  if (worker != nullptr) kill(-pid, SIGKILL);
  int status = 0;
  rusage use = {};
  if (wait4(pid, &status, WNOHANG, &use) != pid || worker == nullptr) return;
  // The child is dead, so its end of the pipe is closed: this does not block.
  if (worker->start_fd >= 0 && !FinishStart(worker)) return RemoveWorker(worker);
  Event event = {};
  event.kind = kExited;
  event.id = worker->id;
  event.wait_status = status;
  event.user_time_us = Microseconds(use.ru_utime);
  event.system_time_us = Microseconds(use.ru_stime);
  event.max_rss_bytes = static_cast<int64_t>(use.ru_maxrss) * 1024;
  QueueEvent(event);
  RemoveWorker(worker);
}

void ReapAll() {
  for (;;) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) break;
    Reap(info.si_pid);
  }
  RemoveOldCgroups();
}

// ---- Requests from the pool --------------------------------------------------------------------

// Takes the descriptors out of the message; returns how many came.
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
    // Fewer arrive when this process may not open as many.
    if (fd_count < kSpawnFdCount) return QueueSpawnFailed(request.id, {kStepPrepare, EMFILE, 0});
    StartWorker(request.id, fds, fd_count);
  } else if (request.kind == kSignal) {
    const Worker* const worker = FindById(request.id);
    // A worker is in the table until it is reaped, so the number is still its own.
    if (worker != nullptr) kill(-worker->pid, request.signal);
  }
}

// Reads all requests that are there. The end of the pool is the end of all.
void ReceiveRequests() {
  while (QueuedEvents() < kMaxQueuedEvents) {
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
    if (got != sizeof request) KillAllAndExit();
    int fds[kMaxSpawnFds];
    const int fd_count = TakeFds(&message, fds);
    HandleRequest(request, fds, fd_count);
    for (int i = 0; i < fd_count; ++i) close(fds[i]);
    Event received = {};
    received.kind = kReceived;
    QueueEvent(received);
  }
}

// ---- Set-up and the loop -----------------------------------------------------------------------

// What an arbitrary process has left open or ignored must reach neither this one nor a worker.
void ShedInheritance() {
  if (syscall(SYS_close_range, kSocketFd + 1, ~0u, 0) != 0) {
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t fd = kSocketFd + 1; fd < limit.rlim_cur; ++fd) close(static_cast<int>(fd));
  }
  fcntl(kSocketFd, F_SETFD, FD_CLOEXEC);
  // By system call, as the C library refuses the two signals that it keeps for itself, and there
  // are programs that ignore them. Zeroes stand for SIG_DFL, without flags and mask.
  const char default_action[128] = {};
  for (int number = 1; number < NSIG; ++number) {
    syscall(SYS_rt_sigaction, number, default_action, nullptr, kKernelSignalSetBytes);
  }
  // All are blocked: asked to end, by SIGTERM to the whole service for example, the pool decides
  // how, and the guardian follows it.
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

[[noreturn]] void Run(int child_signals_fd, int pool_fd) {
  enum { kSocketPoll, kChildPoll, kPoolPoll, kFirstWorkerPoll };
  pollfd* polls = nullptr;
  size_t polls_capacity = 0;
  for (;;) {
    // Only those that start are polled; an entry a worker keeps the indices the same.
    polls = static_cast<pollfd*>(
        Grow(polls, kFirstWorkerPoll + workers.count, &polls_capacity, sizeof(pollfd)));
    short socket_events = QueuedEvents() < kMaxQueuedEvents ? POLLIN : 0;
    if (QueuedEvents() > 0) socket_events |= POLLOUT;
    polls[kSocketPoll] = {kSocketFd, socket_events, 0};
    polls[kChildPoll] = {child_signals_fd, POLLIN, 0};
    polls[kPoolPoll] = {pool_fd, POLLIN, 0};
    for (size_t i = 0; i < workers.count; ++i) {
      polls[kFirstWorkerPoll + i] = {workers.at[i].start_fd, POLLIN, 0};
    }
    if (poll(polls, kFirstWorkerPoll + workers.count, -1) < 0) continue;

    if (polls[kPoolPoll].revents != 0 || (polls[kSocketPoll].revents & (POLLHUP | POLLERR)) != 0) {
      KillAllAndExit();
    }
    // From the last, as the removal of a worker moves the last into its place. One whose start
    // failed stays until it is reaped, but is no worker any more.
    for (size_t i = workers.count; i-- > 0;) {
      if (polls[kFirstWorkerPoll + i].revents != 0 && !FinishStart(&workers.at[i])) {
        RemoveWorker(&workers.at[i]);
      }
    }
    if (polls[kChildPoll].revents != 0) {
      signalfd_siginfo info;
      while (read(child_signals_fd, &info, sizeof info) > 0) {
      }
      ReapAll();
    }
    if (polls[kSocketPoll].revents & POLLIN) ReceiveRequests();
    SendEvents();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  guardian_pid = getpid();
  if (argc == 3) runtime_directory = argv[2];
  ShedInheritance();
  setsid();
  if (chdir("/") != 0) return 2;  // keeps no file system busy
  prctl(PR_SET_NAME, argv[0]);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  // The socket's end can be held open by a process that the pool's forked; its own end cannot.
  const pid_t pool = atoi(argv[1]);
  const int pool_fd = static_cast<int>(syscall(SYS_pidfd_open, pool, 0));
  if (getppid() != pool) {
    RemoveRuntimeDirectory();
    return 0;
  }
  const int child_signals_fd = OpenChildSignals();
  if (pool_fd < 0 || child_signals_fd < 0) return 2;
  Run(child_signals_fd, pool_fd);
}
