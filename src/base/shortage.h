// Whether it is this process, or the whole system, that ran short of something: that says nothing
// of whoever is at the other end, and passes.
#ifndef SNAKEPIT_SRC_BASE_SHORTAGE_H_
#define SNAKEPIT_SRC_BASE_SHORTAGE_H_

#include <cerrno>

namespace snakepit {

inline bool IsShortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM || error_number == EADDRNOTAVAIL;
}

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_SHORTAGE_H_
