// What the pool's process and the guardian's say to each other: one struct a packet on a Unix
// SOCK_SEQPACKET pair, both sides built from the same source. Plain C types: the guardian's side
// has no C++ library.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_PROTOCOL_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_PROTOCOL_H_

#include <stdint.h>

namespace snakepit::guardian_protocol {

// The guardian's end of the socket.
inline constexpr int kSocketFd = 3;
// The folder of the pool's sockets, which the guardian removes at its end; or no folder.
inline constexpr int kRuntimeDirectoryFd = 4;

// The one variable of the guardian, in decimal: the upper half of the numbers that it gives
// families (guardian_family.h). By it the pool's process finds what a guardian that was killed has
// left.
inline constexpr char kFamiliesVariable[] = "SNAKEPIT_FAMILIES";
// Neither 0 nor near the number that stands for no limit.
inline constexpr uint32_t kLargestFamilies = 0x7FFF'FFFF;

// How long an end command may take.
inline constexpr int kEndCommandLimitMs = 5'000;

enum RequestKind : uint32_t {
  kSpawn = 1,             // with the descriptors of SpawnFd, in that order
  kSignal = 2,            // to the whole process group of the worker
  kRuntimeDirectory = 3,  // with a descriptor, which becomes kRuntimeDirectoryFd
};

// Pool to guardian. Each is answered by kReceived as soon as it has been read.
struct Request {
  uint32_t kind;
  int32_t signal;            // kSignal
  uint64_t id;               //
  uint32_t family_grace_ms;  // kSpawn: SpawnSpec::group_grace
  uint32_t has_end_command;  // kSpawn: the spec has one
};

enum SpawnFd {
  kSpecFd,            // a file: SpecHeader and its strings
  kStdinFd,           //
  kStdoutFd,          //
  kStderrFd,          //
  kStartDirectoryFd,  // where the working directory of the spec starts from
  kSpawnFdCount,
  kCgroupFd = kSpawnFdCount,  // the folder for its cgroup, if it is to have one
  kMaxSpawnFds,
};

inline constexpr int32_t kInherited = INT32_MIN;
inline constexpr int kMaxLimits = 16;
inline constexpr int kMaxCpus = 8192;  // what Linux can be built for

// setrlimit(2).
struct Limit {
  uint64_t soft;
  uint64_t hard;
  uint32_t resource;
  uint32_t unused;
};

// The file of kSpecFd: this, then NUL-terminated strings: the working directory (empty: stay), then
// the arguments, then those of its end command, then the variables, then for its cgroup a file's
// name and its text in turn.
struct SpecHeader {
  uint32_t argument_count;
  uint32_t end_argument_count;  // 0: no end command
  uint32_t variable_count;
  uint32_t has_cgroup;
  uint32_t cgroup_setting_count;
  int32_t umask;         // kInherited, or what to set
  int32_t nice;          // likewise
  uint32_t sets_cpus;    // 0: inherited
  uint32_t limit_count;  // of those in `limits`
  Limit limits[kMaxLimits];
  uint64_t cpus[kMaxCpus / 64];  // a bit a processor
};

enum EventKind : uint32_t {
  kSpawned = 1,
  kSpawnFailed = 2,
  kExited = 3,
  kEndCommandFailed = 4,
  kReceived = 5,  // a request: the guardian is neither stopped nor stuck
};

// Which step of a spawn failed.
enum Step : int32_t {
  kStepPrepare = 1,  // descriptors, memory or processes ran out
  kStepWorkingDirectory = 2,
  kStepExecute = 3,
  kStepInterpreter = 4,  // the program is there, but what its first line names is not
  kStepNice = 5,
  kStepCpus = 6,
  kStepLimit = 7,   // Event::which is the resource
  kStepCgroup = 8,  // Event::which is the setting, by its place from 0 on, or one of CgroupStep
};

enum CgroupStep : int32_t { kCgroupMade = -1, kCgroupEntered = -2 };

// Guardian to pool.
struct Event {
  uint32_t kind;
  int32_t pid;             // kSpawned, kEndCommandFailed: of the worker
  uint64_t id;             //
  int32_t step;            // kSpawnFailed
  int32_t error;           // kSpawnFailed: errno; kEndCommandFailed: 0, or why it did not run
  int32_t which;           // kSpawnFailed
  int32_t wait_status;     // kExited, kEndCommandFailed: as wait(2) gives it
  int64_t user_time_us;    // kExited
  int64_t system_time_us;  // kExited
  int64_t max_rss_bytes;   // kExited
};

}  // namespace snakepit::guardian_protocol

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_PROTOCOL_H_
