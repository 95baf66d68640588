// Logarithm and exponential in float64, written out for host and device.
//
// A processor's mathematical library would bring other bits on each machine, and calls that no compiler vectorises.
// Both are within a few units in the last place of float64.
#pragma once

#include "scalar.h"

namespace harden {

HARDEN_HD double from_bits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// log(value / 2^power) for a finite value of at least sqrt(1/2).
HARDEN_HD double log_scaled(double value, int power) {
  constexpr uint64_t SQRT_HALF = 0x3FE6A09E667F3BCDu;  // the bits of sqrt(1/2)
  constexpr uint64_t TWO_TO_52 = 0x4330000000000000u;
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  // value = m 2^e with m in [sqrt(1/2), sqrt(2)); e is at least 0, and put below the bits of 2^52 it is a number.
  const uint64_t e = (bits - SQRT_HALF) >> 52;
  const double m = from_bits(bits - (e << 52));
  const double exponent = from_bits(TWO_TO_52 | e) - (0x1p52 + power);
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

// exp(x) for x <= 0, minus infinity included; 0 below 2^-1020.
HARDEN_HD double exp_negative(double x) {
  constexpr double LEAST = -707.0, ROUNDER = 0x1.8p52;  // adding ROUNDER leaves an integer in the lower bits
  const double inside = x < LEAST ? LEAST : x;
  const double shifted_k = inside * 1.44269504088896340736 + ROUNDER;
  const double k = shifted_k - ROUNDER;
  // ln 2 in two parts, the first with so few bits that k times it is exact. Then |r| <= ln(2) / 2.
  const double r = (inside - k * 0x1.62e42fefap-1) - k * 0x1.cf79abc9e3b3ap-40;
  double sum = 1.0 / 6227020800.0;
  sum = sum * r + 1.0 / 479001600.0;
  sum = sum * r + 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  uint64_t bits;
  memcpy(&bits, &shifted_k, sizeof bits);
  const double power = from_bits((bits + 1023) << 52);
  return x < LEAST ? 0.0 : sum * power;
}

}  // namespace harden
