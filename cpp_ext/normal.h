// A pair of normal numbers from two words, by the transform of Box and Muller.
//
// Logarithm, cosine and sine are written out in float64, for arguments that are fractions k / 2^24: a processor's
// mathematical library would bring other bits on each machine, and calls that no compiler vectorises. Each is within a
// few units in the last place of float64, far below the float32 that the result is rounded to.
#pragma once

#include "philox.h"

namespace harden {

// log(k / 2^24) for k in [1, 2^24].
HARDEN_HD double log_fraction(int32_t k) {
  constexpr uint64_t SQRT_HALF = 0x3FE6A09E667F3BCDu;  // the bits of sqrt(1/2)
  constexpr uint64_t TWO_TO_52 = 0x4330000000000000u;
  const double value = static_cast<double>(k);
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  // k = m 2^e with m in [sqrt(1/2), sqrt(2)); e is at least 0, and its bits below those of 2^52 make it a number.
  const uint64_t e = (bits - SQRT_HALF) >> 52;
  const uint64_t m_bits = bits - (e << 52), e_bits = TWO_TO_52 | e;
  double m, exponent;
  memcpy(&m, &m_bits, sizeof m);
  memcpy(&exponent, &e_bits, sizeof exponent);
  exponent -= 0x1p52 + 24.0;
  // log m = 2 artanh s, s = (m - 1) / (m + 1); |s| < 0.172, so the first term left out is below 2^-56 of the sum.
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double sum = 1.0 / 21.0;
  sum = sum * z + 1.0 / 19.0;
  sum = sum * z + 1.0 / 17.0;
  sum = sum * z + 1.0 / 15.0;
  sum = sum * z + 1.0 / 13.0;
  sum = sum * z + 1.0 / 11.0;
  sum = sum * z + 1.0 / 9.0;
  sum = sum * z + 1.0 / 7.0;
  sum = sum * z + 1.0 / 5.0;
  sum = sum * z + 1.0 / 3.0;
  sum = sum * z + 1.0;
  return exponent * 0.693147180559945309417 + 2.0 * s * sum;
}

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
  const double radius = __builtin_sqrt(-2.0 * log_fraction(fraction(for_radius) + 1));
  const Pair direction = cosine_sine(fraction(for_angle));
  return {radius * direction.first, radius * direction.second};
}

}  // namespace harden
