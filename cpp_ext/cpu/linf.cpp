// The L-inf step on the CPU: runs of elements that share alpha and eps, split over torch's threads.
#include "../linf.h"

#include "kernels.h"

namespace harden {
namespace {

template <class Gradient>
HARDEN_CLONES void run(float* __restrict x_adv, const float* __restrict x, const Gradient* __restrict grad, int64_t n,
                       float alpha, float eps, float low, float high) {
  for (int64_t i = 0; i < n; ++i) x_adv[i] = linf_step(x_adv[i], x[i], widened(grad[i]), alpha, eps, low, high);
}

// As `run`, with alpha and eps of each element.
template <class Gradient>
HARDEN_CLONES void run_each(float* __restrict x_adv, const float* __restrict x, const Gradient* __restrict grad,
                            int64_t n, const float* __restrict alpha, const float* __restrict eps, float low,
                            float high) {
  for (int64_t i = 0; i < n; ++i) x_adv[i] = linf_step(x_adv[i], x[i], widened(grad[i]), alpha[i], eps[i], low, high);
}

// Elements [begin, end) in memory order, cut at every multiple of `length`: what lies between shares alpha and eps.
template <class Gradient>
void in_runs(const Step& step, int64_t begin, int64_t end, int64_t length) {
  for (int64_t start = begin; start < end;) {
    const int64_t stop = (start / length + 1) * length < end ? (start / length + 1) * length : end;
    const int64_t example = start / step.example_elements();
    const int64_t channel = start / step.pixels % step.channels;
    run(step.x_adv + start, step.x + start, step.gradient<Gradient>() + start, stop - start,
        step.alpha.data[example * step.alpha.example_stride + channel * step.alpha.channel_stride],
        step.eps.data[example * step.eps.example_stride + channel * step.eps.channel_stride], step.low, step.high);
    start = stop;
  }
}

// Lays alpha and eps beside the `n` elements from `start` on, where neighbours belong to different channels.
void spread(const Step& step, int64_t start, int64_t n, float* alpha, float* eps) {
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
template <class Gradient>
void in_pixels(const Step& step, int64_t begin, int64_t end) {
  constexpr int64_t MOST = 512;
  float alpha[MOST], eps[MOST];
  const bool periodic = step.channels <= MOST && step.alpha.example_stride == 0 && step.eps.example_stride == 0;
  const int64_t row = periodic ? MOST - MOST % step.channels : MOST;
  for (int64_t start = begin; start < end; start += row) {
    const int64_t n = end - start < row ? end - start : row;
    if (start == begin || !periodic) spread(step, start, n, alpha, eps);
    run_each(step.x_adv + start, step.x + start, step.gradient<Gradient>() + start, n, alpha, eps, step.low, step.high);
  }
}

template <class Gradient>
void body(int64_t begin, int64_t end, void* context) {
  const Step& step = *static_cast<const Step*>(context);
  const bool per_channel = step.alpha.channel_stride != 0 || step.eps.channel_stride != 0;
  if (per_channel && step.channels_last)
    in_pixels<Gradient>(step, begin, end);
  else if (per_channel)
    in_runs<Gradient>(step, begin, end, step.pixels);
  else if (step.alpha.single() && step.eps.single())
    in_runs<Gradient>(step, begin, end, step.elements());
  else
    in_runs<Gradient>(step, begin, end, step.example_elements());
}

}  // namespace

const char* linf_step_cpu(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cpu(), true, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  const RangeBody run = step.grad_is_bfloat16 ? body<Bfloat16> : body<float>;
  return torch_parallel_for(0, step.elements(), GRAIN, run, &step) ? "torch's threads did not run" : nullptr;
}

}  // namespace harden
