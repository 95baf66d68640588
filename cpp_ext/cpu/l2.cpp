// The L2 step on the CPU: whole examples, split over torch's threads.
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

}  // namespace

const char* l2_step_cpu(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cpu(), false, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  if (step.example_elements() > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  const int64_t grain = step.example_elements() < GRAIN ? GRAIN / step.example_elements() : 1;
  const RangeBody run = step.grad_is_bfloat16 ? body<Bfloat16> : body<float>;
  return torch_parallel_for(0, step.examples, grain, run, &step) ? "torch's threads did not run" : nullptr;
}

}  // namespace harden
