// Await: a wait for a condition whose change no event tells.
#ifndef SNAKEPIT_BASE_TESTING_AWAIT_H_
#define SNAKEPIT_BASE_TESTING_AWAIT_H_

#include <chrono>
#include <thread>

namespace snakepit::testing {

// Looks again and again. False when the condition does not hold within the limit.
template <typename Condition>
bool Await(const Condition& condition,
           std::chrono::steady_clock::duration limit = std::chrono::seconds(30)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace snakepit::testing

#endif  // SNAKEPIT_BASE_TESTING_AWAIT_H_
