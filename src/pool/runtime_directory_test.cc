// That the folder of a killed pool is removed by the next one, and nothing else is.
#include "src/pool/runtime_directory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "src/base/fd.h"
#include "src/base/testing/temp_folder.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;

class RuntimeDirectoryTest : public ::testing::Test {
 protected:
  RuntimeDirectoryTest() {
    setenv("XDG_RUNTIME_DIR", base_.c_str(), 1);
    setenv("TMPDIR", base_.c_str(), 1);
  }

  // A folder that a process of its own had, which was killed.
  fs::path LeaveFolder() {
    auto pipe = OpenPipe();
    const pid_t owner = fork();
    if (owner == 0) {
      RuntimeDirectory directory;
      if (!directory.Create()) _exit(1);
      std::ofstream(directory.path() + "/7.sock") << "";
      const std::string line = directory.path() + "\n";
      if (write(pipe->second.get(), line.data(), line.size()) < 0) _exit(2);
      for (;;) pause();
    }
    std::string path;
    char byte;
    while (read(pipe->first.get(), &byte, 1) == 1 && byte != '\n') path += byte;
    kill(owner, SIGKILL);
    EXPECT_EQ(waitpid(owner, nullptr, 0), owner);
    EXPECT_TRUE(fs::exists(path + "/7.sock"));
    return path;
  }

  fs::path MakeFolder(const std::string& name, mode_t mode = 0700) {
    const fs::path path = base_ / name;
    fs::create_directory(path);
    chmod(path.c_str(), mode);
    return path;
  }

  const testing::TempFolder temp_{"runtime_directory_test"};
  const fs::path base_ = temp_.path();
};

void Touch(const fs::path& path) { std::ofstream(path) << ""; }

TEST_F(RuntimeDirectoryTest, WhatAKilledOwnerLeftIsRemovedByTheNext) {
  const fs::path left = LeaveFolder();
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(directory.path()));
}

TEST_F(RuntimeDirectoryTest, AllPlacesAreSwept) {
  const fs::path left = LeaveFolder();
  const testing::TempFolder elsewhere("runtime_directory_test");
  setenv("XDG_RUNTIME_DIR", elsewhere.path().c_str(), 1);
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  EXPECT_TRUE(directory.path().starts_with(elsewhere.path().string()));
  EXPECT_FALSE(fs::exists(left));
  directory.Remove();
  EXPECT_TRUE(fs::is_empty(elsewhere.path()));
}

TEST_F(RuntimeDirectoryTest, AFolderInUseIsLeftAlone) {
  RuntimeDirectory one;
  RuntimeDirectory other;
  ASSERT_TRUE(one.Create());
  Touch(one.path() + "/1.sock");
  ASSERT_TRUE(other.Create());
  EXPECT_TRUE(fs::exists(one.path() + "/1.sock"));
  // An earlier lock of a folder in this place does not matter.
  one.Remove();
  ASSERT_TRUE(one.Create());
  other.Remove();
  ASSERT_TRUE(other.Create());
  EXPECT_TRUE(fs::exists(one.path()));
}

TEST_F(RuntimeDirectoryTest, WhatIsNoPoolsIsLeftAlone) {
  std::vector<fs::path> others;
  others.push_back(MakeFolder("snakepit-abcdef"));  // nobody's mark in it
  others.push_back(MakeFolder("snakepit-abcde0", 0755));
  others.push_back(MakeFolder("snakepit-abcdefg"));
  others.push_back(MakeFolder("snakepit-abc"));
  others.push_back(MakeFolder("serpent0-abcdef"));
  others.push_back(MakeFolder("elsewhere"));
  for (size_t i = 1; i < others.size(); ++i) Touch(others[i] / "owner");
  others.push_back(MakeFolder("snakepit-abcde1"));
  fs::create_symlink(base_ / "elsewhere/owner", others.back() / "owner");
  others.push_back(MakeFolder("snakepit-abcde2"));
  fs::create_directory(others.back() / "owner");
  others.push_back(base_ / "snakepit-abcde3");
  fs::create_directory_symlink(base_ / "elsewhere", others.back());
  others.push_back(base_ / "snakepit-abcde4");
  Touch(others.back());
  const fs::path foreign = MakeFolder("snakepit-abcde5");
  Touch(foreign / "owner");
  if (chown(foreign.c_str(), 65534, 65534) == 0) others.push_back(foreign);

  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  for (const fs::path& other : others) {
    EXPECT_TRUE(fs::exists(fs::symlink_status(other))) << other;
  }
  EXPECT_TRUE(fs::exists(base_ / "elsewhere/owner"));
}

TEST_F(RuntimeDirectoryTest, NoLinkInAFolderIsFollowed) {
  const fs::path left = LeaveFolder();
  const fs::path precious = MakeFolder("precious");
  Touch(precious / "file");
  fs::create_symlink(precious / "file", left / "link");
  fs::create_directory_symlink(precious, left / "folder");
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(precious / "file"));
}

TEST_F(RuntimeDirectoryTest, AUmaskThatTakesAllRightsIsNoMatter) {
  const mode_t before = umask(0777);
  RuntimeDirectory directory;
  const auto created = directory.Create();
  umask(before);
  ASSERT_TRUE(created) << created.error().ToString();
  struct stat status = {};
  ASSERT_EQ(stat(directory.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_TRUE(fs::exists(directory.path() + "/owner"));
  directory.Remove();
  EXPECT_TRUE(fs::is_empty(base_));
}

TEST_F(RuntimeDirectoryTest, ItIsSeenThatTheFolderWasRemovedOrReplaced) {
  RuntimeDirectory directory;
  EXPECT_FALSE(directory.IsThere());
  ASSERT_TRUE(directory.Create());
  EXPECT_TRUE(directory.IsThere());
  const std::string path = directory.path();
  fs::remove_all(path);
  EXPECT_FALSE(directory.IsThere());
  fs::create_directory(path);
  Touch(path + "/precious");
  EXPECT_FALSE(directory.IsThere());
  directory.Remove();
  EXPECT_TRUE(fs::exists(path + "/precious"));
  ASSERT_TRUE(directory.Create());
  EXPECT_TRUE(directory.IsThere());
}

TEST_F(RuntimeDirectoryTest, WhatIsPutInItsPlaceIsLeftAlone) {
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  const fs::path path = directory.path();
  const fs::path precious = MakeFolder("precious");
  Touch(precious / "file");
  fs::rename(path, base_ / "moved");
  Touch(base_ / "moved/1.sock");
  fs::create_directory_symlink(precious, path);
  EXPECT_FALSE(directory.IsThere());
  directory.Remove();
  EXPECT_TRUE(fs::exists(precious / "file"));
  EXPECT_TRUE(fs::is_symlink(path));
  EXPECT_TRUE(fs::is_empty(base_ / "moved"));
}

TEST_F(RuntimeDirectoryTest, ABaseThatIsSwappedIsLeftAlone) {
  const fs::path before = MakeFolder("base");
  setenv("XDG_RUNTIME_DIR", before.c_str(), 1);
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  const fs::path path = directory.path();
  ASSERT_EQ(path.parent_path(), before);
  fs::rename(before, base_ / "moved");
  fs::create_directories(path);
  Touch(path / "file");
  EXPECT_FALSE(directory.IsThere());
  directory.Remove();
  EXPECT_TRUE(fs::exists(path / "file"));
  EXPECT_TRUE(fs::is_empty(base_ / "moved"));
}

TEST_F(RuntimeDirectoryTest, FoldersInItGoWithIt) {
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  fs::create_directories(directory.path() + "/a/b/c");
  Touch(directory.path() + "/a/b/file");
  directory.Remove();
  EXPECT_TRUE(fs::is_empty(base_));
}

// The base of a test is TMPDIR; what is passed over is XDG_RUNTIME_DIR.
class UnsafeBaseTest : public RuntimeDirectoryTest {
 protected:
  void ExpectPassedOver(const fs::path& path, const std::string& why) {
    setenv("XDG_RUNTIME_DIR", path.c_str(), 1);
    RuntimeDirectory directory;
    const auto created = directory.Create();
    ASSERT_TRUE(created) << created.error().ToString();
    EXPECT_EQ(fs::path(directory.path()).parent_path(), base_) << path;
    EXPECT_EQ(directory.unsafe(),
              std::vector<std::string>{"XDG_RUNTIME_DIR, \"" + path.string() + "\": " + why});
  }

  void ExpectTaken(const fs::path& path) {
    setenv("XDG_RUNTIME_DIR", path.c_str(), 1);
    RuntimeDirectory directory;
    ASSERT_TRUE(directory.Create());
    EXPECT_EQ(fs::path(directory.path()).parent_path(), fs::canonical(path));
    EXPECT_EQ(directory.unsafe(), std::vector<std::string>());
  }
};

TEST_F(UnsafeBaseTest, OneThatOthersMayWriteTo) {
  for (const mode_t mode : {0777, 0707, 0702}) {
    const fs::path open = MakeFolder("open", mode);
    const fs::path inner = MakeFolder("open/inner");
    char octal[8];
    snprintf(octal, sizeof octal, "%04o", mode);
    const std::string why = "\"" + open.string() +
                            "\" can be written to by every user and has no sticky bit (mode " +
                            octal + ")";
    ExpectPassedOver(open, why);
    ExpectPassedOver(inner, why);
  }
}

TEST_F(UnsafeBaseTest, OneThatAGroupMayWriteTo) {
  const fs::path shared = MakeFolder("shared", 0775);
  ExpectPassedOver(shared, "\"" + shared.string() +
                               "\" can be written to by its group and has no sticky bit (mode "
                               "0775)");
}

TEST_F(UnsafeBaseTest, AStickyBitMakesItSafe) {
  const fs::path sticky = MakeFolder("sticky", 01777);
  ExpectTaken(sticky);
  ExpectTaken(MakeFolder("sticky/inner"));
}

TEST_F(UnsafeBaseTest, OneOfAnotherUser) {
  const fs::path foreign = MakeFolder("foreign", 01777);
  const fs::path inner = MakeFolder("foreign/inner");
  if (chown(foreign.c_str(), 65534, 65534) != 0) GTEST_SKIP() << "needs root";
  const std::string why =
      "\"" + foreign.string() + "\" belongs to user 65534, who can put another folder in its place";
  ExpectPassedOver(foreign, why);
  ExpectPassedOver(inner, why);
  fs::create_directory_symlink(inner, base_ / "link");
  ExpectPassedOver(base_ / "link", why);
}

TEST_F(UnsafeBaseTest, ALinkToASafeOneIsResolvedOnce) {
  const fs::path real = MakeFolder("real");
  fs::create_directory_symlink(real, base_ / "link");
  ExpectTaken(base_ / "link");
}

TEST_F(UnsafeBaseTest, NothingInItIsSwept) {
  const fs::path left = LeaveFolder();
  ASSERT_EQ(chmod(base_.c_str(), 0777), 0);
  setenv("XDG_RUNTIME_DIR", "", 1);
  RuntimeDirectory directory;
  ASSERT_TRUE(directory.Create());
  EXPECT_EQ(fs::path(directory.path()).parent_path(), "/tmp");
  EXPECT_TRUE(fs::exists(left));
}

TEST_F(UnsafeBaseTest, WhenNoneIsLeftTheErrorNamesEach) {
  MakeFolder("open", 0777);
  const pid_t child = fork();
  if (child == 0) {
    if (chroot(base_.c_str()) != 0 || chdir("/") != 0) _exit(77);
    setenv("XDG_RUNTIME_DIR", "/open", 1);
    setenv("TMPDIR", ("/" + std::string(100, 'x')).c_str(), 1);
    RuntimeDirectory directory;
    const auto created = directory.Create();
    if (created) _exit(1);
    const std::string message = created.error().message;
    std::cerr << message << std::endl;
    for (const char* part :
         {"XDG_RUNTIME_DIR, \"/open\": \"/open\" can be written to by every user", "TMPDIR, \"/xxx",
          "\": it cannot be entered: No such file or directory (ENOENT); ",
          "/tmp: it cannot be entered: No such file or directory (ENOENT); set TMPDIR to "}) {
      if (message.find(part) == std::string::npos) _exit(2);
    }
    _exit(message.find('\n') == std::string::npos ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "needs root";
  EXPECT_EQ(status, 0);
}

TEST_F(RuntimeDirectoryTest, ManyThatStartAtOnceLeaveEachOtherAlone) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([] {
      for (int round = 0; round < 100; ++round) {
        RuntimeDirectory directory;
        ASSERT_TRUE(directory.Create());
        const std::string path = directory.path();
        Touch(path + "/1.sock");
        EXPECT_TRUE(fs::exists(path + "/1.sock"));
        EXPECT_TRUE(fs::exists(path + "/owner"));
        directory.Remove();
        EXPECT_FALSE(fs::exists(path));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(fs::is_empty(base_));
}

}  // namespace
}  // namespace snakepit
