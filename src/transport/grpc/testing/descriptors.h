// Processes for tests of descriptors: one gets a descriptor from another, one gets none.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_DESCRIPTORS_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_DESCRIPTORS_H_

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "src/base/fd.h"
#include "src/transport/grpc/testing/listener.h"

namespace snakepit::testing {

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

inline void SendFd(int socket, int fd) {
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
    if (pid_ != 0) {
      pair_.second.Reset();
      return;
    }
    char byte;
    iovec data{.iov_base = &byte, .iov_len = 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(pair_.second.get(), &message, 0) != 1) _exit(1);
    if (write(pair_.second.get(), &byte, 1) != 1) _exit(1);
    for (;;) pause();
  }
  ~Taker() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  // Returns when it has the descriptor.
  void Take(UniqueFd fd) {
    SendFd(pair_.first.get(), fd.get());
    char byte;
    Require(read(pair_.first.get(), &byte, 1) == 1);
  }

 private:
  FdPair pair_;
  const pid_t pid_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_DESCRIPTORS_H_
