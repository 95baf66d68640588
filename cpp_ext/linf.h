// One element of a signed gradient step, with or without momentum, and its exact projection onto the L-inf ball and the
// box.
#pragma once

#include "momentum.h"
#include "scalar.h"

namespace harden {

struct Limits {
  float lower;
  float upper;
};

// The outermost float32 numbers inside the rational interval [x - eps, x + eps], both brought into [low, high]. So
// |result - x| <= eps holds with no tolerance for x in the box, and the box wins where it and the ball do not meet.
HARDEN_HD Limits linf_limits(float x, float eps, float low, float high) {
  eps = allowance(eps);
  float lower = x - eps;
  float upper = x + eps;
  // Rounded to nearest, a limit may lie outside by less than one unit in the last place: one step brings it in.
  // A limit of zero is never moved, for a sum that rounds to zero is zero. After an overflow the error is NaN and
  // the limit stays infinite, which the box then replaces.
  lower = shifted(lower, sum_error(x, -eps, lower) > 0.0f ? 1 : 0);
  upper = shifted(upper, sum_error(x, eps, upper) < 0.0f ? -1 : 0);
  return {clamped(lower, low, high), clamped(upper, low, high)};
}

// Within the limits; x where there is no number.
HARDEN_HD float linf_projected(float value, float x, Limits within) {
  return pixel(value != value ? x : value, within.lower, within.upper);
}

// x_adv + alpha sign(grad), projected.
HARDEN_HD float linf_moved(float x_adv, float x, float grad, float alpha, Limits within) {
  const float step = grad > 0.0f ? alpha : (grad < 0.0f ? -alpha : 0.0f);
  return linf_projected(x_adv + step, x, within);
}

HARDEN_HD float linf_step(float x_adv, float x, float grad, float alpha, float eps, float low, float high) {
  return linf_moved(x_adv, x, grad, alpha, linf_limits(x, eps, low, high));
}

// x_adv moved along the gradient, mixed with the points before it (momentum.h) and projected again.
HARDEN_HD float apgd_linf_step(float x_adv, float before, float x, float grad, float alpha, float eps, float share,
                               float low, float high) {
  const Limits within = linf_limits(x, eps, low, high);
  const float z = linf_moved(x_adv, x, grad, alpha, within);
  return share == 1.0f ? z : linf_projected(mixed(z, x_adv, before, share), x, within);
}

}  // namespace harden
