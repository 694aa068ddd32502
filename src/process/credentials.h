// As whom a process runs. credentials(7)
#ifndef SNAKEPIT_SRC_PROCESS_CREDENTIALS_H_
#define SNAKEPIT_SRC_PROCESS_CREDENTIALS_H_

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

namespace snakepit {

struct Credentials {
  std::array<uid_t, 3> uids{};  // real, effective, saved
  std::array<gid_t, 3> gids{};  // likewise
  std::vector<gid_t> groups;

  // Those of the calling thread; they are the same for all of a process, unless a thread has gone
  // round the C library.
  static Credentials Current();

  // "user ids (real, effective, saved) 0 0 0, before 1000 1000 1000": the first that differ from
  // those before. Empty: none.
  std::string DifferenceFrom(const Credentials& before) const;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_CREDENTIALS_H_
