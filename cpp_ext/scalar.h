// Scalar arithmetic that host and device share: what it takes to round in a chosen direction and to distrust NaN.
//
// Needs IEEE 754 arithmetic as written: no fast-math, no contraction to fused multiply-add (see CMakeLists.txt).
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define HARDEN_HD __host__ __device__ __forceinline__
#else
#define HARDEN_HD inline __attribute__((always_inline))
#endif

namespace harden {

// Bits of negative floats count downwards: mirrored below zero, they are ordered as the numbers are, and both zeros are
// 0. Doing it twice undoes it. Without a comparison, for which compilers would carry a mask along.
HARDEN_HD int32_t mirrored(int32_t bits) {
  const int32_t negative = bits >> 31;
  return (bits ^ (negative & INT32_MAX)) - negative;
}

// The float32 number that lies `steps` numbers above `value`, for steps in {-1, 0, 1}. Both zeros count as one
// number. Branchless on the bits, so that compilers vectorise it (nextafterf is a call). Not for NaN or infinity.
HARDEN_HD float shifted(float value, int32_t steps) {
  int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits = mirrored(mirrored(bits) + steps);
  memcpy(&value, &bits, sizeof bits);
  return value;
}

// |value|, on the bits for the same reason.
HARDEN_HD double magnitude(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= UINT64_MAX >> 1;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// (a + b) - total exactly, for total = fl(a + b): the TwoSum of Knuth. NaN where the sum overflowed.
HARDEN_HD float sum_error(float a, float b, float total) {
  const float part = total - a;
  return (a - (total - part)) + (b - part);
}

// Limits from below, then from above; NaN stays NaN.
HARDEN_HD float clamped(float value, float low, float high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

// A pixel inside the box. A zero comes out as +0.0: -0.0 is the same number with other bits.
HARDEN_HD float pixel(float value, float low, float high) { return clamped(value, low, high) + 0.0f; }

// An eps that is not a number of at least 0 allows no perturbation.
HARDEN_HD float allowance(float eps) { return eps > 0.0f ? eps : 0.0f; }

// The upper half of a float32.
struct Bfloat16 {
  uint16_t bits;
};

// The float32 of the same value: exact. What a network computes in is read through this.
HARDEN_HD float widened(float value) { return value; }
HARDEN_HD float widened(Bfloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float wide;
  memcpy(&wide, &bits, sizeof wide);
  return wide;
}

// The nearest bfloat16, to even at a tie; not for NaN. The tag says which type is wanted.
HARDEN_HD float narrowed(float value, float) { return value; }
HARDEN_HD Bfloat16 narrowed(float value, Bfloat16) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return {static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}

HARDEN_HD bool is_finite(float value) { return value - value == 0.0f; }

}  // namespace harden
