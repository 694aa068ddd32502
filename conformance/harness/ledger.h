// Ledger: compares the resources before and after a case. A leak turns a green case red.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_LEDGER_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_LEDGER_H_

#include <sys/types.h>

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "conformance/harness/processes.h"
#include "snakepit/error.h"

namespace snakepit::conformance {

// The environment variable that marks all processes of a case.
inline constexpr char kMarkVariable[] = "SNAKEPIT_CONFORMANCE_CASE";

// A private folder that is this process's TMPDIR while it exists, so that files left in it are
// known to be the pool's. One at a time, made before the first thread.
class ScratchFolder {
 public:
  ScratchFolder() = default;
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  // Also makes this process the reaper of its descendants' orphans. INTERNAL.
  Result<void> Create();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Ledger {
 public:
  // Takes stock. `mark`: the value of kMarkVariable in the processes of the case.
  Ledger(std::string scratch_folder, std::string mark);

  // The leaks of the case, a line each. Waits up to `grace` for them to go away, since the kernel
  // and gRPC's threads take a moment.
  std::vector<std::string> AwaitNoLeaks(std::chrono::milliseconds grace) const;

  // Sends SIGKILL to the marked processes, so that the calls that wait for them end. Returns them.
  std::vector<Process> KillWorkers() const;

  // Ends and removes the leaks, so that the next case starts clean.
  void CleanUp() const;

 private:
  std::vector<Process> LeftProcesses() const;
  std::vector<std::string> Leaks() const;

  const std::string scratch_folder_;
  const std::string mark_;  // NAME=value
  const std::set<pid_t> children_;
  const std::map<std::string, int> fds_;  // number of descriptors for each target
};

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_LEDGER_H_
