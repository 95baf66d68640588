// The mix of points from which Auto-PGD projects its next point.
#pragma once

#include "scalar.h"

namespace harden {

// z is x_adv moved along the gradient and projected; of the way there goes `share`, and 1 - share of the last way from
// `before` on: (share z + 2 (1 - share) x_adv) - (1 - share) before, each product and sum rounded. A share of 1 is z
// itself, whatever lies before; that is left to the caller, who need not mix then.
HARDEN_HD float mixed(float z, float x_adv, float before, float share) {
  const float rest = 1.0f - share, twice = 2.0f * rest;
  return (share * z + twice * x_adv) - rest * before;
}

}  // namespace harden
