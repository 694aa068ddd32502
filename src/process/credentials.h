// User and groups of a process: credentials(7).
#ifndef SNAKEPIT_PROCESS_CREDENTIALS_H_
#define SNAKEPIT_PROCESS_CREDENTIALS_H_

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

namespace snakepit {

struct Credentials {
  std::array<uid_t, 3> uids{};  // real, effective, saved
  std::array<gid_t, 3> gids{};  // likewise
  std::vector<gid_t> groups;

  // The calling thread's. They are the same for all threads, unless one bypassed the C library.
  static Credentials Current();

  // The first difference, as "user ids (real, effective, saved) 0 0 0, before 1000 1000 1000".
  // Empty if there is none.
  std::string DifferenceFrom(const Credentials& before) const;
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_CREDENTIALS_H_
