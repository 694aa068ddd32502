// To open what somebody else may have put into a folder, without being led elsewhere. C library
// only.
#ifndef SNAKEPIT_SRC_BASE_OPEN_BELOW_H_
#define SNAKEPIT_SRC_BASE_OPEN_BELOW_H_

namespace snakepit {

// Opens as openat(2) does with O_NOFOLLOW and O_CLOEXEC. `name` is one of the folder itself: no
// slash. Does not enter what is mounted there either (EXDEV), since a file system of a user's own
// (FUSE) can let its caller wait for ever; a kernel older than 5.6 cannot tell.
int OpenBelow(int folder_fd, const char* name, int flags);

// True when both are open and the same file.
bool IsSameFile(int fd, int other_fd);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_OPEN_BELOW_H_
