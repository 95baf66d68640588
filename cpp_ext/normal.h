// A pair of normal numbers from two words, by the transform of Box and Muller.
//
// Logarithm, cosine and sine are within a few units in the last place of float64, far below the float32 that the
// result is rounded to.
#pragma once

#include "elementary.h"
#include "philox.h"

namespace harden {

struct Pair {
  double first;
  double second;
};

// Cosine and sine of 2 pi k / 2^24, for k in [0, 2^24).
HARDEN_HD Pair cosine_sine(int32_t k) {
  // The nearest quarter turn, and what is left of at most an eighth: exact. The series end below 2^-54.
  const int32_t quarter = (k + (1 << 21)) >> 22;
  const double t = static_cast<double>(k - (quarter << 22)) * (6.28318530717958647693 * 0x1p-24), z = t * t;
  double sine = -1.0 / 1307674368000.0;
  sine = sine * z + 1.0 / 6227020800.0;
  sine = sine * z - 1.0 / 39916800.0;
  sine = sine * z + 1.0 / 362880.0;
  sine = sine * z - 1.0 / 5040.0;
  sine = sine * z + 1.0 / 120.0;
  sine = sine * z - 1.0 / 6.0;
  sine = t + t * (z * sine);
  double cosine = 1.0 / 20922789888000.0;
  cosine = cosine * z - 1.0 / 87178291200.0;
  cosine = cosine * z + 1.0 / 479001600.0;
  cosine = cosine * z - 1.0 / 3628800.0;
  cosine = cosine * z + 1.0 / 40320.0;
  cosine = cosine * z - 1.0 / 720.0;
  cosine = cosine * z + 1.0 / 24.0;
  cosine = 1.0 - z * 0.5 + z * (z * cosine);
  const double across = quarter & 1 ? sine : cosine, along = quarter & 1 ? cosine : sine;
  return {(quarter + 1) & 2 ? -across : across, quarter & 2 ? -along : along};
}

// The logarithm's argument starts at 2^-24, not at 0, so that every number is finite.
HARDEN_HD Pair normal_pair(uint32_t for_radius, uint32_t for_angle) {
  const double radius = __builtin_sqrt(-2.0 * log_scaled(static_cast<double>(fraction(for_radius) + 1), 24));
  const Pair direction = cosine_sine(fraction(for_angle));
  return {radius * direction.first, radius * direction.second};
}

}  // namespace harden
