#include "src/transport/grpc/worker_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "src/base/fd.h"
#include "src/base/testing/temp_folder.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;

class WorkerFilesTest : public ::testing::Test {
 protected:
  fs::path Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }

  ReadyFile Read() { return ReadReadyFile({.path = folder_, .fd = fd_}, "1.ready"); }

  mode_t ModeOf(const fs::path& path) {
    struct stat status = {};
    EXPECT_EQ(stat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  const testing::TempFolder temp_{"worker_files_test"};
  const fs::path folder_ = temp_.path();
  const std::shared_ptr<const UniqueFd> fd_ =
      std::make_shared<UniqueFd>(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
};

TEST_F(WorkerFilesTest, AFileHasAPort) {
  EXPECT_EQ(Read().port, std::nullopt);
  EXPECT_EQ(Read().fault, "");  // not yet
  for (const char* text : {"50051", "50051\n", " 50051\r\n", "50051 and more"}) {
    Write("1.ready", text);
    EXPECT_EQ(Read().port, 50051) << text;
  }
  for (const char* text : {"", "\n", "0", "65536", "-1", "x", "50051x"}) {
    Write("1.ready", text);
    EXPECT_EQ(Read().port, std::nullopt) << text;
    EXPECT_EQ(Read().fault, "") << text;
  }
}

TEST_F(WorkerFilesTest, OnlyTheBeginningOfAFileIsRead) {
  const fs::path file = Write("1.ready", "50051\n");
  ASSERT_EQ(truncate(file.c_str(), off_t{1} << 40), 0);
  EXPECT_EQ(Read().port, 50051);
  // Sparse: a reader without bound would need a terabyte.
  Write("1.ready", "");
  ASSERT_EQ(truncate(file.c_str(), off_t{1} << 40), 0);
  EXPECT_EQ(Read().port, std::nullopt);
}

TEST_F(WorkerFilesTest, APipeBlocksNobody) {
  ASSERT_EQ(mkfifo((folder_ / "1.ready").c_str(), 0600), 0);
  const ReadyFile ready = Read();
  EXPECT_EQ(ready.port, std::nullopt);
  EXPECT_EQ(ready.fault, "a named pipe");
}

TEST_F(WorkerFilesTest, NoLinkIsFollowed) {
  const fs::path other = Write("other", "50051");
  for (const char* target : {other.c_str(), "/dev/zero", "/dev/tty", "nowhere"}) {
    fs::remove(folder_ / "1.ready");
    fs::create_symlink(target, folder_ / "1.ready");
    EXPECT_EQ(Read().port, std::nullopt) << target;
    EXPECT_EQ(Read().fault, "a symbolic link") << target;
  }
}

TEST_F(WorkerFilesTest, AFolderIsNoFile) {
  fs::create_directory(folder_ / "1.ready");
  EXPECT_EQ(Read().port, std::nullopt);
  EXPECT_EQ(Read().fault, "a folder");
}

TEST_F(WorkerFilesTest, AnotherUsersFileDoesNotCount) {
  const fs::path file = Write("1.ready", "50051");
  if (chown(file.c_str(), 65534, 65534) != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(Read().port, std::nullopt);
  EXPECT_EQ(Read().fault, "a file of another user");
}

class AllowOwnerTest : public WorkerFilesTest {
 protected:
  void SetUp() override {
    WorkerFilesTest::SetUp();
    const fs::path path = folder_ / "1.sock";
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.string().copy(address.sun_path, sizeof address.sun_path - 1);
    socket_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(chmod(path.c_str(), 0), 0);
  }

  void Allow(const fs::path& path) { AllowOwner({.path = folder_, .fd = fd_}, path); }

  UniqueFd socket_;
};

TEST_F(AllowOwnerTest, ASocketInTheFolderBecomesUsable) {
  Allow(folder_ / "1.sock");
  EXPECT_EQ(ModeOf(folder_ / "1.sock"), 0600u);
}

TEST_F(AllowOwnerTest, NothingElseIsTouched) {
  const fs::path file = Write("file", "");
  fs::create_directory(folder_ / "inner");
  fs::rename(folder_ / "1.sock", folder_ / "inner/2.sock");
  fs::create_symlink(file, folder_ / "to_file");
  fs::create_symlink(folder_ / "inner/2.sock", folder_ / "to_socket");
  ASSERT_EQ(chmod(file.c_str(), 0), 0);
  for (const char* name : {"file", "to_file", "to_socket", "inner/2.sock", "inner/../file"}) {
    Allow(folder_ / name);
  }
  Allow("");
  Allow("/");
  Allow("file");
  EXPECT_EQ(ModeOf(file), 0u);
  EXPECT_EQ(ModeOf(folder_ / "inner/2.sock"), 0u);
}

}  // namespace
}  // namespace snakepit
