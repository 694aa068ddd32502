#include "src/process/remove_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "src/base/fd.h"
#include "src/base/testing/temp_folder.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;

class RemoveFolderTest : public ::testing::Test {
 protected:
  RemoveFolderTest() {
    fs::create_directory(path_);
    fd_.Reset(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    Touch(path_ / kRuntimeOwnerFile);
    Touch(path_ / "1.sock");
    fs::create_directory(base_ / "precious");
    Touch(base_ / "precious/file");
  }

  void TearDown() override { EXPECT_TRUE(fs::exists(base_ / "precious/file")); }

  void Touch(const fs::path& path) { std::ofstream(path) << ""; }

  const testing::TempFolder temp_{"remove_folder_test"};
  const fs::path base_ = temp_.path();
  const fs::path path_ = base_ / "snakepit-abcdef";
  UniqueFd fd_;
};

TEST_F(RemoveFolderTest, TheFolderIsRemovedWithWhatIsInIt) {
  fs::create_directories(path_ / "a/b");
  Touch(path_ / "a/b/file");
  RemoveRuntimeFolder(fd_.get());
  EXPECT_FALSE(fs::exists(path_));
  RemoveRuntimeFolder(fd_.get());  // it is gone
}

TEST_F(RemoveFolderTest, LinksInItAreRemovedAndNotFollowed) {
  fs::create_directory_symlink(base_ / "precious", path_ / "folder");
  fs::create_symlink(base_ / "precious/file", path_ / "file");
  fs::create_directory(path_ / "inner");
  fs::create_directory_symlink(base_ / "precious", path_ / "inner/folder");
  RemoveRuntimeFolder(fd_.get());
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(RemoveFolderTest, AFolderThatWasMovedIsRemovedWhereItIs) {
  fs::create_directory(base_ / "elsewhere");
  fs::rename(path_, base_ / "elsewhere/snakepit-moved");
  fs::create_directory_symlink(base_ / "precious", path_);
  RemoveRuntimeFolder(fd_.get());
  EXPECT_TRUE(fs::is_empty(base_ / "elsewhere"));
  EXPECT_TRUE(fs::is_symlink(path_));
}

TEST_F(RemoveFolderTest, AnotherFolderInItsPlaceStays) {
  fs::rename(path_, base_ / "moved");
  fs::create_directory(path_);
  RemoveRuntimeFolder(fd_.get());
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_TRUE(fs::is_empty(base_ / "moved"));
}

// Each level takes a descriptor. Deeper content keeps the folder in place and marked as a pool's,
// so that a later sweep looks at it again.
TEST_F(RemoveFolderTest, ItDoesNotGoDownWithoutEnd) {
  fs::path deep = path_;
  for (int i = 0; i < 30; ++i) deep /= "d";
  fs::create_directories(deep);
  RemoveRuntimeFolder(fd_.get());
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_FALSE(fs::exists(path_ / "1.sock"));
  EXPECT_TRUE(fs::exists(path_ / kRuntimeOwnerFile));
  fs::rename(path_ / "d/d/d", base_ / "shallow");
  fs::remove_all(base_ / "shallow");
  RemoveRuntimeFolder(fd_.get());
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(RemoveFolderTest, NoFolderIsNoError) {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  RemoveRuntimeFolder(null.get());
  RemoveRuntimeFolder(-1);
}

}  // namespace
}  // namespace snakepit
