// The place of a worker's cgroup, on machines that are made of files here.
#include "src/process/cgroup.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "src/base/fd.h"
#include "src/base/testing/temp_folder.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest() {
    view_.proc_self = machine_ / "proc";
    view_.is_delegated = [this](const std::string& folder) { return folder == delegated_; };
    Mount("rw,nosuid");
  }

  // Mounted at machine/fs; the space in the path is escaped.
  void Mount(const std::string& options, const std::string& root = "/") {
    std::string point = machine_ / "fs";
    point.replace(point.find(' '), 1, "\\040");
    Write(machine_ / "proc/mountinfo",
          "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
          "30 22 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
          "31 22 0:27 " +
              root + " " + point + " " + options + " shared:9 - cgroup2 none rw\n");
  }

  // The cgroup of this process.
  void Be(const std::string& path) {
    Write(machine_ / "proc/cgroup", "4:memory:/else\n0::" + path + "\n");
  }

  fs::path MakeCgroup(const std::string& path, const std::string& controllers,
                      const std::string& enabled) {
    const fs::path folder = machine_ / "fs" / path;
    if (!path.empty()) Write(folder / "cgroup.type", "domain\n");
    Write(folder / "cgroup.controllers", controllers + "\n");
    Write(folder / "cgroup.subtree_control", enabled + "\n");
    return folder;
  }

  std::string WhyNot(const CgroupLimits& limits = {.pids_max = 5}) {
    const auto plan = PlanCgroup(limits, view_);
    if (plan) return "available";
    EXPECT_EQ(plan.error().code, ErrorCode::kStartFailed);
    const std::string begin = "cgroup v2 limits are not available here: ";
    EXPECT_TRUE(plan.error().message.starts_with(begin)) << plan.error().message;
    std::string why = plan.error().message.substr(begin.size());
    for (size_t at; (at = why.find(machine_)) != std::string::npos;) {
      why.replace(at, machine_.string().size(), "M");
    }
    return why;
  }

  // The space shows that it is escaped.
  const testing::TempFolder temp_{"cgroup test"};
  const fs::path machine_ = temp_.path();
  std::string delegated_;
  CgroupView view_;
};

TEST_F(CgroupTest, NoLimitsNeedNoCgroup) {
  view_.proc_self = "/no/such/folder";
  const auto plan = PlanCgroup({}, view_);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(*plan);
}

TEST_F(CgroupTest, ADelegatedFolderIsTheParentAndGetsTheLimits) {
  Be("/user.slice/app/pool");
  const fs::path app = MakeCgroup("user.slice/app", "cpu memory pids", "memory cpu pids");
  MakeCgroup("user.slice/app/pool", "cpu memory pids", "");
  delegated_ = app;
  const auto plan =
      PlanCgroup({.memory_max_bytes = 1 << 20, .processors = 1.5, .pids_max = 7}, view_);
  ASSERT_TRUE(plan) << plan.error().ToString();
  EXPECT_EQ((*plan)->parent, app);
  const std::vector<std::pair<std::string, std::string>> settings = {
      {"memory.max", "1048576"}, {"cpu.max", "150000 100000"}, {"pids.max", "7"}};
  EXPECT_EQ((*plan)->settings, settings);
}

TEST_F(CgroupTest, InTheRootItIsTheRoot) {
  Be("/");
  MakeCgroup("", "pids", "pids");
  const auto plan = PlanCgroup({.pids_max = 1}, view_);
  ASSERT_TRUE(plan) << plan.error().ToString();
  EXPECT_EQ((*plan)->parent, machine_ / "fs");
}

TEST_F(CgroupTest, TheMountMayBeginBelowTheRoot) {
  Mount("rw", "/docker/box");
  Be("/docker/box/a/b");
  delegated_ = MakeCgroup("a", "pids", "pids");
  MakeCgroup("a/b", "pids", "");
  const auto plan = PlanCgroup({.pids_max = 1}, view_);
  ASSERT_TRUE(plan) << plan.error().ToString();
  EXPECT_EQ((*plan)->parent, delegated_);
  Be("/docker/boxes/b");
  EXPECT_EQ(WhyNot(), "the cgroup of this process, /docker/boxes/b, is not among those mounted");
  Mount("rw");
  Be("/../outside");
  EXPECT_EQ(WhyNot(), "the cgroup of this process, /../outside, is not among those mounted");
}

TEST_F(CgroupTest, AMissingControllerIsEnabled) {
  Be("/a/b");
  delegated_ = MakeCgroup("a", "memory pids", "pids");
  MakeCgroup("a/b", "", "");
  EXPECT_EQ(WhyNot(), "available");
  EXPECT_EQ(*ReadFile(delegated_ + "/cgroup.subtree_control"), "pids\n");
  EXPECT_EQ(WhyNot({.memory_max_bytes = 1}), "available");
  EXPECT_TRUE(ReadFile(delegated_ + "/cgroup.subtree_control")->starts_with("+memory"));
}

TEST_F(CgroupTest, TheErrorSaysWhyNoCgroupIsAvailable) {
  Be("/a/b");
  MakeCgroup("a", "memory", "memory");
  MakeCgroup("a/b", "memory", "");
  EXPECT_EQ(WhyNot(),
            "the cgroup over that of this process, M/fs/a, is not delegated to its user; with "
            "systemd, see Delegate= and DelegateSubgroup= in systemd.resource-control(5)");
  delegated_ = machine_ / "fs/a";
  EXPECT_EQ(WhyNot(), "the controller \"pids\" is not in M/fs/a/cgroup.controllers");
  MakeCgroup("a", "memory pids", "memory");
  fs::remove(machine_ / "fs/a/cgroup.subtree_control");
  EXPECT_EQ(WhyNot(),
            "the controller \"pids\" cannot be enabled by M/fs/a/cgroup.subtree_control: No such "
            "file or directory (ENOENT)");
  Mount("ro,nosuid");
  EXPECT_EQ(WhyNot(), "M/fs is mounted read-only");
  Write(machine_ / "proc/mountinfo", "30 22 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw\n");
  EXPECT_EQ(WhyNot(), "no cgroup file system of version 2 is mounted");
}

TEST_F(CgroupTest, EmptyCgroupsOfGuardiansThatAreGoneAreRemoved) {
  Be("/");
  const fs::path root = MakeCgroup("", "pids", "pids");
  const std::string gone = "999999999";
  const fs::path left = root / ("snakepit-" + gone + "-1");
  const fs::path in_use = root / ("snakepit-" + gone + "-2");
  const fs::path others[] = {root / ("snakepit-" + gone), root / "snakepit-x-1",
                             root / ("snakepit-" + gone + "-1x"), root / "user.slice"};
  fs::create_directory(left);
  Write(in_use / "process", "");
  for (const fs::path& other : others) fs::create_directory(other);
  EXPECT_EQ(WhyNot(), "available");
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(in_use));
  for (const fs::path& other : others) EXPECT_TRUE(fs::exists(other)) << other;
}

TEST(Validate, ImpossibleCgroupLimitsAreRefusedByName) {
  const auto message = [](const CgroupLimits& limits) {
    const auto valid = Validate(limits);
    if (valid) return std::string("valid");
    EXPECT_EQ(valid.error().code, ErrorCode::kInvalidArgument);
    return valid.error().message;
  };
  EXPECT_EQ(message({.memory_max_bytes = 0}), "adapter.cgroup.memory_max_bytes must be over 0");
  EXPECT_EQ(message({.pids_max = -1}), "adapter.cgroup.pids_max must be over 0");
  for (const double processors : {0.0, 0.009, 8193.0, std::nan("")}) {
    EXPECT_EQ(message({.processors = processors}),
              "adapter.cgroup.processors must be 0.01 to 8192");
  }
  EXPECT_EQ(message({.memory_max_bytes = 1, .processors = 0.01, .pids_max = 1}), "valid");
}

}  // namespace
}  // namespace snakepit
