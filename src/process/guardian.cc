#include "src/process/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "src/base/blocked_signals.h"
#include "src/base/fd.h"
#include "src/base/mutex.h"
#include "src/base/quote.h"
#include "src/process/credentials.h"
#include "src/process/guardian/protocol.h"
#include "src/process/guardian_process.h"
#include "src/process/process_settings.h"
#include "src/process/request_queue.h"
#include "src/process/start_error.h"

namespace snakepit {
namespace {

namespace protocol = guardian_protocol;

// The guardian normally answers at once. A silent one may have been stopped by a signal, so it gets
// SIGCONT after kContinueAfter. If it stays silent, it is stuck and given up.
constexpr std::chrono::milliseconds kContinueAfter{2'000};
constexpr std::chrono::milliseconds kAnswerLimit{6'000};
// Retry interval for requests that the socket did not take, where no event tells.
constexpr std::chrono::milliseconds kRetryWait{5};
// Time for the guardian to kill everything. After it the guardian itself is killed.
constexpr std::chrono::milliseconds kEndTimeout{8'000};
static_assert(kEndTimeout >
              std::chrono::milliseconds(protocol::kEndCommandLimitMs) + kLongestLeaderGrace);
// Events handled in one go before other work of the io_context has its turn.
constexpr int kEventsPerTurn = 64;

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

Result<void> Validate(const SpawnSpec& spec) {
  const auto refuse = [](std::string message) {
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  if (spec.argv.empty() || spec.argv[0].empty()) return refuse("argv names no program");
  for (const std::string& argument : spec.argv) {
    if (HasNul(argument)) return refuse("an argument contains a NUL byte: " + Quoted(argument));
  }
  for (const std::string& variable : spec.environment) {
    const size_t equals = variable.find('=');
    if (HasNul(variable) || equals == 0 || equals == std::string::npos) {
      return refuse("not a NAME=value without a NUL byte: " + Quoted(variable));
    }
  }
  if (HasNul(spec.working_directory)) {
    return refuse("the working directory contains a NUL byte: " + Quoted(spec.working_directory));
  }
  for (const std::string& argument : spec.end_command) {
    if (HasNul(argument)) return refuse("an argument contains a NUL byte: " + Quoted(argument));
  }
  if (spec.stdin_fd < 0 || spec.stdout_fd < 0 || spec.stderr_fd < 0) {
    return refuse("stdin, stdout and stderr must each be an open descriptor");
  }
  return Validate(spec.process);
}

// The content of guardian_protocol::kSpecFd.
std::string Serialize(const SpawnSpec& spec, const std::string& mark) {
  protocol::SpecHeader header = {};
  header.argument_count = static_cast<uint32_t>(spec.argv.size());
  header.end_argument_count = static_cast<uint32_t>(spec.end_command.size());
  header.variable_count = static_cast<uint32_t>(spec.environment.size() + 1);
  header.has_cgroup = spec.cgroup.has_value();
  if (spec.cgroup) {
    header.cgroup_setting_count = static_cast<uint32_t>(spec.cgroup->settings.size());
  }
  WriteSettings(spec.process, &header);
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  const auto append = [&bytes](const std::string& text) {
    bytes.append(text.c_str(), text.size() + 1);
  };
  append(spec.working_directory);
  for (const std::string& argument : spec.argv) append(argument);
  for (const std::string& argument : spec.end_command) append(argument);
  for (const std::string& variable : spec.environment) append(variable);
  append(mark);
  if (spec.cgroup) {
    for (const auto& [name, text] : spec.cgroup->settings) {
      append(name);
      append(text);
    }
  }
  return bytes;
}

// The directory from which the spec's working directory starts.
Result<UniqueFd> OpenStartDirectory(const SpawnSpec& spec) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  UniqueFd directory(open(spec.working_directory.starts_with('/') ? "/" : ".", kFlags));
  if (directory.valid()) return directory;
  Error error = ErrnoError("cannot enter the working directory of this process", errno);
  // The folder can belong to another user, for example if `sudo -u` started this program there.
  // Nothing relative could be found from such a folder.
  const std::string& program = spec.argv[0];
  const bool is_relative = program[0] != '/' && program.find('/') != std::string::npos;
  if (!spec.working_directory.empty() || is_relative) return Fail(std::move(error));
  directory.Reset(open("/", kFlags));
  if (!directory.valid()) return Fail(std::move(error));
  return directory;
}

ExitStatus ToExitStatus(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {.code = 0, .signal = WTERMSIG(wait_status)};
  return {.code = WEXITSTATUS(wait_status), .signal = 0};
}

ResourceUse ToResourceUse(const protocol::Event& event) {
  return {.user_time = std::chrono::microseconds(event.user_time_us),
          .system_time = std::chrono::microseconds(event.system_time_us),
          .max_rss_bytes = event.max_rss_bytes};
}

// "it ended by exit code 1".
std::string EndCommandFailure(const protocol::Event& event) {
  if (event.error == ETIMEDOUT) {
    return "it took more than " + std::to_string(protocol::kEndCommandLimitMs) + " ms";
  }
  if (event.error != 0) return "it could not be started: " + ErrnoMessage(event.error);
  std::string text = "it ended by " + Describe(ToExitStatus(event.wait_status));
  // The shell's convention.
  if (WIFEXITED(event.wait_status) && WEXITSTATUS(event.wait_status) == 127) {
    text += ": it could not be executed";
  }
  return text;
}

}  // namespace

// The part that outlives the Guardian while one of its events is running.
class Guardian::Link : public std::enable_shared_from_this<Link> {
 public:
  Link(asio::io_context& io, Events events, Credentials credentials, GuardianProcess process)
      : events_(std::move(events)),
        credentials_(std::move(credentials)),
        process_(std::move(process)),
        mark_(process_.mark()),
        pid_(process_.pid()),
        fd_(process_.socket()),
        requests_(fd_),
        io_(io),
        descriptor_(io, fd_),
        answer_timer_(io),
        retry_timer_(io) {
    (void)process_.ReleaseSocket();  // it is descriptor_'s from here on
  }

  void Listen() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [weak = weak_from_this()](const asio::error_code&) {
                             if (const std::shared_ptr<Link> self = weak.lock())
                               self->HandleReadable();
                           });
  }

  Result<void> Spawn(uint64_t id, const SpawnSpec& spec);
  void Signal(uint64_t id, int signal);
  void SetRuntimeDirectory(int fd);
  void Close();
  bool is_lost() const { return is_lost_; }
  pid_t pid() const { return pid_; }

 private:
  int Send(const protocol::Request& request, const int* fds, size_t fd_count);
  void Flush();
  void LookForAnswer();
  void HandleReadable();
  bool ReadEvents() ABSL_EXCLUSIVE_LOCKS_REQUIRED(dispatch_mutex_);
  void Dispatch(const protocol::Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(dispatch_mutex_);
  Starting TakeStarting(uint64_t id);
  void HandleLoss() ABSL_EXCLUSIVE_LOCKS_REQUIRED(dispatch_mutex_);
  void AwaitLoss();
  void TellLoss();

  // Held while events are called, so that none runs once Close has it. Recursive, because an event
  // may destroy the Guardian.
  RecursiveMutex dispatch_mutex_;
  bool closed_ ABSL_GUARDED_BY(dispatch_mutex_) = false;
  const Events events_;
  const Credentials credentials_;  // the guardian's, and therefore the workers'
  // Guarded by dispatch_mutex_ until a loss. After that, only loss_waiter_ uses it until it is
  // joined.
  GuardianProcess process_;
  std::atomic<bool> is_lost_ = false;
  std::thread loss_waiter_ ABSL_GUARDED_BY(dispatch_mutex_);
  const std::string mark_;
  const pid_t pid_;
  const int fd_;  // descriptor_'s
  RequestQueue requests_;
  asio::io_context& io_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer answer_timer_ ABSL_GUARDED_BY(dispatch_mutex_);
  asio::steady_timer retry_timer_ ABSL_GUARDED_BY(dispatch_mutex_);
  // Time of the SIGCONT that was sent since the guardian's last answer.
  std::optional<RequestQueue::Time> continued_at_ ABSL_GUARDED_BY(dispatch_mutex_);

  Mutex starting_mutex_;
  std::unordered_map<uint64_t, Starting> starting_ ABSL_GUARDED_BY(starting_mutex_);
  std::set<std::string> cgroup_parents_ ABSL_GUARDED_BY(starting_mutex_);
};

Result<void> Guardian::Link::Spawn(uint64_t id, const SpawnSpec& spec) {
  if (auto valid = Validate(spec); !valid) return valid;
  const std::string difference = Credentials::Current().DifferenceFrom(credentials_);
  if (!difference.empty()) {
    return Fail(ErrorCode::kStartFailed,
                "the user or groups of this process have changed (" + difference +
                    "), and workers would still get the old ones; start the pool after the change");
  }
  const auto spec_file = OpenMemoryFile("snakepit-spec", false, Serialize(spec, mark_));
  if (!spec_file) return Fail(spec_file.error());
  const auto start_directory = OpenStartDirectory(spec);
  if (!start_directory) return Fail(start_directory.error());
  UniqueFd cgroup_parent;
  if (spec.cgroup) {
    const char* const parent = spec.cgroup->parent.c_str();
    cgroup_parent.Reset(open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup_parent.valid()) {
      return Fail(ErrnoError("cannot open the cgroup " + spec.cgroup->parent, errno));
    }
  }
  {
    const MutexLock lock(starting_mutex_);
    if (spec.cgroup) cgroup_parents_.insert(spec.cgroup->parent);
    if (!starting_
             .try_emplace(id,
                          Starting{spec.argv[0], spec.working_directory, spec.process, spec.cgroup})
             .second) {
      return Fail(ErrorCode::kInvalidArgument, "two workers have the same id");
    }
  }
  const int fds[protocol::kMaxSpawnFds] = {spec_file->get(),       spec.stdin_fd,
                                           spec.stdout_fd,         spec.stderr_fd,
                                           start_directory->get(), cgroup_parent.get()};
  const protocol::Request request = {
      .kind = protocol::kSpawn,
      .signal = 0,
      .id = id,
      .family_grace_ms = static_cast<uint32_t>(spec.leader_grace.count()),
      .has_end_command = !spec.end_command.empty()};
  const int error =
      Send(request, fds, spec.cgroup ? protocol::kMaxSpawnFds : protocol::kSpawnFdCount);
  if (error == 0) return {};
  TakeStarting(id);
  switch (error) {
    case EBADF:
      return Fail(ErrorCode::kInvalidArgument,
                  "stdin, stdout and stderr must each be an open descriptor");
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return Fail(ErrorCode::kInternal, "the guardian process has ended");
    default:
      return Fail(ErrnoError("cannot reach the guardian process", error));
  }
}

void Guardian::Link::Signal(uint64_t id, int signal) {
  // A lost guardian has nothing left to signal.
  (void)Send({.kind = protocol::kSignal, .signal = signal, .id = id}, nullptr, 0);
}

int Guardian::Link::Send(const protocol::Request& request, const int* fds, size_t fd_count) {
  const int error = requests_.Send(request, fds, fd_count);
  if (error == 0) {
    asio::post(io_, [weak = weak_from_this()] {
      const std::shared_ptr<Link> self = weak.lock();
      if (!self) return;
      self->Flush();
      self->LookForAnswer();
    });
  }
  return error;
}

// Runs on the io thread, as do all methods below but Close and AwaitLoss.
void Guardian::Link::Flush() {
  const RecursiveMutexLock lock(dispatch_mutex_);
  if (closed_ || is_lost_) return;
  const auto again = [weak = weak_from_this()](const asio::error_code& error) {
    const std::shared_ptr<Link> self = weak.lock();
    if (self && !error) self->Flush();
  };
  const int error = requests_.Flush();
  if (error == EAGAIN) {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_write, again);
  } else if (error != 0) {
    retry_timer_.expires_after(kRetryWait);
    retry_timer_.async_wait(again);
  }
}

// Makes sure that a silent guardian is noticed.
void Guardian::Link::LookForAnswer() {
  const RecursiveMutexLock lock(dispatch_mutex_);
  if (closed_ || is_lost_) return;
  // The answer may have come while this thread was held up.
  if (!ReadEvents()) return;
  const auto since = requests_.unanswered_since();
  if (!since) return;
  const auto now = std::chrono::steady_clock::now();
  if (continued_at_ && *continued_at_ < *since) continued_at_.reset();  // it has answered since
  if (!continued_at_ && now - *since >= kContinueAfter) {
    process_.Continue();
    continued_at_ = now;
  }
  // Counted from SIGCONT on, because this thread may have come here late.
  const auto next =
      continued_at_ ? *continued_at_ + (kAnswerLimit - kContinueAfter) : *since + kContinueAfter;
  char unread;  // may be the answer
  if (continued_at_ && now >= next && recv(fd_, &unread, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
    return HandleLoss();
  }
  answer_timer_.expires_at(next);
  answer_timer_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    const std::shared_ptr<Link> self = weak.lock();
    if (self && !error) self->LookForAnswer();
  });
}

void Guardian::Link::SetRuntimeDirectory(int fd) {
  // A lost guardian removes none.
  (void)Send({.kind = protocol::kRuntimeDirectory}, &fd, 1);
}

void Guardian::Link::HandleReadable() {
  const RecursiveMutexLock lock(dispatch_mutex_);
  if (!closed_ && !is_lost_ && ReadEvents()) Listen();
}

// Handles the events that have come. False if no more are to be expected.
bool Guardian::Link::ReadEvents() {
  for (int i = 0; i < kEventsPerTurn; ++i) {
    protocol::Event event;
    const ssize_t got = recv(fd_, &event, sizeof event, MSG_DONTWAIT);
    // ECONNRESET is reported once, before the last events.
    if (got < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got != sizeof event) {
      HandleLoss();
      return false;
    }
    Dispatch(event);
    if (closed_) return false;
  }
  return true;
}

void Guardian::Link::Dispatch(const protocol::Event& event) {
  switch (event.kind) {
    case protocol::kSpawned:
      TakeStarting(event.id);
      return events_.spawned(event.id, event.pid);
    case protocol::kSpawnFailed:
      return events_.spawn_failed(event.id, StartError(TakeStarting(event.id), event));
    case protocol::kExited:
      return events_.exited(event.id, ToExitStatus(event.wait_status), ToResourceUse(event));
    case protocol::kEndCommandFailed:
      if (events_.end_command_failed) {
        events_.end_command_failed(event.pid, EndCommandFailure(event));
      }
      return;
    case protocol::kReceived:
      return requests_.Answered();
  }
}

Starting Guardian::Link::TakeStarting(uint64_t id) {
  const MutexLock lock(starting_mutex_);
  auto node = starting_.extract(id);
  return node.empty() ? Starting{} : std::move(node.mapped());
}

void Guardian::Link::HandleLoss() {
  if (is_lost_.exchange(true)) return;
  // The guardian ends by itself when it sees the loss too, unless it is stopped or stuck. Waiting
  // for that can take time, and this thread has other work.
  shutdown(fd_, SHUT_RDWR);
  answer_timer_.cancel();
  try {
    const BlockedSignals blocked;
    loss_waiter_ = std::thread([this, work = asio::make_work_guard(io_)] { AwaitLoss(); });
  } catch (const std::exception&) {  // out of threads or memory
    AwaitLoss();
  }
}

// Runs on a thread of its own, which Close joins.
void Guardian::Link::AwaitLoss() {
  try {
    process_.AwaitEnd(kEndTimeout, [this] {
      const MutexLock lock(starting_mutex_);
      for (const std::string& parent : cgroup_parents_) {
        ClearCgroups(parent, pid_, [this] { return process_.IsHeld(); });
      }
    });
  } catch (const std::exception&) {
    // Out of memory: the leftovers stay, and the loss is still reported.
  }
  asio::post(io_, [weak = weak_from_this()] {
    if (const std::shared_ptr<Link> self = weak.lock()) self->TellLoss();
  });
}

void Guardian::Link::TellLoss() {
  const RecursiveMutexLock lock(dispatch_mutex_);
  if (!closed_) events_.lost();
}

void Guardian::Link::Close() {
  const RecursiveMutexLock lock(dispatch_mutex_);
  closed_ = true;
  // close alone is not enough: a process that this one forked may hold a copy.
  shutdown(fd_, SHUT_RDWR);
  asio::error_code ignored;
  descriptor_.close(ignored);
  answer_timer_.cancel();
  retry_timer_.cancel();
  if (loss_waiter_.joinable()) loss_waiter_.join();
  process_.AwaitEnd(kEndTimeout);
}

Guardian::Guardian(std::shared_ptr<Link> link) : link_(std::move(link)) {}

Guardian::~Guardian() { link_->Close(); }

Result<std::unique_ptr<Guardian>> Guardian::Start(asio::io_context& io, Events events,
                                                  int runtime_directory_fd) {
  Credentials credentials = Credentials::Current();
  auto process = GuardianProcess::Start(runtime_directory_fd);
  if (!process) return Fail(process.error());
  auto link =
      std::make_shared<Link>(io, std::move(events), std::move(credentials), std::move(*process));
  link->Listen();
  return std::unique_ptr<Guardian>(new Guardian(std::move(link)));
}

Result<void> Guardian::Spawn(uint64_t id, const SpawnSpec& spec) { return link_->Spawn(id, spec); }

void Guardian::Signal(uint64_t id, int signal) { link_->Signal(id, signal); }

void Guardian::SetRuntimeDirectory(int fd) { link_->SetRuntimeDirectory(fd); }

bool Guardian::is_lost() const { return link_->is_lost(); }

pid_t Guardian::pid() const { return link_->pid(); }

}  // namespace snakepit
