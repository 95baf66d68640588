// Iteration of an operation on single elements over a batch: in runs that share alpha and eps.
#pragma once

#include "kernels.h"

namespace harden {

// The operation offers
//   run(start, n, alpha, eps)        for n elements in memory order from `start` on, alpha and eps being numbers;
//   run_each(start, n, alpha, eps)   the same with alpha and eps of each element.

// Elements [begin, end) in memory order, cut at every multiple of `length`: what lies between shares alpha and eps.
template <class Kernel>
void in_runs(const Kernel& kernel, const Step& step, int64_t begin, int64_t end, int64_t length) {
  for (int64_t start = begin; start < end;) {
    const int64_t stop = (start / length + 1) * length < end ? (start / length + 1) * length : end;
    const int64_t example = start / step.example_elements();
    const int64_t channel = start / step.pixels % step.channels;
    kernel.run(start, stop - start,
               step.alpha.data[example * step.alpha.example_stride + channel * step.alpha.channel_stride],
               step.eps.data[example * step.eps.example_stride + channel * step.eps.channel_stride]);
    start = stop;
  }
}

// Writes alpha and eps of each of the `n` elements from `start` on, where neighbours belong to different channels.
inline void spread(const Step& step, int64_t start, int64_t n, float* alpha, float* eps) {
  int64_t example = start / step.example_elements();
  int64_t channel = start % step.channels;
  int64_t left = (example + 1) * step.example_elements() - start;
  for (int64_t i = 0; i < n; ++i) {
    alpha[i] = step.alpha.data[example * step.alpha.example_stride + channel * step.alpha.channel_stride];
    eps[i] = step.eps.data[example * step.eps.example_stride + channel * step.eps.channel_stride];
    if (++channel == step.channels) channel = 0;
    if (--left == 0) {
      ++example;
      left = step.example_elements();
    }
  }
}

// Elements [begin, end) in memory order, in rows that all start with the same channel where there are few channels.
template <class Kernel>
void in_pixels(const Kernel& kernel, const Step& step, int64_t begin, int64_t end) {
  constexpr int64_t MOST = 512;
  float alpha[MOST], eps[MOST];
  const bool periodic = step.channels <= MOST && step.alpha.example_stride == 0 && step.eps.example_stride == 0;
  const int64_t row = periodic ? MOST - MOST % step.channels : MOST;
  for (int64_t start = begin; start < end; start += row) {
    const int64_t n = end - start < row ? end - start : row;
    if (start == begin || !periodic) spread(step, start, n, alpha, eps);
    kernel.run_each(start, n, alpha, eps);
  }
}

// Elements [begin, end) in memory order.
template <class Kernel>
void walk(const Kernel& kernel, const Step& step, int64_t begin, int64_t end) {
  const bool per_channel = step.alpha.channel_stride != 0 || step.eps.channel_stride != 0;
  if (per_channel && step.channels_last)
    in_pixels(kernel, step, begin, end);
  else if (per_channel)
    in_runs(kernel, step, begin, end, step.pixels);
  else if (step.alpha.single() && step.eps.single())
    in_runs(kernel, step, begin, end, step.elements());
  else
    in_runs(kernel, step, begin, end, step.example_elements());
}

}  // namespace harden
