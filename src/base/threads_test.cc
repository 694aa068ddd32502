#include "src/base/threads.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <string>

namespace snakepit {
namespace {

TEST(ThreadsTest, AllowedThreadsCanBeStarted) { EXPECT_TRUE(TryThreads(20)); }

TEST(ThreadsTest, TheLimitIsNamed) {
  const pid_t child = fork();
  if (child == 0) {
    // The limit does not bind root, and other processes of this user would count.
    const uid_t user_of_nobody = 1'000'000 + getpid();
    if (getuid() == 0 && setuid(user_of_nobody) != 0) _exit(0);
    const rlimit limit = {8, 8};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) _exit(1);
    const auto tried = TryThreads(20);
    if (tried) _exit(2);
    std::cout << tried.error().message << std::endl;
    const std::string advice =
        " of 20 threads: Resource temporarily unavailable (EAGAIN); all processes of this user may "
        "have 8 threads at a time (RLIMIT_NPROC, ulimit -u), and a cgroup may allow fewer "
        "(pids.max)";
    _exit(tried.error().message.ends_with(advice) ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Small stacks would fit.
TEST(ThreadsTest, TheLimitOfTheAddressSpaceIsSeenAndNamed) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer reserves more address space than the limit allows";
#endif
  pthread_attr_t usual;
  ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
  size_t stack_bytes = 0;
  ASSERT_EQ(pthread_attr_getstacksize(&usual, &stack_bytes), 0);
  const pid_t child = fork();
  if (child == 0) {
    const rlim_t bytes = 19 * stack_bytes;
    const rlimit address_space = {bytes, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &address_space) != 0) _exit(1);
    const auto tried = TryThreads(20);
    if (tried) _exit(2);
    std::cout << tried.error().message << std::endl;
    const std::string advice = "; this process may have an address space of " +
                               std::to_string(bytes >> 20) + " MiB (RLIMIT_AS, ulimit -v)";
    _exit(tried.error().message.find(advice) != std::string::npos ? 0 : 3);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(ThreadsTest, AnotherErrorHasNoAdvice) {
  EXPECT_EQ(ProcessLimitAdvice(ENOENT), "");
  EXPECT_EQ(ProcessLimitAdvice(ENOMEM), "");  // the address space is unlimited
}

}  // namespace
}  // namespace snakepit
