// PeakMemory: the peak growth of this process's memory since a moment.
#ifndef SNAKEPIT_TESTING_PEAK_MEMORY_H_
#define SNAKEPIT_TESTING_PEAK_MEMORY_H_

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace snakepit {

class PeakMemory {
 public:
  PeakMemory() {
    malloc_trim(0);  // else memory that was freed before could be reused unseen
    std::ofstream clear("/proc/self/clear_refs");
    EXPECT_TRUE(clear << "5" << std::flush) << "the peak cannot be set back";
    before_ = PeakBytes();
  }

  int64_t Growth() const { return PeakBytes() - before_; }

 private:
  static int64_t PeakBytes() {
    std::ifstream status("/proc/self/status");
    for (std::string name; status >> name;) {
      int64_t kib = 0;
      if (name == "VmHWM:" && status >> kib) return kib * 1024;
    }
    ADD_FAILURE() << "there is no VmHWM in /proc/self/status";
    return 0;
  }

  int64_t before_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TESTING_PEAK_MEMORY_H_
