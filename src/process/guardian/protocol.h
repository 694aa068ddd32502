// The protocol between the pool's process and the guardian: one struct a packet on a Unix
// SOCK_SEQPACKET pair. Both sides are built from the same source. All types are plain C: the
// guardian has no C++ library.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_PROTOCOL_H_
#define SNAKEPIT_PROCESS_GUARDIAN_PROTOCOL_H_

#include <stdint.h>

namespace snakepit::guardian_protocol {

// The guardian's end of the socket.
inline constexpr int kSocketFd = 3;
// The folder of the pool's sockets, which the guardian removes at its end. Not a folder if there is
// none.
inline constexpr int kRuntimeDirectoryFd = 4;

// The guardian's only environment variable, in decimal: the upper half of all its family numbers
// (guardian/family.h). The pool's process finds the leftovers of a killed guardian by it.
inline constexpr char kFamiliesVariable[] = "SNAKEPIT_FAMILIES";
// Neither 0 nor near RLIM_INFINITY.
inline constexpr uint32_t kLargestFamilies = 0x7FFF'FFFF;

// Longest run time of an end command.
inline constexpr int kEndCommandLimitMs = 5'000;

enum RequestKind : uint32_t {
  kSpawn = 1,             // with the descriptors of SpawnFd, in that order
  kSignal = 2,            // to the whole process group of the worker
  kRuntimeDirectory = 3,  // with a descriptor, which becomes kRuntimeDirectoryFd
};

// Pool to guardian. kReceived answers each request as soon as it has been read.
struct Request {
  uint32_t kind;
  int32_t signal;            // kSignal
  uint64_t id;               //
  uint32_t family_grace_ms;  // kSpawn: SpawnSpec::leader_grace
  uint32_t has_end_command;  // kSpawn: 1 if the spec has one
};

enum SpawnFd {
  kSpecFd,            // a file: SpecHeader and its strings
  kStdinFd,           //
  kStdoutFd,          //
  kStderrFd,          //
  kStartDirectoryFd,  // start of a relative working directory
  kSpawnFdCount,
  kCgroupFd = kSpawnFdCount,  // the parent of the worker's cgroup, if it gets one
  kMaxSpawnFds,
};

inline constexpr int32_t kInherited = INT32_MIN;
inline constexpr int kMaxLimits = 16;
inline constexpr int kMaxCpus = 8192;  // Linux's largest configuration

// setrlimit(2).
struct Limit {
  uint64_t soft;
  uint64_t hard;
  uint32_t resource;
  uint32_t unused;
};

// The file of kSpecFd begins with this. NUL-terminated strings follow: the working directory
// (empty: stay), the arguments, the arguments of the end command, the variables. Then come, for the
// cgroup, the name and the text of each file in turn.
struct SpecHeader {
  uint32_t argument_count;
  uint32_t end_argument_count;  // 0: no end command
  uint32_t variable_count;
  uint32_t has_cgroup;
  uint32_t cgroup_setting_count;
  int32_t umask;         // kInherited, or the value to set
  int32_t nice;          // likewise
  uint32_t sets_cpus;    // 0: inherited
  uint32_t limit_count;  // entries of `limits` in use
  Limit limits[kMaxLimits];
  uint64_t cpus[kMaxCpus / 64];  // one bit for each processor
};

enum EventKind : uint32_t {
  kSpawned = 1,
  kSpawnFailed = 2,
  kExited = 3,
  kEndCommandFailed = 4,
  kReceived = 5,  // answers a request: the guardian is neither stopped nor stuck
};

// The step of a spawn that failed.
enum Step : int32_t {
  kStepPrepare = 1,  // descriptors, memory or processes ran out
  kStepWorkingDirectory = 2,
  kStepExecute = 3,
  kStepInterpreter = 4,  // the program exists, but the interpreter in its first line does not
  kStepNice = 5,
  kStepCpus = 6,
  kStepLimit = 7,   // Event::which: the resource
  kStepCgroup = 8,  // Event::which: the index of the setting, or a CgroupStep
};

enum CgroupStep : int32_t { kCgroupMade = -1, kCgroupEntered = -2 };

// Guardian to pool.
struct Event {
  uint32_t kind;
  int32_t pid;             // kSpawned, kEndCommandFailed: the worker's
  uint64_t id;             //
  int32_t step;            // kSpawnFailed
  int32_t error;           // kSpawnFailed: errno; kEndCommandFailed: 0, or the errno of its start
  int32_t which;           // kSpawnFailed
  int32_t wait_status;     // kExited, kEndCommandFailed: the status of wait(2)
  int64_t user_time_us;    // kExited
  int64_t system_time_us;  // kExited
  int64_t max_rss_bytes;   // kExited
};

}  // namespace snakepit::guardian_protocol

#endif  // SNAKEPIT_PROCESS_GUARDIAN_PROTOCOL_H_
