// The end command of a worker: its time, its surroundings, and its errors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/process/guardian.h"
#include "src/process/testing/fixture.h"

namespace snakepit {
namespace {

// A task that no guardian started, such as the task of a launcher like srun. It ends when a line in
// a fifo tells it to.
class EndCommandTest : public GuardianTest {
 protected:
  void SetUp() override {
    GuardianTest::SetUp();
    fifo_ = testing::TempDir() + "/task." + std::to_string(getpid()) + "." + mark_;
    ASSERT_EQ(mkfifo(fifo_.c_str(), 0600), 0);
    fifo_fd_.Reset(open(fifo_.c_str(), O_RDWR | O_CLOEXEC));
  }

  void TearDown() override {
    GuardianTest::TearDown();
    unlink(fifo_.c_str());
  }

  void StartTask() {
    task_ = fork();
    if (task_ != 0) return;
    setsid();
    _exit(ReadLine(fifo_fd_.get()) == "stop" ? 0 : 1);
  }

  // Returns once it has ended.
  void AwaitTask() {
    int status = -1;
    ASSERT_EQ(waitpid(task_, &status, 0), task_);
    EXPECT_EQ(status, 0);
  }

  SpawnSpec SpecWithCommand(std::vector<std::string> arguments, const std::string& script) {
    SpawnSpec spec = Spec(std::move(arguments));
    spec.environment.push_back("FIFO=" + fifo_);
    spec.end_command = {"/bin/sh", "-c", script};
    return spec;
  }

  std::string FailureOfCommand(std::vector<std::string> command) {
    SpawnSpec spec = Spec({"exit", "0"});
    spec.end_command = std::move(command);
    const uint64_t id = next_id_++;
    end_command_failure_.clear();
    EXPECT_TRUE(guardian_->Spawn(id, spec));
    RunUntil([&] { return !end_command_failure_.empty(); });
    EXPECT_EQ(outcomes_[id].exit, ExitStatus{});
    EXPECT_EQ(end_command_pid_, outcomes_[id].pid);
    return end_command_failure_;
  }

  std::string fifo_;
  UniqueFd fifo_fd_;
  pid_t task_ = -1;
};

constexpr char kStop[] = "echo stop > $FIFO";

TEST_F(EndCommandTest, RunsWhenTheWorkerHasEnded) {
  StartTask();
  ASSERT_TRUE(guardian_->Spawn(1, SpecWithCommand({"exit", "3"}, kStop)));
  AwaitTask();
  EXPECT_EQ(ExitOf(1), ExitStatus{.code = 3});
}

TEST_F(EndCommandTest, RunsWhenTheWorkerWasKilled) {
  StartTask();
  const UniqueFd out = SpawnPiped(1, SpecWithCommand({"hold"}, kStop));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGKILL);
  AwaitTask();
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
}

TEST_F(EndCommandTest, DestructionRunsItAndWaitsForIt) {
  const UniqueFd out = SpawnPiped(1, SpecWithCommand({"hold"}, "echo a > $FIFO; echo b > $FIFO"));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_.reset();
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "a");
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "b");
}

TEST_F(EndCommandTest, DestructionWaitsForOneThatRuns) {
  const std::string gate = fifo_ + ".gate";
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  const UniqueFd gate_fd(open(gate.c_str(), O_RDWR | O_CLOEXEC));
  SpawnSpec spec = SpecWithCommand({"exit", "0"}, "echo a > $FIFO; read x < $GATE; echo b > $FIFO");
  spec.environment.push_back("GATE=" + gate);
  ASSERT_TRUE(guardian_->Spawn(1, spec));
  EXPECT_EQ(ExitOf(1), ExitStatus{});
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "a");
  // The destructor waits for the command while that waits at the gate.
  std::thread destruction([this] { guardian_.reset(); });
  EXPECT_EQ(write(gate_fd.get(), "\n", 1), 1);
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "b");
  destruction.join();
  unlink(gate.c_str());
}

TEST_F(EndCommandTest, HasTheFolderAndTheVariablesOfTheWorkerAndNothingElse) {
  SpawnSpec spec =
      SpecWithCommand({"exit", "0"},
                      "echo $PWD $MARK $# $(readlink /proc/self/fd/0 /proc/self/fd/1 | head -1) "
                      "$(ls /proc/self/fd | wc -l) > $FIFO");
  spec.end_command.insert(spec.end_command.end(), {"name", "one", "{two} three"});
  spec.working_directory = "/usr/bin";
  ASSERT_TRUE(guardian_->Spawn(1, spec));
  // The descriptors of ls: the three standard streams, and the folder that it reads.
  EXPECT_EQ(ReadLine(fifo_fd_.get()),
            "/usr/bin " + mark_.substr(mark_.find('=') + 1) + " 2 /dev/null 4");
  EXPECT_EQ(ExitOf(1), ExitStatus{});
}

// The guardian of a pool inside a worker ends its own workers before itself.
TEST_F(EndCommandTest, RunsForAWorkerOfAWorkerThatIsKilled) {
  SpawnSpec spec = Spec({"host", "linger"});
  // This takes a while, during which the guardian could be stopped.
  spec.environment.push_back("END_COMMAND=for i in $(seq 50); do /bin/true; done; echo ended > " +
                             fifo_);
  const UniqueFd out = SpawnPiped(1, std::move(spec));
  ASSERT_EQ(ReadLine(out.get()), "ready");
  guardian_->Signal(1, SIGKILL);
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "ended");
  EXPECT_EQ(ReadToEnd(out.get()), "");
  EXPECT_EQ(ExitOf(1), ExitStatus{.signal = SIGKILL});
}

TEST_F(EndCommandTest, DoesNotRunForAProgramThatWasNeverExecuted) {
  SpawnSpec failing = SpecWithCommand({}, "echo failed > $FIFO");
  failing.argv = {"/no/such"};
  FailureOf(failing);
  ASSERT_TRUE(guardian_->Spawn(1, SpecWithCommand({"exit", "0"}, "echo ended > $FIFO")));
  EXPECT_EQ(ExitOf(1), ExitStatus{});
  guardian_.reset();
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "ended");
  EXPECT_EQ(fcntl(fifo_fd_.get(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(ReadLine(fifo_fd_.get()), "");
}

TEST_F(EndCommandTest, AFailureIsReported) {
  EXPECT_EQ(FailureOfCommand({"/bin/sh", "-c", "exit 3"}), "it ended by exit code 3");
  EXPECT_EQ(FailureOfCommand({"/bin/sh", "-c", "kill -9 $$"}), "it ended by signal 9 (Killed)");
  EXPECT_EQ(FailureOfCommand({"/no/such"}), "it ended by exit code 127: it could not be executed");
}

TEST_F(EndCommandTest, OneThatTakesTooLongIsKilled) {
  EXPECT_EQ(FailureOfCommand({TestProgram(), "hold"}), "it took more than 5000 ms");
}

}  // namespace
}  // namespace snakepit
