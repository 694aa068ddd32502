// The end of the folder of a pool's sockets: by descriptors alone, so that nothing that is put in
// its place, or linked into it, is touched. C library only.
#ifndef SNAKEPIT_SRC_PROCESS_REMOVE_FOLDER_H_
#define SNAKEPIT_SRC_PROCESS_REMOVE_FOLDER_H_

namespace snakepit {

// How the name of such a folder begins.
inline constexpr char kRuntimePrefix[] = "snakepit-";
// The file by which a pool says that the folder is its own.
inline constexpr char kRuntimeOwnerFile[] = "owner";

// Removes what is in the folder: its files, and folders up to 8 deep. The owner's file goes last,
// and only when all else has gone, so that a removal that is cut short leaves work for the next
// pool. Follows no link and enters nothing that is mounted there.
void EmptyRuntimeFolder(int folder_fd);

// Empties the folder, and removes it from the one that it is in now.
void RemoveRuntimeFolder(int folder_fd);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_REMOVE_FOLDER_H_
