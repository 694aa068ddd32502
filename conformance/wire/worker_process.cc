#include "conformance/wire/worker_process.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace snakepit::conformance {
namespace {

using std::chrono::steady_clock;

constexpr size_t kStderrTail = 4096;
constexpr size_t kReadBytes = 64 << 10;

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void SetNonblocking(const UniqueFd& fd) { fcntl(fd.get(), F_SETFL, O_NONBLOCK); }

void BlockOnThisThread(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

std::string DescribeEnd(int status) {
  if (WIFSIGNALED(status)) return "by signal " + std::to_string(WTERMSIG(status));
  return "with exit code " + std::to_string(WEXITSTATUS(status));
}

WorkerProcess::~WorkerProcess() {
  if (pid_ < 0) return;
  kill(-pid_, SIGKILL);  // the rest of its group, too: PROTOCOL.md 1.4.4
  if (!status_) waitpid(pid_, nullptr, 0);
}

Result<void> WorkerProcess::Start(std::vector<std::string> argv,
                                  std::vector<std::string> environment, Channel channel) {
  is_socket_ = channel == Channel::kSocketPair;
  // A pipe has no MSG_NOSIGNAL. The signal stays with this thread, which ends with the case.
  if (!is_socket_) BlockOnThisThread(SIGPIPE);
  UniqueFd worker_in, worker_out;
  if (is_socket_) {
    auto pair = OpenSocketPair();
    if (!pair) return Fail(std::move(pair.error()));
    in_ = std::move(pair->first);
    worker_in = std::move(pair->second);
  } else {
    auto to = OpenPipe(), from = OpenPipe();
    if (!to || !from) return Fail(std::move((to ? from : to).error()));
    worker_in = std::move(to->first);
    in_ = std::move(to->second);
    out_ = std::move(from->first);
    worker_out = std::move(from->second);
  }
  auto errors = OpenPipe();
  if (!errors) return Fail(std::move(errors.error()));
  stderr_ = std::move(errors->first);
  for (const UniqueFd* fd : {&in_, &out_, &stderr_}) {
    if (fd->valid()) SetNonblocking(*fd);
  }

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, worker_in.get(), STDIN_FILENO);
  const UniqueFd& worker_stdout = is_socket_ ? worker_in : worker_out;
  posix_spawn_file_actions_adddup2(&actions, worker_stdout.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors->second.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv.front().c_str(), &actions, &attributes,
                                 Pointers(argv).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return Fail(ErrorCode::kStartFailed, argv.front() + " cannot be run: " + ErrnoMessage(error));
  }
  pid_ = pid;
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd_.valid()) return Fail(ErrnoError("pidfd_open", errno));
  transcript_.Add(Transcript::Kind::kStarted, std::to_string(pid));
  return {};
}

void WorkerProcess::Write(std::string_view bytes) {
  unsent_.append(bytes);
  Send();
}

bool WorkerProcess::AwaitWritten(Deadline deadline) {
  while (sent_ < unsent_.size()) {
    if (refuses_input_ || !Step(deadline, false)) return false;
  }
  return true;
}

bool WorkerProcess::AwaitRead(Deadline deadline) {
  return Poll(deadline, [this] {
    int unread = 0;
    // SIOCOUTQ counts what the peer of a stream socket has not read: unix(7).
    return ioctl(in_.get(), is_socket_ ? SIOCOUTQ : FIONREAD, &unread) != 0 || unread == 0;
  });
}

bool WorkerProcess::AwaitIdle(Deadline deadline) {
  return Poll(deadline, [this] {
    const Result<std::string> stat = ReadFile("/proc/" + std::to_string(pid_) + "/stat");
    if (!stat) return true;
    const size_t name_end = stat->rfind(')');
    return name_end == std::string::npos || (*stat)[name_end + 2] != 'R';
  });
}

template <typename Condition>
bool WorkerProcess::Poll(Deadline deadline, Condition condition) {
  while (!condition()) {
    if (steady_clock::now() >= deadline) return false;
    Pause();
  }
  return true;
}

void WorkerProcess::Pause() { Step(steady_clock::now() + std::chrono::milliseconds(1), false); }

bool WorkerProcess::AwaitInput(Deadline deadline) {
  const size_t before = input().size();
  while (input().size() == before) {
    if (output_ended_ || !Step(deadline, false)) return false;
  }
  return true;
}

void WorkerProcess::CloseInput() {
  if (is_socket_) {
    shutdown(in_.get(), SHUT_WR);
  } else {
    in_.Reset();
  }
  refuses_input_ = true;
  transcript_.Add(Transcript::Kind::kInputClosed);
}

void WorkerProcess::Signal(int signal) {
  transcript_.Add(Transcript::Kind::kSignal, "SIG" + std::string(sigabbrev_np(signal)));
  syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

std::optional<int> WorkerProcess::AwaitExit(Deadline deadline) {
  while (!status_ && Step(deadline, true)) continue;
  return status_;
}

int64_t WorkerProcess::PeakBytes() const {
  const Result<std::string> status = ReadFile("/proc/" + std::to_string(pid_) + "/status");
  if (!status) return 0;
  constexpr std::string_view kName = "VmHWM:";
  const size_t at = status->find(kName);
  return at == std::string::npos ? 0 : 1024 * std::atoll(status->c_str() + at + kName.size());
}

bool WorkerProcess::Step(Deadline deadline, bool wait_for_exit) {
  const bool has_unsent = sent_ < unsent_.size() && !refuses_input_;
  const auto events = [](bool reads, bool writes) {
    return static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
  };
  const bool reads = !output_ended_;
  // Without events of its own a closed descriptor would be reported for ever.
  const bool uses_in = has_unsent || (is_socket_ && reads);
  pollfd fds[] = {
      {uses_in ? in_.get() : -1, events(is_socket_ && reads, has_unsent), 0},
      {!is_socket_ && reads ? out_.get() : -1, POLLIN, 0},
      {stderr_.get(), POLLIN, 0},
      {wait_for_exit ? pidfd_.get() : -1, POLLIN, 0},
  };
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
  const int ready = poll(fds, std::size(fds), static_cast<int>(std::max<int64_t>(0, left)));
  if (ready < 0) return errno == EINTR;
  if (ready == 0) return false;
  if (fds[0].revents != 0 && has_unsent) Send();
  if ((is_socket_ ? fds[0] : fds[1]).revents != 0 && reads) Receive();
  if (fds[2].revents != 0) ReceiveStderr();
  if (fds[3].revents != 0) {
    int status = 0;
    waitpid(pid_, &status, 0);
    status_ = status;
    transcript_.Add(Transcript::Kind::kExited, DescribeEnd(status));
  }
  return true;
}

void WorkerProcess::Send() {
  while (sent_ < unsent_.size() && !refuses_input_) {
    const std::string_view rest = std::string_view(unsent_).substr(sent_);
    const ssize_t sent = is_socket_ ? send(in_.get(), rest.data(), rest.size(), MSG_NOSIGNAL)
                                    : write(in_.get(), rest.data(), rest.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
      refuses_input_ = true;
      return;
    }
    transcript_.Add(Transcript::Kind::kSent, rest.substr(0, static_cast<size_t>(sent)));
    sent_ += static_cast<size_t>(sent);
  }
  unsent_.clear();
  sent_ = 0;
}

void WorkerProcess::Receive() {
  input_.erase(0, std::exchange(taken_, 0));
  const size_t before = input_.size();
  input_.resize(before + kReadBytes);
  const ssize_t got = read((is_socket_ ? in_ : out_).get(), input_.data() + before, kReadBytes);
  input_.resize(before + static_cast<size_t>(std::max<ssize_t>(0, got)));
  if (got > 0) {
    transcript_.Add(Transcript::Kind::kReceived, std::string_view(input_).substr(before));
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    output_ended_ = true;
    transcript_.Add(Transcript::Kind::kOutputEnded);
  }
}

void WorkerProcess::ReceiveStderr() {
  char bytes[kStderrTail];
  const ssize_t got = read(stderr_.get(), bytes, sizeof bytes);
  if (got > 0) {
    const std::string_view text(bytes, static_cast<size_t>(got));
    transcript_.Add(Transcript::Kind::kStderr, text);
    stderr_tail_.append(text);
    if (stderr_tail_.size() > kStderrTail) {
      stderr_tail_.erase(0, stderr_tail_.size() - kStderrTail);
    }
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    stderr_.Reset();
  }
}

}  // namespace snakepit::conformance
