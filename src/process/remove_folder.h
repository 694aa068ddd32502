// Removes the folder of a pool's sockets. It works on descriptors alone, so it touches nothing that
// was put in the folder's place or linked into it. C library only.
#ifndef SNAKEPIT_PROCESS_REMOVE_FOLDER_H_
#define SNAKEPIT_PROCESS_REMOVE_FOLDER_H_

namespace snakepit {

// Prefix of the name of such a folder.
inline constexpr char kRuntimePrefix[] = "snakepit-";
// The file that marks the folder as a pool's own.
inline constexpr char kRuntimeOwnerFile[] = "owner";

// Removes the content of the folder: files, and folders up to 8 deep. The owner's file goes last,
// and only if all else has gone: a removal that is cut short is left to the next pool. Follows no
// link and enters nothing that is mounted there.
void EmptyRuntimeFolder(int folder_fd);

// Empties the folder and removes it from its current parent.
void RemoveRuntimeFolder(int folder_fd);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_REMOVE_FOLDER_H_
