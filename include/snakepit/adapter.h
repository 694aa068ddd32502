// Adapter: how to start a worker, and how to talk to it. The pool knows no other difference between
// one kind of worker and another.
#ifndef SNAKEPIT_ADAPTER_H_
#define SNAKEPIT_ADAPTER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "snakepit/error.h"

namespace snakepit {

// The encoding of messages on stdio. PROTOCOL.md 2.2.
enum class Codec { kJson, kMessagePack };

// "json" or "msgpack".
std::string_view CodecName(Codec codec);

// Frames over the worker's stdin and stdout. PROTOCOL.md 2 and 3.
// The worker is ready when it has answered the handshake and then the first ping.
struct StdioTransport {
  // The codecs that the pool offers, the preferred one first. Never empty.
  std::vector<Codec> codecs = {Codec::kMessagePack, Codec::kJson};
  // True: the pool opens with a handshake. False is for a worker that was started with a fixed
  // codec and expects none. The pool then speaks codecs[0] and the legacy protocol from the first
  // frame on.
  bool negotiate = true;
  // The largest payload of a frame, both ways: 1 KiB to 2 GiB - 1.
  size_t max_frame_bytes = 64u << 20;
};

// The gRPC service SnakepitBridge. PROTOCOL.md 4.
//
// Where the worker listens, and how it says that it is ready, follows from its argv:
// - `{socket}` in it: a Unix socket, which the pool names, in a folder that only this user can
//   enter. The worker is ready when the socket accepts a connection and Health says `healthy`.
// - `{port}` in it: a free TCP port of 127.0.0.1, which the pool chooses. Ready likewise.
// - neither: the worker chooses, and announces a port or a socket on a line of its stdout, or a
//   port in the file that the environment variable SNAKEPIT_READY_FILE names. PROTOCOL.md 4.2.
struct GrpcTransport {
  // The largest message, both ways: 1 KiB to 2 GiB - 1.
  size_t max_message_bytes = 64u << 20;
};

// A resource that each process of a worker can be limited in. setrlimit(2).
enum class Resource {
  kAddressSpace,  // bytes of virtual memory
  kCoreFile,      // bytes
  kCpuTime,       // seconds; SIGXCPU at the soft limit, SIGKILL at the hard one
  kData,          // bytes of heap and other private writable memory
  kFileSize,      // bytes; SIGXFSZ
  kLockedMemory,  // bytes
  kOpenFiles,     // descriptors
  kProcesses,     // processes and threads of the whole user, the worker's or not
  kStack,         // bytes
};

inline constexpr uint64_t kUnlimited = ~uint64_t{0};

struct ResourceLimit {
  uint64_t soft = kUnlimited;  // the one in force; the worker may change it, up to `hard`
  uint64_t hard = kUnlimited;  // more than this process's own takes CAP_SYS_RESOURCE
};

// Settings of a worker's process. A field that is not set is as in this process when the pool
// starts. START_FAILED, naming the setting, when the system refuses it. A limit that is too small
// for the program itself shows as a worker that ends by a signal before it is ready.
struct ProcessSettings {
  std::optional<unsigned> umask;  // 0 to 0777. umask(2)
  // -20 (favoured) to 19; less than this process's own takes CAP_SYS_NICE. setpriority(2)
  std::optional<int> nice;
  std::map<Resource, ResourceLimit> limits;
  // The processors that it may run on, by their numbers from 0 to 8191; each must be one that this
  // process may use. Empty: all of those. sched_setaffinity(2)
  std::vector<int> cpus;
};

// Limits of a worker together with all that it starts, which ends with it: in a cgroup of its own,
// cgroups(7) version 2. That takes a cgroup that was delegated to the user of this process, and the
// controller; else a start fails with START_FAILED, "cgroup v2 limits are not available here", and
// why. None set: no cgroup.
struct CgroupLimits {
  std::optional<int64_t> memory_max_bytes;  // over 0; what needs more is killed. memory.max
  std::optional<double> processors;         // 0.01 to 8192: so many kept busy at most. cpu.max
  std::optional<int64_t> pids_max;          // over 0: processes and threads. pids.max
};

inline constexpr std::chrono::milliseconds kLongestLeaderGrace{2'000};

// The end of a worker whose process is only a launcher, such as srun, ssh or docker run: the task
// that it launched is where no SIGKILL to the launcher's process group reaches it.
struct WorkerEnd {
  // 0 ms to 2 s. Over 0: SIGKILL goes to the worker's process alone, and to all else
  // that it started only so long after its end. In that time a second process of the launcher may
  // see to the task: that of srun does so within about a second.
  std::chrono::milliseconds leader_grace{0};
  // The command line of a program that ends the task, verbatim and without a shell; empty: none.
  // The placeholders of Adapter::argv are filled in. It is run whenever a process of the worker has
  // ended, in whatever way, and also when the program with the pool was killed. It has the working
  // folder and the environment of the worker, and /dev/null for its standard streams. After 5 s it
  // is killed. The log says when it did not succeed.
  std::vector<std::string> command;
};

struct Adapter {
  // The command line, verbatim and without a shell; argv[0] is searched on PATH. In each argument
  // are filled in: `{worker_id}`; `{instance}`, a name that no other process of a worker ever has,
  // of lower-case letters, digits and hyphens; and for gRPC `{socket}` and `{port}`.
  std::vector<std::string> argv;
  // Added to the environment of the worker, which has otherwise only the variables of this process
  // that kInheritedVariables and `inherit` name, and kPoolVariables. SNAKEPIT_TOKEN (6.13) is the
  // pool's alone to set.
  std::map<std::string, std::string> environment;
  // More variables of this process that the worker inherits, if set, by the values that they have
  // when it is started: names, as kInheritedVariables has them, so "*" is all. None of
  // kPoolVariables. The pool's log (kDebug) names once what no worker inherits.
  std::vector<std::string> inherit;
  // The worker's working folder. Empty: that of this process, or / when this process may not enter
  // that.
  std::string working_directory;
  std::variant<StdioTransport, GrpcTransport> transport;
  // Longest time from the start of the process until it is ready: 1 ms to 24 h.
  std::chrono::milliseconds start_timeout{20'000};
  ProcessSettings process;
  CgroupLimits cgroup;
  // Most memory that the values in one message of the worker take, in bytes: 64 KiB or more. A
  // message over it ends its call with MESSAGE_TOO_LARGE, before the memory is taken, and the
  // worker goes on. 0: eight times the largest message, but at least 512 MiB. An element of an
  // array takes 16 bytes, a member of a map 80, and a text, array or map inside 24 to 48 more: an
  // array of 1,000,000 nulls, of 1 MB in MessagePack, takes 16 MB.
  size_t max_decoded_bytes = 0;
  WorkerEnd end;
};

// The variables of this process that a worker inherits, if set. A name that ends in '*' stands for
// all that begin so.
inline constexpr std::string_view kInheritedVariables[] = {
    "PATH", "HOME",   "USER",        "LOGNAME",    "SHELL",     "LANG",           "LC_*",
    "TZ",   "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "NODE_PATH", "LD_LIBRARY_PATH"};

// The variables of PROTOCOL.md 1.2. The pool itself sets those that a worker has: a worker never
// inherits one that a pool around this one has set.
inline constexpr std::string_view kPoolVariables[] = {"SNAKEPIT_WORKER_ID", "SNAKEPIT_READY_FILE",
                                                      "SNAKEPIT_MAX_FRAME_BYTES", "SNAKEPIT_TOKEN",
                                                      "SNAKEPIT_GUARDIAN"};

// INVALID_ARGUMENT when the adapter cannot be right, saying which field and why.
Result<void> Validate(const Adapter& adapter);

}  // namespace snakepit

#endif  // SNAKEPIT_ADAPTER_H_
