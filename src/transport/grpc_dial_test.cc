#include "src/transport/grpc_dial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "src/transport/listener_testing.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using testing::Listener;
using testing::Require;

std::shared_ptr<GrpcPeerCheck> CheckOf(pid_t worker) {
  return std::make_shared<GrpcPeerCheck>(worker, "");
}

ErrorCode CodeOf(const Result<UniqueFd>& step) {
  return step ? ErrorCode::kInternal : step.error().code;
}

// Takes steps until there is a connection, or will be none.
Result<UniqueFd> Finish(GrpcDial& dial) {
  auto step = dial.Step();
  while (CodeOf(step) == ErrorCode::kUnavailable) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    step = dial.Step();
  }
  return step;
}

// While it lives, this process gets no more descriptors.
class NoDescriptors {
 public:
  NoDescriptors() {
    Require(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit none{.rlim_cur = 3, .rlim_max = before_.rlim_max};
    Require(setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  ~NoDescriptors() { Require(setrlimit(RLIMIT_NOFILE, &before_) == 0); }

 private:
  rlimit before_{};
};

void SendFd(int socket, int fd) {
  char byte = 'x';
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  Require(sendmsg(socket, &message, 0) == 1);
}

// A process that takes one descriptor, and keeps it until the end of the test.
class Taker {
 public:
  Taker() : pair_(OpenSocketPair().value()), pid_(fork()) {
    if (pid_ != 0) return;
    char byte;
    iovec data{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(pair_.second.get(), &message, 0) != 1) _exit(1);
    for (;;) pause();
  }
  ~Taker() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  void Take(UniqueFd fd) { SendFd(pair_.first.get(), fd.get()); }

 private:
  FdPair pair_;
  const pid_t pid_;
};

TEST(GrpcDial, AStepDoesNotWait) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  // Within the limit, in which each of them could not wait for 5 ms.
  for (int i = 0; i < 1'000; ++i) ASSERT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable) << i;
  const UniqueFd accepted = listener.Accept();
  EXPECT_TRUE(Finish(dial));
}

TEST(GrpcDial, WhereNobodyAcceptsItEnds) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  const auto end = Finish(dial);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, ErrorCode::kWorkerLost);
  EXPECT_THAT(end.error().message, HasSubstr("within 1000 ms"));
}

TEST(GrpcDial, TheTimeInWhichNobodyWantsTheConnectionDoesNotCount) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  std::this_thread::sleep_for(GrpcDial::kLimit + std::chrono::milliseconds(100));
  ASSERT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  // Nobody accepts the one that the first step made.
  const UniqueFd first = listener.Accept();
  const UniqueFd second = listener.Accept();
  EXPECT_TRUE(Finish(dial));
}

TEST(GrpcDial, GoesOnWhenThePoolHasDescriptorsAgain) {
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(getpid()));
  {
    const NoDescriptors none;
    ASSERT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);  // no socket
  }
  EXPECT_EQ(CodeOf(Finish(dial)), ErrorCode::kWorkerLost) << "there was one";
  GrpcDial next(listener.address(), CheckOf(getpid()));
  EXPECT_EQ(CodeOf(next.Step()), ErrorCode::kUnavailable);
  const UniqueFd first = listener.Accept();
  const UniqueFd second = listener.Accept();
  {
    const NoDescriptors none;
    // Longer than between two looks.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(CodeOf(next.Step()), ErrorCode::kUnavailable);  // nothing to look with
  }
  EXPECT_TRUE(Finish(next));
}

TEST(GrpcDial, WaitsForAWorkerThatGetsTheConnectionFromTheOneThatAccepts) {
  Taker worker;
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(worker.pid()));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  UniqueFd accepted = listener.Accept();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  worker.Take(std::move(accepted));
  EXPECT_TRUE(Finish(dial));
}

TEST(GrpcDial, AConnectionThatAnotherKeepsIsRefused) {
  Taker worker;
  Listener listener;
  GrpcDial dial(listener.address(), CheckOf(worker.pid()));
  EXPECT_EQ(CodeOf(dial.Step()), ErrorCode::kUnavailable);
  const UniqueFd accepted = listener.Accept();
  const auto end = Finish(dial);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, ErrorCode::kWorkerLost);
  EXPECT_THAT(end.error().message, HasSubstr("is not known to be the worker"));
}

}  // namespace
}  // namespace snakepit
