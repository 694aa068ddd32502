#include "src/process/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "src/base/fd.h"
#include "src/base/quote.h"
#include "src/process/credentials.h"
#include "src/process/guardian_process.h"
#include "src/process/guardian_protocol.h"
#include "src/process/process_settings.h"
#include "src/process/start_error.h"

namespace snakepit {
namespace {

namespace protocol = guardian_protocol;

// The guardian answers at once; one that does not for so long is stopped or stuck.
constexpr std::chrono::milliseconds kSendTimeout{5'000};
// For killing everything; then the guardian itself is killed.
constexpr std::chrono::milliseconds kEndTimeout{8'000};
static_assert(kEndTimeout >
              std::chrono::milliseconds(protocol::kEndCommandLimitMs) + kLongestLeaderGrace);
// Events that are handled in one go, before other work of the io_context has its turn.
constexpr int kEventsPerTurn = 64;

std::string Quoted(std::string_view text) { return '"' + OneLine(text) + '"'; }

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

// As guardian_protocol::kSpecFd has it.
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

// Where the working directory of the spec starts from.
Result<UniqueFd> OpenStartDirectory(const SpawnSpec& spec) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  UniqueFd directory(open(spec.working_directory.starts_with('/') ? "/" : ".", kFlags));
  if (directory.valid()) return directory;
  Error error = ErrnoError("cannot enter the working directory of this process", errno);
  // As in a folder of another user, from where this program was started by sudo -u. Whatever is
  // relative could not be found there.
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
  // As in a shell.
  if (WIFEXITED(event.wait_status) && WEXITSTATUS(event.wait_status) == 127) {
    text += ": it could not be executed";
  }
  return text;
}

// One packet, with descriptors; 0 or the errno.
int SendOnce(int socket, const protocol::Request& request, const int* fds, size_t fd_count) {
  iovec part = {const_cast<protocol::Request*>(&request), sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * protocol::kMaxSpawnFds)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd_count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    std::memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
}

// The same, waiting for room; ETIMEDOUT when there is none in time.
int Send(int socket, const protocol::Request& request, const int* fds, size_t fd_count) {
  const auto deadline = std::chrono::steady_clock::now() + kSendTimeout;
  for (;;) {
    const int error = SendOnce(socket, request, fds, fd_count);
    const bool full = error == EAGAIN || error == ENOBUFS;
    // ETOOMANYREFS: the guardian has yet to take the descriptors that are under way.
    const bool wait = full || error == ETOOMANYREFS;
    if (!wait && error != EINTR) return error;
    if (std::chrono::steady_clock::now() >= deadline) return ETIMEDOUT;
    if (!wait) continue;
    // Neither ENOBUFS nor ETOOMANYREFS has an event to wait for.
    pollfd writable = {socket, POLLOUT, 0};
    poll(&writable, error == EAGAIN ? 1 : 0, error == EAGAIN ? 100 : 1);
  }
}

}  // namespace

// What outlives the Guardian while one of its events is running.
class Guardian::Link : public std::enable_shared_from_this<Link> {
 public:
  Link(asio::io_context& io, Events events, Credentials credentials, GuardianProcess process)
      : events_(std::move(events)),
        credentials_(std::move(credentials)),
        process_(std::move(process)),
        mark_(process_.mark()),
        pid_(process_.pid()),
        fd_(process_.ReleaseSocket()),
        descriptor_(io, fd_) {}

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
  pid_t pid() const { return pid_; }

 private:
  void HandleReadable();
  void Dispatch(const protocol::Event& event);
  Starting TakeStarting(uint64_t id);
  void HandleLoss();

  // Held while events are called, so that none is once Close has it; recursive, as an event may
  // destroy the Guardian.
  std::recursive_mutex dispatch_mutex_;
  bool closed_ = false;  // by dispatch_mutex_
  const Events events_;
  const Credentials credentials_;  // the guardian's, and so the workers'
  GuardianProcess process_;        // by dispatch_mutex_
  const std::string mark_;
  const pid_t pid_;
  const int fd_;  // descriptor_'s
  asio::posix::stream_descriptor descriptor_;

  std::mutex starting_mutex_;
  std::unordered_map<uint64_t, Starting> starting_;  // by starting_mutex_
  std::set<std::string> cgroup_parents_;             // by starting_mutex_
};

Result<void> Guardian::Link::Spawn(uint64_t id, const SpawnSpec& spec) {
  if (auto valid = Validate(spec); !valid) return valid;
  const std::string difference = Credentials::Current().DifferenceFrom(credentials_);
  if (!difference.empty()) {
    return Fail(ErrorCode::kStartFailed,
                "this process has changed as whom it runs (" + difference +
                    "), and workers would still get the rights of before; start the pool after "
                    "the change");
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
    const std::lock_guard lock(starting_mutex_);
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
      Send(fd_, request, fds, spec.cgroup ? protocol::kMaxSpawnFds : protocol::kSpawnFdCount);
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
  const int error = Send(fd_, {.kind = protocol::kSignal, .signal = signal, .id = id}, nullptr, 0);
  // A guardian that cannot be told to kill is worse than none: this makes it a lost one.
  if (error == ETIMEDOUT) shutdown(fd_, SHUT_RDWR);
}

void Guardian::Link::SetRuntimeDirectory(int fd) {
  Send(fd_, {.kind = protocol::kRuntimeDirectory}, &fd, 1);
}

void Guardian::Link::HandleReadable() {
  const std::lock_guard lock(dispatch_mutex_);
  for (int i = 0; i < kEventsPerTurn; ++i) {
    if (closed_) return;
    protocol::Event event;
    const ssize_t got = recv(fd_, &event, sizeof event, MSG_DONTWAIT);
    // ECONNRESET, said once, comes before the last events.
    if (got < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got != sizeof event) return HandleLoss();
    Dispatch(event);
  }
  if (!closed_) Listen();
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
  }
}

Starting Guardian::Link::TakeStarting(uint64_t id) {
  const std::lock_guard lock(starting_mutex_);
  auto node = starting_.extract(id);
  return node.empty() ? Starting{} : std::move(node.mapped());
}

void Guardian::Link::HandleLoss() {
  // It ends by itself when it sees what this side saw, unless it is stopped or stuck.
  shutdown(fd_, SHUT_RDWR);
  process_.AwaitEnd(kEndTimeout, [this] {
    const std::lock_guard lock(starting_mutex_);
    for (const std::string& parent : cgroup_parents_) {
      ClearCgroups(parent, pid_, [this] { return process_.IsHeld(); });
    }
  });
  events_.lost();
}

void Guardian::Link::Close() {
  const std::lock_guard lock(dispatch_mutex_);
  closed_ = true;
  // Not only closed: a process that this one forked may hold a copy.
  shutdown(fd_, SHUT_RDWR);
  asio::error_code ignored;
  descriptor_.close(ignored);
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

pid_t Guardian::pid() const { return link_->pid(); }

}  // namespace snakepit
