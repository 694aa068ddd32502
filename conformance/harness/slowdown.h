// How much slower this machine is, here and now, than the one that the time limits were set on.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_SLOWDOWN_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_SLOWDOWN_H_

namespace snakepit::conformance {

// 1 to 20; takes some 30 ms, and longer where it is slow.
double MeasureSlowdown();

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_SLOWDOWN_H_
