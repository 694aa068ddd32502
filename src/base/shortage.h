// Tells a shortage of this process, or of the system, from a fault of the peer. A shortage says
// nothing about the peer, and passes.
#ifndef SNAKEPIT_BASE_SHORTAGE_H_
#define SNAKEPIT_BASE_SHORTAGE_H_

#include <cerrno>

namespace snakepit {

inline bool IsShortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM || error_number == EADDRNOTAVAIL;
}

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_SHORTAGE_H_
