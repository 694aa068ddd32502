// A worker's own cgroup on a real machine: made, entered, emptied and removed.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "src/base/testing/await.h"
#include "src/process/cgroup.h"
#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

namespace fs = std::filesystem;

class CgroupWorkerTest : public GuardianTest {
 protected:
  // The cgroup of this process, if one can be made in it.
  void SetUp() override {
    GuardianTest::SetUp();
    for (const char* point : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      const std::string trial = std::string(point) + "/snakepit-test-" + std::to_string(getpid());
      if (!fs::exists(std::string(point) + "/cgroup.controllers")) continue;
      if (!ReadFile("/proc/self/cgroup").value_or("").ends_with("0::/\n")) continue;
      std::error_code error;
      if (!fs::create_directory(trial, error)) continue;
      fs::remove(trial);
      parent_ = point;
    }
    if (parent_.empty()) GTEST_SKIP() << "no cgroup of version 2 can be made here";
  }

  SpawnSpec SpecInCgroup(std::vector<std::string> arguments) {
    SpawnSpec spec = Spec(std::move(arguments));
    // A setting that needs no controller.
    spec.cgroup = CgroupPlan{.parent = parent_, .settings = {{"cgroup.max.depth", "3"}}};
    return spec;
  }

  std::string NameOf(uint64_t id) const {
    return "snakepit-" + std::to_string(guardian_->pid()) + "-" + std::to_string(id);
  }

  bool Exists(uint64_t id) const { return fs::exists(fs::path(parent_) / NameOf(id)); }

  // Starts "linger" with an id. It has four children, two of them in other sessions.
  UniqueFd StartLingering(uint64_t id) {
    UniqueFd out = SpawnPiped(id, SpecInCgroup({"linger"}));
    EXPECT_EQ(ReadLine(out.get()), "ready");
    return out;
  }

  std::string parent_;
};

TEST_F(CgroupWorkerTest, IsMadeForTheWorkerWithItsSettingsAndRemovedAfterIt) {
  const UniqueFd out = StartLingering(1);
  RunUntil([&] { return outcomes_[1].pid > 0; });
  const std::string folder = parent_ + "/" + NameOf(1);
  EXPECT_TRUE(ReadFile("/proc/" + std::to_string(outcomes_[1].pid) + "/cgroup")
                  .value_or("")
                  .ends_with("0::/" + NameOf(1) + "\n"));
  EXPECT_EQ(ReadFile(folder + "/cgroup.max.depth").value_or(""), "3\n");
  guardian_.reset();
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(CgroupWorkerTest, EverythingInItEndsWithTheWorkerAndItIsRemoved) {
  const UniqueFd out = StartLingering(1);
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ReadToEnd(out.get()), "");  // processes that left the session have ended as well
  EXPECT_EQ(ExitOf(1).signal, SIGKILL);
  // Its last process is reaped a moment after its end.
  EXPECT_TRUE(testing::Await([&] { return !Exists(1); }, kPatience));
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
}

TEST_F(CgroupWorkerTest, AKilledGuardianLeavesNoCgroupAndNoProcessInIt) {
  const UniqueFd out = StartLingering(1);
  const std::string folder = parent_ + "/" + NameOf(1);
  kill(guardian_->pid(), SIGKILL);
  RunUntil([&] { return lost_ > 0; });
  EXPECT_EQ(ListMarked(mark_), std::vector<pid_t>());
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(CgroupWorkerTest, ASettingThatIsRefusedIsNamedAndLeavesNoCgroup) {
  SpawnSpec spec = SpecInCgroup({"exit", "0"});
  spec.cgroup->settings.emplace_back("no.such", "1");
  const Error error = FailureOf(spec);
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_NE(error.message.find("\" with no.such of 1 for a cgroup in " + parent_ + ": "),
            std::string::npos)
      << error.message;
  const std::string folder = parent_ + "/" + NameOf(next_id_ - 1);
  guardian_.reset();
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(CgroupWorkerTest, APlaceThatIsNotThereIsNamed) {
  SpawnSpec spec = SpecInCgroup({"exit", "0"});
  spec.cgroup->parent = "/no/such";
  const auto spawned = guardian_->Spawn(1, spec);
  ASSERT_FALSE(spawned);
  EXPECT_NE(spawned.error().message.find("/no/such: No such file"), std::string::npos);
}

}  // namespace
}  // namespace snakepit
