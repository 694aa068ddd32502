#include "src/base/proc.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/base/fd.h"

namespace snakepit {
namespace {

// The fields of proc(5), numbered from 3, after a name.
std::string StatNamed(const std::string& name) {
  return "42 (" + name +
         ") S 4 5 6 7 8 9 10 11 12 13 1400 1500 16 17 18 19 20 21 2200 23 24 25 26 27 28\n";
}

TEST(ParseProcStatTest, EachFieldIsTakenFromItsPlace) {
  const auto stat = ParseProcStat(StatNamed("worker"));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 42);
  EXPECT_EQ(stat->name, "worker");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent, 4);
  EXPECT_EQ(stat->group, 5);
  EXPECT_EQ(stat->session, 6);
  EXPECT_EQ(stat->user_ticks, 1400u);
  EXPECT_EQ(stat->system_ticks, 1500u);
  EXPECT_EQ(stat->threads, 20);
  EXPECT_EQ(stat->start_ticks, 2200u);
  EXPECT_EQ(stat->rss_pages, 24);
}

TEST(ParseProcStatTest, ANameMayLookLikeTheEndOfAName) {
  for (const std::string name : {"", ")", "a) Z 1 2 3", "(((", "a\nb", " "}) {
    const auto stat = ParseProcStat(StatNamed(name));
    ASSERT_TRUE(stat) << name;
    EXPECT_EQ(stat->name, name);
    EXPECT_EQ(stat->state, 'S');
    EXPECT_EQ(stat->parent, 4);
  }
}

TEST(ParseProcStatTest, TextThatIsCutShortIsNothing) {
  const std::string whole = StatNamed("worker");
  const size_t needed = whole.find(" 25");
  EXPECT_TRUE(ParseProcStat(whole.substr(0, needed)));
  for (size_t size = 0; size < whole.find(" 24"); ++size) {
    EXPECT_FALSE(ParseProcStat(whole.substr(0, size))) << size;
  }
  EXPECT_FALSE(ParseProcStat(") ("));
}

TEST(ReadProcStatTest, ShowsThisProcessAndItsZombie) {
  ASSERT_EQ(prctl(PR_SET_NAME, "a) Z 1"), 0);
  const auto self = ReadProcStat(getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(self->name, "a) Z 1");
  EXPECT_EQ(self->pid, getpid());
  EXPECT_EQ(self->parent, getppid());
  EXPECT_EQ(self->group, getpgrp());
  EXPECT_EQ(self->session, getsid(0));
  EXPECT_GT(self->rss_pages, 0);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
  const auto zombie = ReadProcStat(child);
  ASSERT_TRUE(zombie);
  EXPECT_EQ(zombie->state, 'Z');
  EXPECT_EQ(zombie->parent, getpid());
  EXPECT_GE(zombie->start_ticks, self->start_ticks);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  errno = 0;
  EXPECT_FALSE(ReadProcStat(child));
  EXPECT_EQ(errno, ENOENT);
}

TEST(ListProcessesTest, HasThisProcess) {
  const std::vector<pid_t> pids = ListProcesses();
  EXPECT_EQ(std::count(pids.begin(), pids.end(), getpid()), 1);
}

// Executes `cat` with this environment, and lets it end.
class Child {
 public:
  explicit Child(std::vector<std::string> environment) : input_(*OpenPipe()), output_(*OpenPipe()) {
    std::vector<char*> variables;
    for (std::string& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(input_.first.get(), STDIN_FILENO);
      dup2(output_.second.get(), STDOUT_FILENO);
      execle("/bin/cat", "cat", nullptr, variables.data());
      _exit(127);
    }
    // It has been executed once it answers.
    char byte = 'x';
    EXPECT_EQ(write(input_.second.get(), &byte, 1), 1);
    EXPECT_EQ(read(output_.first.get(), &byte, 1), 1);
  }
  ~Child() {
    input_.second.Reset();
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  FdPair input_;
  FdPair output_;
  pid_t pid_ = -1;
};

TEST(HasEnvironmentVariableTest, TheWholeVariableMustMatch) {
  const Child child({"FIRST=1", "MIDDLE=two", "LAST=3"});
  EXPECT_TRUE(HasEnvironmentVariable(child.pid(), "FIRST=1"));
  EXPECT_TRUE(HasEnvironmentVariable(child.pid(), "MIDDLE=two"));
  EXPECT_TRUE(HasEnvironmentVariable(child.pid(), "LAST=3"));
  EXPECT_FALSE(HasEnvironmentVariable(child.pid(), "MIDDLE=tw"));
  EXPECT_FALSE(HasEnvironmentVariable(child.pid(), "IDDLE=two"));
  EXPECT_FALSE(HasEnvironmentVariable(0, "FIRST=1"));
}

TEST(HasEnvironmentVariableTest, AVariableThatSpansTwoReadsIsFound) {
  for (const size_t before : {4'090u, 65'520u, 65'530u, 65'536u, 65'540u}) {
    const std::string filler = "A=" + std::string(before, 'x');
    const Child child({filler, "MARK=0123456789", "Z=" + std::string(100'000, 'z')});
    EXPECT_TRUE(HasEnvironmentVariable(child.pid(), "MARK=0123456789")) << before;
  }
}

}  // namespace
}  // namespace snakepit
