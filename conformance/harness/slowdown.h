// Slowdown: the speed of this machine, here and now, beside that of the calibration machine.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_SLOWDOWN_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_SLOWDOWN_H_

namespace snakepit::conformance {

// Measures the factor, 1 to 20. Takes about 30 ms times the factor.
double MeasureSlowdown();

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_SLOWDOWN_H_
