#include "src/base/home_process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace snakepit {
namespace {

// True if `holds` is true in a process that is forked for it.
bool InAChild(const std::function<bool()>& holds) {
  const pid_t pid = fork();
  if (pid == 0) _exit(holds() ? 0 : 1);
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status == 0;
}

TEST(HomeProcess, IsHereWhereItWasMade) {
  const HomeProcess home;
  EXPECT_TRUE(home.IsHere());
  EXPECT_EQ(home.pid(), getpid());
}

TEST(HomeProcess, IsNotHereInAChildNorInAGrandchild) {
  const HomeProcess home;
  EXPECT_TRUE(InAChild([&] { return !home.IsHere() && InAChild([&] { return !home.IsHere(); }); }));
  EXPECT_TRUE(home.IsHere());
}

TEST(HomeProcess, AChildHasItsOwn) {
  const HomeProcess home;
  EXPECT_TRUE(InAChild([&] {
    const HomeProcess of_child;
    return of_child.IsHere() && !home.IsHere() && InAChild([&] {
             const HomeProcess of_grandchild;
             return of_grandchild.IsHere() && !of_child.IsHere() && !home.IsHere();
           });
  }));
}

}  // namespace
}  // namespace snakepit
