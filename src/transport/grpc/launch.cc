#include "src/transport/grpc/launch.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "src/base/fd.h"
#include "src/base/home_process.h"
#include "src/base/mutex.h"
#include "src/base/threads.h"
#include "src/process/output_reader.h"
#include "src/transport/grpc/address.h"
#include "src/transport/grpc/handshake.h"
#include "src/transport/grpc/peer_check.h"
#include "src/transport/grpc/probe.h"
#include "src/transport/grpc/worker_files.h"
#include "src/transport/launch_spec.h"
#include "src/value/decode_budget.h"

namespace snakepit {
namespace {

// gRPC waits for ever for threads of its own: for those that the system did not give it, and for
// those that its process had before it was forked. So that is seen before it is used. It starts
// executors, timers and the event engine, and threads for completions by the number of processors.
Result<void> EnsureThreadsForGrpc() {
  static std::atomic<const HomeProcess*> user = nullptr;  // where it was used first; never deleted
  if (const HomeProcess* const home = user) {
    if (home->IsHere()) return {};
    return Fail(ErrorCode::kStartFailed,
                "gRPC cannot be used: process " + std::to_string(home->pid()) +
                    " used it before it forked this one, in which gRPC does not go on; a pool on "
                    "stdio can be started here");
  }
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  if (auto tried = TryThreads(8 + 2 * std::clamp(processors, 2, 16)); !tried) {
    return Fail(ErrorCode::kStartFailed, "gRPC cannot be used: " + tried.error().message);
  }
  user = new HomeProcess();
  return {};
}

// A port of 127.0.0.1 that was free a moment ago. It is not given to another launch of this process
// as long as this lives; the system cannot keep it from others.
class ReservedPort {
 public:
  ReservedPort() = default;
  ReservedPort(ReservedPort&& other) noexcept : port_(std::exchange(other.port_, 0)) {}
  ReservedPort& operator=(ReservedPort&& other) noexcept {
    std::swap(port_, other.port_);
    return *this;
  }
  ~ReservedPort() {
    if (port_ == 0) return;
    const MutexLock lock(mutex_);
    taken_.erase(port_);
  }

  static Result<ReservedPort> Take() {
    for (;;) {
      UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t length = sizeof address;
      auto* generic = reinterpret_cast<sockaddr*>(&address);
      if (!fd.valid() || bind(fd.get(), generic, length) != 0 ||
          getsockname(fd.get(), generic, &length) != 0) {
        return Fail(ErrnoError("cannot find a free TCP port", errno));
      }
      const MutexLock lock(mutex_);
      ReservedPort reserved;
      if (taken_.insert(ntohs(address.sin_port)).second) {
        reserved.port_ = ntohs(address.sin_port);
        return reserved;
      }
    }
  }

  int port() const { return port_; }

 private:
  static inline Mutex mutex_;
  static inline std::set<int> taken_ ABSL_GUARDED_BY(mutex_);
  int port_ = 0;
};

class GrpcLaunch : public Launch {
 public:
  GrpcLaunch(const Adapter& adapter, const GrpcTransport& options, LaunchContext context,
             std::string token, ReservedPort port, FdPair stdout_pipe, UniqueFd null)
      : options_(options),
        max_decoded_bytes_(DecodedLimit(adapter.max_decoded_bytes, options.max_message_bytes)),
        context_(std::move(context)),
        token_(std::move(token)),
        port_(std::move(port)),
        stdout_read_(std::move(stdout_pipe.first)),
        stdout_write_(std::move(stdout_pipe.second)),
        null_(std::move(null)) {
    const std::string number = std::to_string(context_.process_number);
    const std::string id = WorkerIdText(context_.worker_id);
    socket_ = number + ".sock";
    ready_file_ = number + ".ready";
    const std::string socket_path = context_.runtime_directory + "/" + socket_;
    std::optional<GrpcAddress> address;
    for (const std::string& argument : adapter.argv) {
      if (argument.find("{socket}") != std::string::npos) {
        address = GrpcAddress{.socket_path = socket_path};
      } else if (argument.find("{port}") != std::string::npos) {
        address = GrpcAddress{.port = port_.port()};
      }
    }
    const Placeholders placeholders = {{"{worker_id}", id},
                                       {"{instance}", context_.instance},
                                       {"{socket}", socket_path},
                                       {"{port}", std::to_string(port_.port())}};
    spec_.argv = FillIn(adapter.argv, placeholders);
    spec_.end_command = FillIn(adapter.end.command, placeholders);
    spec_.environment = WorkerEnvironment(
        adapter,
        {{"SNAKEPIT_WORKER_ID", id},
         {"SNAKEPIT_READY_FILE", context_.runtime_directory + "/" + ready_file_},
         {"SNAKEPIT_MAX_FRAME_BYTES", std::to_string(options_.max_message_bytes)}},
        {{"SNAKEPIT_TOKEN", token_}});
    secret_ = token_;
    spec_.stdin_fd = null_.get();
    spec_.stdout_fd = stdout_write_.get();
    probe_ = std::make_shared<GrpcProbe>(
        *context_.io, std::move(address),
        WorkerFolder{.path = context_.runtime_directory, .fd = context_.runtime_directory_fd},
        ready_file_);
  }

  ~GrpcLaunch() override {
    Abort();
    if (!context_.runtime_directory_fd) return;
    unlinkat(context_.runtime_directory_fd->get(), socket_.c_str(), 0);
    unlinkat(context_.runtime_directory_fd->get(), ready_file_.c_str(), 0);
  }

  void Connect(pid_t worker, SteadyTime deadline, ReadyCallback ready) override {
    stdout_write_.Reset();
    null_.Reset();
    if (auto enough = EnsureThreadsForGrpc(); !enough) return ready(Fail(enough.error()));
    stdout_ = OutputReader::Start(
        *context_.io, std::move(stdout_read_),
        [probe = std::weak_ptr(probe_), log = context_.on_stdout_line](std::string_view line) {
          auto announced = AnnouncedAddress(line);
          if (!announced && log) log(line);
          if (auto live = probe.lock(); live && announced) live->Announce(std::move(*announced));
        });
    const auto check = std::make_shared<GrpcPeerCheck>(worker, context_.runtime_directory);
    probe_->Start(
        check, deadline,
        [this, check, deadline, ready](const GrpcAddress& address, UniqueFd connected) {
          cancel_ = ConnectGrpc(*context_.io,
                                {.address = address,
                                 .check = check,
                                 .worker_id = WorkerIdText(context_.worker_id),
                                 .token = token_,
                                 .options = options_,
                                 .max_decoded_bytes = max_decoded_bytes_,
                                 .cancel_grace = context_.cancel_grace},
                                std::move(connected), deadline, ready);
        },
        [ready](Error error) { ready(Fail(std::move(error))); });
  }

  void Abort() override {
    probe_->Stop();
    if (cancel_) std::exchange(cancel_, nullptr)();
    if (stdout_) stdout_->Close();
  }

  bool EndsBySigterm() const override { return true; }

 private:
  const GrpcTransport options_;
  const size_t max_decoded_bytes_;
  const LaunchContext context_;
  const std::string token_;
  const ReservedPort port_;
  UniqueFd stdout_read_;
  UniqueFd stdout_write_;
  UniqueFd null_;
  std::string socket_;      // the names of both in the folder
  std::string ready_file_;  //
  std::shared_ptr<GrpcProbe> probe_;
  std::shared_ptr<OutputReader> stdout_;
  std::function<void()> cancel_;
};

}  // namespace

Result<std::unique_ptr<Launch>> PrepareGrpcLaunch(const Adapter& adapter,
                                                  const GrpcTransport& options,
                                                  LaunchContext context) {
  const bool wants_port = std::any_of(
      adapter.argv.begin(), adapter.argv.end(),
      [](const std::string& argument) { return argument.find("{port}") != std::string::npos; });
  ReservedPort port;
  if (wants_port) {
    auto taken = ReservedPort::Take();
    if (!taken) return Fail(std::move(taken.error()));
    port = std::move(*taken);
  }
  auto pipe = OpenPipe();
  if (!pipe) return Fail(std::move(pipe.error()));
  UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.valid()) return Fail(ErrnoError("cannot open /dev/null", errno));
  auto token = NewToken();
  if (!token) return Fail(std::move(token.error()));
  return std::make_unique<GrpcLaunch>(adapter, options, std::move(context), std::move(*token),
                                      std::move(port), std::move(*pipe), std::move(null));
}

}  // namespace snakepit
