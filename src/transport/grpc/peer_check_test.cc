#include "src/transport/grpc/peer_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "src/base/testing/temp_folder.h"
#include "src/transport/grpc/tcp_end.h"
#include "src/transport/grpc/testing/descriptors.h"
#include "src/transport/grpc/testing/listener.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using testing::Listener;

// A process that this one started, which has what this one has, and runs until the end of the test.
class Child {
 public:
  explicit Child(const std::function<void()>& body = [] {}) : pid_(fork()) {
    if (pid_ != 0) return;
    body();
    for (;;) pause();
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  const pid_t pid_;
};

UniqueFd Connected(const Listener& listener) {
  return std::move(BeginConnect(listener.address()).value());
}

Error Refusal(const GrpcPeerCheck& check, const UniqueFd& fd, const GrpcAddress& address) {
  const auto peer = check.Check(fd.get(), address);
  if (peer) {
    ADD_FAILURE() << "it is let pass";
    return {};
  }
  EXPECT_EQ(peer.error().code, ErrorCode::kStartFailed);
  EXPECT_THAT(peer.error().message, HasSubstr(address.Text()));
  EXPECT_THAT(peer.error().message, HasSubstr("{socket}"));
  return peer.error();
}

TEST(GrpcPeerCheck, ATcpConnectionIsTheWorkersWhenItHasAcceptedIt) {
  for (const int family : {AF_INET, AF_INET6}) {
    Listener listener(family);
    const GrpcPeerCheck check(getpid(), "");
    const UniqueFd fd = Connected(listener);
    EXPECT_EQ(check.Check(fd.get(), listener.address()).value(), PeerState::kUnknown);
    const UniqueFd accepted = listener.Accept();
    EXPECT_EQ(check.Check(fd.get(), listener.address()).value(), PeerState::kIsWorker);
  }
}

TEST(GrpcPeerCheck, OneThatAnotherAcceptedIsNot) {
  Child worker;
  Listener listener;  // since the worker was started, so that it has none of it
  const UniqueFd fd = Connected(listener);
  const UniqueFd accepted = listener.Accept();
  const Error error = Refusal(GrpcPeerCheck(worker.pid(), ""), fd, listener.address());
  EXPECT_THAT(error.message, HasSubstr("of user " + std::to_string(geteuid())));
}

TEST(GrpcPeerCheck, ThatTheWorkerListensThereTooDoesNotMakeItsOwn) {
  Listener listener;
  Child worker;  // has the listener
  const UniqueFd fd = Connected(listener);
  const UniqueFd accepted = listener.Accept();
  Refusal(GrpcPeerCheck(worker.pid(), ""), fd, listener.address());
}

TEST(GrpcPeerCheck, WhatAChildOfTheWorkerAcceptedIsTheWorkers) {
  Listener listener;
  const UniqueFd fd = Connected(listener);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  Child child([&] {
    const UniqueFd accepted = listener.Accept();
    if (write(ready[1], "x", 1) == 1) pause();
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(GrpcPeerCheck(getpid(), "").Check(fd.get(), listener.address()).value(),
            PeerState::kIsWorker);
  close(ready[0]);
  close(ready[1]);
}

TEST(GrpcPeerCheck, OfAWorkerThatHasGoneNothingIsKnown) {
  pid_t pid = 0;
  {
    const Child worker;
    pid = worker.pid();
  }
  Listener listener;
  const UniqueFd fd = Connected(listener);
  const UniqueFd accepted = listener.Accept();
  Refusal(GrpcPeerCheck(pid, ""), fd, listener.address());
}

TEST(GrpcPeerCheck, AShortageOfThePoolSaysNothingOfTheOther) {
  Listener listener;
  const GrpcPeerCheck check(getpid(), "");
  const UniqueFd fd = Connected(listener);
  const UniqueFd accepted = listener.Accept();
  {
    const testing::NoDescriptors none;
    const auto peer = check.Check(fd.get(), listener.address());
    ASSERT_FALSE(peer);
    EXPECT_EQ(peer.error().code, ErrorCode::kInternal);
    EXPECT_THAT(peer.error().message, HasSubstr("EMFILE"));
  }
  EXPECT_EQ(check.Check(fd.get(), listener.address()).value(), PeerState::kIsWorker);
}

TEST(WorkerFamily, AShortageOfThePoolSaysNothingOfASocket) {
  Child worker;
  Listener listener;
  struct stat socket {};
  ASSERT_EQ(fstat(listener.fd(), &socket), 0);
  const WorkerFamily family(worker.pid());
  const testing::NoDescriptors none;
  const auto has = family.HasSocket(socket.st_ino);
  ASSERT_FALSE(has);
  EXPECT_EQ(has.error().code, ErrorCode::kInternal);
}

TEST(GrpcPeerCheck, WhoListensInThePoolsOwnFolderIsItsUser) {
  const testing::TempFolder own;
  const std::string folder = own.path();
  Child worker;
  Listener listener(folder + "/w.sock");
  const UniqueFd fd = Connected(listener);
  EXPECT_EQ(GrpcPeerCheck(worker.pid(), folder).Check(fd.get(), listener.address()).value(),
            PeerState::kIsWorker);
  Refusal(GrpcPeerCheck(worker.pid(), folder + "/other"), fd, listener.address());
  Refusal(GrpcPeerCheck(worker.pid(), ""), fd, listener.address());
}

TEST(GrpcPeerCheck, ElsewhereItMustBeTheWorkerThatListens) {
  const testing::TempFolder folder;
  Listener listener(folder.path() / "w.sock");
  const UniqueFd fd = Connected(listener);
  EXPECT_EQ(GrpcPeerCheck(getpid(), "").Check(fd.get(), listener.address()).value(),
            PeerState::kIsWorker);
  Child worker;
  const Error error = Refusal(GrpcPeerCheck(worker.pid(), ""), fd, listener.address());
  EXPECT_THAT(error.message, HasSubstr("process " + std::to_string(getpid())));
}

TEST(TcpEnd, IsFoundEitherWay) {
  for (const int family : {AF_INET, AF_INET6}) {
    Listener listener(family);
    const int port = listener.address().port;
    const UniqueFd fd = Connected(listener);
    sockaddr_in own{};
    socklen_t size = sizeof own;
    ASSERT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size), 0);
    const int own_port = ntohs(own.sin_port);
    EXPECT_EQ(LookForTcpEnd(port, own_port).value().value().inode, 0u);
    const UniqueFd accepted = listener.Accept();
    struct stat socket {};
    ASSERT_EQ(fstat(accepted.get(), &socket), 0);
    const TcpEnd end = LookForTcpEnd(port, own_port).value().value();
    EXPECT_EQ(end.inode, socket.st_ino);
    EXPECT_EQ(end.user, geteuid());
    // Not every system has it.
    const auto asked = AskForTcpEnd(port, own_port);
    EXPECT_EQ(asked.value_or(end).inode, socket.st_ino);
    // Nobody has a connection from there.
    EXPECT_FALSE(FindTcpEnd(port, own_port == 1 ? 2 : 1).value());
  }
}

TEST(WorkerFamily, IsTheWorkerAndWhatItStarted) {
  const WorkerFamily family(getpid());
  Child child;
  EXPECT_TRUE(family.Has(getpid()));
  EXPECT_TRUE(family.Has(child.pid()));
  EXPECT_FALSE(family.Has(getppid()));
  EXPECT_FALSE(family.Has(1));
  const Child other;
  EXPECT_FALSE(WorkerFamily(other.pid()).Has(child.pid()));
}

}  // namespace
}  // namespace snakepit
