#include "src/base/open_below.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "src/base/fd.h"
#include "src/base/testing/temp_folder.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;

class OpenBelowTest : public ::testing::Test {
 protected:
  OpenBelowTest() {
    std::ofstream(folder_ / "file") << "text";
    fd_.Reset(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  UniqueFd Open(const char* name) { return UniqueFd(OpenBelow(fd_.get(), name, O_RDONLY)); }

  const testing::TempFolder temp_{"open_below_test"};
  const fs::path folder_ = temp_.path();
  UniqueFd fd_;
};

TEST_F(OpenBelowTest, AFileIsOpened) {
  const UniqueFd file = Open("file");
  ASSERT_TRUE(file.valid());
  EXPECT_EQ(fcntl(file.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_TRUE(IsSameFile(file.get(), Open("file").get()));
  EXPECT_FALSE(IsSameFile(file.get(), fd_.get()));
  EXPECT_FALSE(IsSameFile(-1, -1));
}

TEST_F(OpenBelowTest, NoLinkIsFollowed) {
  fs::create_symlink("file", folder_ / "link");
  EXPECT_FALSE(Open("link").valid());
  EXPECT_EQ(errno, ELOOP);
  // The link itself.
  const UniqueFd link(OpenBelow(fd_.get(), "link", O_PATH));
  EXPECT_TRUE(link.valid());
  EXPECT_FALSE(IsSameFile(link.get(), Open("file").get()));
}

TEST_F(OpenBelowTest, AMountPointIsNotEntered) {
  const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd mounted(OpenBelow(root.get(), "proc", O_PATH | O_DIRECTORY));
  if (mounted.valid()) GTEST_SKIP() << "/proc is not mounted, or the kernel is older than 5.6";
  EXPECT_EQ(errno, EXDEV);
}

}  // namespace
}  // namespace snakepit
