// Opens a file that somebody else may have put into a folder, without being led elsewhere. C
// library only.
#ifndef SNAKEPIT_BASE_OPEN_BELOW_H_
#define SNAKEPIT_BASE_OPEN_BELOW_H_

namespace snakepit {

// Same as openat(2) with O_NOFOLLOW and O_CLOEXEC. `name` is an entry of the folder itself: no
// slash. Does not enter a mount point either (EXDEV), since a user's own file system (FUSE) can
// block its caller for ever; a kernel older than 5.6 cannot tell.
int OpenBelow(int folder_fd, const char* name, int flags);

// True if both are open and the same file.
bool IsSameFile(int fd, int other_fd);

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_OPEN_BELOW_H_
