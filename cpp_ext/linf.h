// One element of a signed gradient step and its exact projection onto the L-inf ball and the box.
#pragma once

#include "scalar.h"

namespace harden {

// Returns min(max(x_adv + alpha sign(grad), l), u): l and u are the outermost float32 numbers inside the rational
// interval [x - eps, x + eps], both brought into [low, high]. So |result - x| <= eps holds with no tolerance for x in
// the box, and the box wins where it and the ball do not meet.
HARDEN_HD float linf_step(float x_adv, float x, float grad, float alpha, float eps, float low, float high) {
  eps = allowance(eps);
  float lower = x - eps;
  float upper = x + eps;
  // Rounded to nearest, a limit may lie outside by less than one unit in the last place: one step brings it in.
  // A limit of zero is never moved, for a sum that rounds to zero is zero. After an overflow the error is NaN and
  // the limit stays infinite, which the box then replaces.
  lower = shifted(lower, sum_error(x, -eps, lower) > 0.0f ? 1 : 0);
  upper = shifted(upper, sum_error(x, eps, upper) < 0.0f ? -1 : 0);
  lower = clamped(lower, low, high);
  upper = clamped(upper, low, high);
  const float step = grad > 0.0f ? alpha : (grad < 0.0f ? -alpha : 0.0f);
  float moved = x_adv + step;
  moved = moved != moved ? x : moved;
  return pixel(moved, lower, upper);
}

}  // namespace harden
