#include "src/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace snakepit {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFdTest, ClosesWhatItOwns) {
  int fd;
  {
    UniqueFd owner(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    fd = owner.get();
    ASSERT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST(UniqueFdTest, MovingHandsOverOwnership) {
  UniqueFd a(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  UniqueFd b(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd_a = a.get();
  const int fd_b = b.get();
  b = std::move(a);
  EXPECT_FALSE(a.valid());
  EXPECT_EQ(b.get(), fd_a);
  EXPECT_TRUE(IsOpen(fd_a));
  EXPECT_FALSE(IsOpen(fd_b));
}

TEST(UniqueFdTest, ReleaseGivesUpOwnership) {
  UniqueFd owner(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd = owner.Release();
  EXPECT_FALSE(owner.valid());
  owner.Reset();
  EXPECT_TRUE(IsOpen(fd));
  UniqueFd closer(fd);
}

TEST(UniqueFdTest, ResetKeepsErrno) {
  UniqueFd owner(1 << 20);  // no such descriptor: close fails
  errno = EPIPE;
  owner.Reset();
  EXPECT_EQ(errno, EPIPE);
}

TEST(OpenTest, PipesAndSocketPairsCarryBytesAndAreCloseOnExec) {
  for (auto open : {OpenPipe, OpenSocketPair}) {
    Result<FdPair> pair = open();
    ASSERT_TRUE(pair.has_value());
    EXPECT_EQ(::fcntl(pair->first.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_EQ(::fcntl(pair->second.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ASSERT_EQ(::write(pair->second.get(), "x", 1), 1);
    char byte = 0;
    ASSERT_EQ(::read(pair->first.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
  }
}

TEST(ReadFileTest, ReadsTheWholeFile) {
  const std::string maps = ReadFile("/proc/self/maps").value_or("");
  EXPECT_NE(maps.find("[stack]"), std::string::npos);
}

TEST(ReadFileTest, AFileThatIsNotThereIsAnErrorByName) {
  const Result<std::string> result = ReadFile("/no/such/file");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message,
            "cannot open /no/such/file: No such file or directory (ENOENT)");
}

TEST(ReadFileTest, AProcessThatHasEndedIsAnError) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  const std::string folder = "/proc/" + std::to_string(child);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(ReadFile(folder + "/stat").has_value());
}

TEST(ErrnoMessageTest, DescribesAndNames) {
  EXPECT_EQ(ErrnoMessage(ENOENT), "No such file or directory (ENOENT)");
  EXPECT_EQ(ErrnoMessage(99999), "unknown error 99999");
}

}  // namespace
}  // namespace snakepit
