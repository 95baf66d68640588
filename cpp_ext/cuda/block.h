// Sums and maxima over the threads of a block.
#pragma once

#include "kernels.h"

namespace harden {

constexpr int WARP = 32;

// The sum of all threads' values, in every thread. Its order is fixed, so the same input gives the same bits.
__device__ inline double block_sum(double value) {
  __shared__ double parts[THREADS / WARP];
  for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = value;
  __syncthreads();
  double sum = 0.0;
  for (int warp = 0; warp < THREADS / WARP; ++warp) sum += parts[warp];
  __syncthreads();  // the next call overwrites `parts`
  return sum;
}

// The largest of all threads' values, in every thread.
__device__ inline double block_max(double value) {
  __shared__ double parts[THREADS / WARP];
  for (int offset = WARP / 2; offset > 0; offset /= 2) {
    const double other = __shfl_down_sync(0xffffffffu, value, offset);
    value = other > value ? other : value;
  }
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = value;
  __syncthreads();
  double largest = parts[0];
  for (int warp = 1; warp < THREADS / WARP; ++warp) largest = parts[warp] > largest ? parts[warp] : largest;
  __syncthreads();  // the next call overwrites `parts`
  return largest;
}

}  // namespace harden
