// The L-inf steps on the CPU: runs of elements that share alpha and eps, split over torch's threads.
#include "../linf.h"

#include "walk.h"

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

template <class Gradient>
HARDEN_CLONES void run_with_momentum(float* __restrict x_adv, float* __restrict before, const float* __restrict x,
                                     const Gradient* __restrict grad, int64_t n, float alpha, float eps, float share,
                                     float low, float high) {
  for (int64_t i = 0; i < n; ++i) {
    const float now = x_adv[i];
    x_adv[i] = apgd_linf_step(now, before[i], x[i], widened(grad[i]), alpha, eps, share, low, high);
    before[i] = now;
  }
}

template <class Gradient>
HARDEN_CLONES void run_each_with_momentum(float* __restrict x_adv, float* __restrict before,
                                          const float* __restrict x, const Gradient* __restrict grad, int64_t n,
                                          const float* __restrict alpha, const float* __restrict eps, float share,
                                          float low, float high) {
  for (int64_t i = 0; i < n; ++i) {
    const float now = x_adv[i];
    x_adv[i] = apgd_linf_step(now, before[i], x[i], widened(grad[i]), alpha[i], eps[i], share, low, high);
    before[i] = now;
  }
}

template <class Gradient>
struct Plain {
  const Step& step;

  void run(int64_t start, int64_t n, float alpha, float eps) const {
    harden::run(step.x_adv + start, step.x + start, step.gradient<Gradient>() + start, n, alpha, eps, step.low,
                step.high);
  }
  void run_each(int64_t start, int64_t n, const float* alpha, const float* eps) const {
    harden::run_each(step.x_adv + start, step.x + start, step.gradient<Gradient>() + start, n, alpha, eps, step.low,
                     step.high);
  }
};

struct Heavy {
  Step step;
  Momentum momentum;
};

template <class Gradient>
struct WithMomentum {
  const Step& step;
  const Momentum& momentum;

  void run(int64_t start, int64_t n, float alpha, float eps) const {
    run_with_momentum(step.x_adv + start, momentum.before + start, step.x + start, step.gradient<Gradient>() + start,
                      n, alpha, eps, *momentum.share, step.low, step.high);
  }
  void run_each(int64_t start, int64_t n, const float* alpha, const float* eps) const {
    run_each_with_momentum(step.x_adv + start, momentum.before + start, step.x + start,
                           step.gradient<Gradient>() + start, n, alpha, eps, *momentum.share, step.low, step.high);
  }
};

template <class Gradient>
void body(int64_t begin, int64_t end, void* context) {
  const Step& step = *static_cast<const Step*>(context);
  walk(Plain<Gradient>{step}, step, begin, end);
}

template <class Gradient>
void heavy_body(int64_t begin, int64_t end, void* context) {
  const Heavy& heavy = *static_cast<const Heavy*>(context);
  walk(WithMomentum<Gradient>{heavy.step, heavy.momentum}, heavy.step, begin, end);
}

}  // namespace

const char* linf_step_cpu(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cpu(), true, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  const RangeBody run = step.grad_is_bfloat16 ? body<Bfloat16> : body<float>;
  return torch_parallel_for(0, step.elements(), GRAIN, run, &step) ? "torch's threads did not run" : nullptr;
}

const char* apgd_linf_step_cpu(const StackValue* stack) {
  Heavy heavy;
  if (const char* wrong =
          read_momentum_step(stack, aoti_torch_device_type_cpu(), true, &heavy.step, &heavy.momentum))
    return wrong;
  const int64_t elements = heavy.step.elements();
  if (elements == 0) return nullptr;
  const RangeBody run = heavy.step.grad_is_bfloat16 ? heavy_body<Bfloat16> : heavy_body<float>;
  return torch_parallel_for(0, elements, GRAIN, run, &heavy) ? "torch's threads did not run" : nullptr;
}

}  // namespace harden
