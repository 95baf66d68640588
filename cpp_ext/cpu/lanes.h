// Sums in a fixed number of lanes.
#pragma once

namespace harden {

// A sum runs in so many lanes, whatever the width of the processor's vectors: every machine and number of
// threads returns the same bits.
constexpr int LANES = 16;

struct Lanes {
  double sum[LANES] = {};

  double total() const {
    double parts[LANES];
    for (int i = 0; i < LANES; ++i) parts[i] = sum[i];
    for (int width = LANES / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
    return parts[0];
  }
};

}  // namespace harden
