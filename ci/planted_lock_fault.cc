// A use of a guarded member without its lock, which locks_test has to find.
#include "src/base/mutex.h"

namespace snakepit {

class PlantedLockFault {
 public:
  void Add() { ++count_; }

 private:
  Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

void UsePlantedLockFault() { PlantedLockFault().Add(); }

}  // namespace snakepit
