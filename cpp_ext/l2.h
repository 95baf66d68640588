// One element of a normalised gradient step and of the exact projection onto the L2 ball and the box.
//
// Three passes over an example: |grad|, then y = x_adv + alpha grad / |grad| with |y - x|, then the projection.
// Why sum (x' - x)^2 <= eps^2 holds as rational numbers, with u = 2^-53 and n <= 2^30 elements:
//  - Products of float32 numbers are exact in float64, and no square over- or underflows. A sum of n squares of
//    differences, each rounded to float64, is off by a factor within 1 +- (n + 4) u, its root by half of that and u
//    more: computed and true length differ by a factor within 1 +- 2^-23.9.
//  - Kept: length * KEEP <= eps, KEEP = 1 + 2^-22, so the true length is below eps.
//  - Shrunk: every element is moved to within |target| of x (shrunk_towards), with target = delta * (eps / length *
//    SHRINK), SHRINK = 1 - 2^-21. Roundings of target and of the comparison cost a factor 1 + 8 u, the length
//    1 + 2^-23.9: the result is shorter than eps (1 - 2^-21 + 2^-23.8).
//  - Its computed length is at most 1 + 2^-23.9 times that, and 1 - 2^-21 + 2^-22.8 + 2^-22 < 1: it is kept when it is
//    projected again. The clamp to a box that holds x only shortens, so projecting twice changes no bit.
#pragma once

#include "momentum.h"
#include "scalar.h"

namespace harden {

constexpr int64_t MOST_ELEMENTS = int64_t{1} << 30;
constexpr double KEEP = 1.0 + 0x1p-22;
constexpr double SHRINK = 1.0 - 0x1p-21;

// A gradient entry as a direction: what is not finite counts as zero.
HARDEN_HD double direction(float grad) { return is_finite(grad) ? static_cast<double>(grad) : 0.0; }

HARDEN_HD double step_scale(float alpha, double grad_length) {
  return grad_length > 0.0 ? static_cast<double>(alpha) / grad_length : 0.0;
}

HARDEN_HD float finite_or(float y, float x) { return is_finite(y) && is_finite(x) ? y : x; }

// y, one rounding away from x_adv + scale grad; x where that is not finite.
HARDEN_HD float l2_moved(float x_adv, float x, float grad, double scale) {
  return finite_or(static_cast<float>(static_cast<double>(x_adv) + direction(grad) * scale), x);
}

HARDEN_HD double difference(float y, float x) {
  return is_finite(x) ? static_cast<double>(y) - static_cast<double>(x) : 0.0;
}

struct Projection {
  bool keep;
  double shrink;
};

HARDEN_HD Projection projection(float eps, double length) {
  const double radius = static_cast<double>(allowance(eps));
  return {length * KEEP <= radius, radius / length * SHRINK};
}

// The float32 number nearest to x + target, one unit in the last place nearer to x where rounding had carried it past.
HARDEN_HD float shrunk_towards(float x, double target) {
  const float nearest = static_cast<float>(static_cast<double>(x) + target);
  const double moved = static_cast<double>(nearest) - static_cast<double>(x);  // NaN is not past
  const bool past = magnitude(moved) > magnitude(target);
  const int32_t towards = (nearest < x) - (nearest > x);
  return shifted(nearest, past ? towards : 0);
}

HARDEN_HD float l2_projected(float y, float x, Projection onto, float low, float high) {
  const float result = onto.keep ? y : shrunk_towards(x, difference(y, x) * onto.shrink);
  return pixel(result, low, high);
}

// The input of the second projection of Auto-PGD's step: z, which the first one returned, mixed with the points before it
// (momentum.h). A projection requires only finite input, so the proof above holds.
HARDEN_HD float l2_mixed(float z, float x_adv, float before, float x, float share) {
  return finite_or(mixed(z, x_adv, before, share), x);
}

}  // namespace harden
