// The L2 steps on the CPU: whole examples, split over torch's threads.
#include "../l2.h"

#include "kernels.h"
#include "lanes.h"

namespace harden {
namespace {

template <class Gradient>
HARDEN_CLONES double grad_squares(const Gradient* __restrict grad, int64_t n) {
  Lanes lanes;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) {
      const double value = direction(widened(grad[i + lane]));
      lanes.sum[lane] += value * value;
    }
  for (; i < n; ++i) {
    const double value = direction(widened(grad[i]));
    lanes.sum[i % LANES] += value * value;
  }
  return lanes.total();
}

// Writes y into x_adv and returns |y - x|^2.
template <class Gradient>
HARDEN_CLONES double move(float* __restrict x_adv, const float* __restrict x, const Gradient* __restrict grad,
                          int64_t n, double scale) {
  Lanes lanes;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) {
      const float y = l2_moved(x_adv[i + lane], x[i + lane], widened(grad[i + lane]), scale);
      const double delta = difference(y, x[i + lane]);
      x_adv[i + lane] = y;
      lanes.sum[lane] += delta * delta;
    }
  for (; i < n; ++i) {
    x_adv[i] = l2_moved(x_adv[i], x[i], widened(grad[i]), scale);
    const double delta = difference(x_adv[i], x[i]);
    lanes.sum[i % LANES] += delta * delta;
  }
  return lanes.total();
}

HARDEN_CLONES void project(float* __restrict x_adv, const float* __restrict x, int64_t n, Projection onto, float low,
                           float high) {
  for (int64_t i = 0; i < n; ++i) x_adv[i] = l2_projected(x_adv[i], x[i], onto, low, high);
}

// |y - x|^2 of the y that `move` would write.
template <class Gradient>
HARDEN_CLONES double moved_squares(const float* __restrict x_adv, const float* __restrict x,
                                   const Gradient* __restrict grad, int64_t n, double scale) {
  Lanes lanes;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) {
      const float y = l2_moved(x_adv[i + lane], x[i + lane], widened(grad[i + lane]), scale);
      const double delta = difference(y, x[i + lane]);
      lanes.sum[lane] += delta * delta;
    }
  for (; i < n; ++i) {
    const double delta = difference(l2_moved(x_adv[i], x[i], widened(grad[i]), scale), x[i]);
    lanes.sum[i % LANES] += delta * delta;
  }
  return lanes.total();
}

// Writes that y to a buffer of its own.
template <class Gradient>
HARDEN_CLONES void move_to(float* __restrict y, const float* __restrict x_adv, const float* __restrict x,
                           const Gradient* __restrict grad, int64_t n, double scale) {
  for (int64_t i = 0; i < n; ++i) y[i] = l2_moved(x_adv[i], x[i], widened(grad[i]), scale);
}

// Writes the mixture m into x_adv and what was there into `before`, and adds (m - x)^2 to the lanes.
HARDEN_CLONES void mix(float* __restrict x_adv, float* __restrict before, const float* __restrict x,
                       const float* __restrict z, int64_t n, float share, Lanes* lanes) {
  Lanes local = *lanes;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) {
      const float now = x_adv[i + lane];
      const float m = l2_mixed(z[i + lane], now, before[i + lane], x[i + lane], share);
      const double delta = difference(m, x[i + lane]);
      x_adv[i + lane] = m;
      before[i + lane] = now;
      local.sum[lane] += delta * delta;
    }
  for (; i < n; ++i) {
    const float now = x_adv[i];
    x_adv[i] = l2_mixed(z[i], now, before[i], x[i], share);
    before[i] = now;
    const double delta = difference(x_adv[i], x[i]);
    local.sum[i % LANES] += delta * delta;
  }
  *lanes = local;
}

template <class Gradient>
void body(int64_t begin, int64_t end, void* context) {
  const Step& step = *static_cast<const Step*>(context);
  const int64_t n = step.example_elements();
  for (int64_t example = begin; example < end; ++example) {
    float* const x_adv = step.x_adv + example * n;
    const float* const x = step.x + example * n;
    const Gradient* const grad = step.gradient<Gradient>() + example * n;
    const float alpha = step.alpha.data[example * step.alpha.example_stride];
    const float eps = step.eps.data[example * step.eps.example_stride];
    const double scale = step_scale(alpha, __builtin_sqrt(grad_squares(grad, n)));
    const double length = __builtin_sqrt(move(x_adv, x, grad, n, scale));
    project(x_adv, x, n, projection(eps, length), step.low, step.high);
  }
}

struct Heavy {
  Step step;
  Momentum momentum;
};

// Moves, projects, mixes and returns |m - x|^2. z is made a second time, after its length is known, and in rows that stay
// in the nearest cache: by itself each loop keeps to the processor's registers, all in one would not.
template <class Gradient>
double mix_example(float* x_adv, float* before, const float* x, const Gradient* grad, int64_t n, double scale,
                   float eps, float share, float low, float high) {
  constexpr int64_t ROW = 512;  // of whole lanes
  const Projection onto = projection(eps, __builtin_sqrt(moved_squares(x_adv, x, grad, n, scale)));
  float z[ROW];
  Lanes lanes;
  for (int64_t i = 0; i < n; i += ROW) {
    const int64_t length = n - i < ROW ? n - i : ROW;
    move_to(z, x_adv + i, x + i, grad + i, length, scale);
    project(z, x + i, length, onto, low, high);
    mix(x_adv + i, before + i, x + i, z, length, share, &lanes);
  }
  return lanes.total();
}

template <class Gradient>
void heavy_body(int64_t begin, int64_t end, void* context) {
  const Heavy& heavy = *static_cast<const Heavy*>(context);
  const Step& step = heavy.step;
  const int64_t n = step.example_elements();
  const float share = *heavy.momentum.share;
  for (int64_t example = begin; example < end; ++example) {
    float* const x_adv = step.x_adv + example * n;
    float* const before = heavy.momentum.before + example * n;
    const float* const x = step.x + example * n;
    const Gradient* const grad = step.gradient<Gradient>() + example * n;
    const float alpha = step.alpha.data[example * step.alpha.example_stride];
    const float eps = step.eps.data[example * step.eps.example_stride];
    const double scale = step_scale(alpha, __builtin_sqrt(grad_squares(grad, n)));
    if (share == 1.0f) memcpy(before, x_adv, static_cast<size_t>(n) * sizeof(float));
    const double squares =
        share == 1.0f ? move(x_adv, x, grad, n, scale)
                      : mix_example(x_adv, before, x, grad, n, scale, eps, share, step.low, step.high);
    project(x_adv, x, n, projection(eps, __builtin_sqrt(squares)), step.low, step.high);
  }
}

int64_t grain_of(const Step& step) {
  return step.example_elements() < GRAIN ? GRAIN / step.example_elements() : 1;
}

}  // namespace

const char* l2_step_cpu(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cpu(), false, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  if (step.example_elements() > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  const RangeBody run = step.grad_is_bfloat16 ? body<Bfloat16> : body<float>;
  return torch_parallel_for(0, step.examples, grain_of(step), run, &step) ? "torch's threads did not run" : nullptr;
}

const char* apgd_l2_step_cpu(const StackValue* stack) {
  Heavy heavy;
  const Step& step = heavy.step;
  if (const char* wrong =
          read_momentum_step(stack, aoti_torch_device_type_cpu(), false, &heavy.step, &heavy.momentum))
    return wrong;
  if (step.elements() == 0) return nullptr;
  if (step.example_elements() > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  const RangeBody run = step.grad_is_bfloat16 ? heavy_body<Bfloat16> : heavy_body<float>;
  return torch_parallel_for(0, step.examples, grain_of(step), run, &heavy) ? "torch's threads did not run" : nullptr;
}

}  // namespace harden
