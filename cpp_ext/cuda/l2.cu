// The L2 steps on CUDA: one launch, one block for each example.
#include "../l2.h"

#include "block.h"

namespace harden {
namespace {

template <class Gradient>
__global__ void __launch_bounds__(THREADS) step_examples(const Step step) {
  const int64_t n = step.example_elements();
  for (int64_t example = blockIdx.x; example < step.examples; example += gridDim.x) {
    float* const x_adv = step.x_adv + example * n;
    const float* const x = step.x + example * n;
    const Gradient* const grad = step.gradient<Gradient>() + example * n;

    double squares = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const double value = direction(widened(grad[i]));
      squares += value * value;
    }
    const double scale = step_scale(step.alpha.data[example * step.alpha.example_stride], sqrt(block_sum(squares)));

    // Each thread reads back only what it wrote itself, so y may be stored in x_adv without a barrier.
    squares = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const float y = l2_moved(x_adv[i], x[i], widened(grad[i]), scale);
      const double delta = difference(y, x[i]);
      x_adv[i] = y;
      squares += delta * delta;
    }
    const Projection onto =
        projection(step.eps.data[example * step.eps.example_stride], sqrt(block_sum(squares)));

    for (int64_t i = threadIdx.x; i < n; i += THREADS)
      x_adv[i] = l2_projected(x_adv[i], x[i], onto, step.low, step.high);
  }
}

template <class Gradient>
__global__ void __launch_bounds__(THREADS) step_examples_with_momentum(const Step step, const Momentum momentum) {
  const int64_t n = step.example_elements();
  const float share = *momentum.share;
  for (int64_t example = blockIdx.x; example < step.examples; example += gridDim.x) {
    float* const x_adv = step.x_adv + example * n;
    float* const before = momentum.before + example * n;
    const float* const x = step.x + example * n;
    const Gradient* const grad = step.gradient<Gradient>() + example * n;
    const float eps = step.eps.data[example * step.eps.example_stride];

    double squares = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const double value = direction(widened(grad[i]));
      squares += value * value;
    }
    const double scale = step_scale(step.alpha.data[example * step.alpha.example_stride], sqrt(block_sum(squares)));

    squares = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const double delta = difference(l2_moved(x_adv[i], x[i], widened(grad[i]), scale), x[i]);
      squares += delta * delta;
    }
    Projection onto = projection(eps, sqrt(block_sum(squares)));

    // With a share of 1 the second projection is the first: y is stored in x_adv, as without momentum.
    squares = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const float now = x_adv[i], y = l2_moved(now, x[i], widened(grad[i]), scale);
      const float z = l2_projected(y, x[i], onto, step.low, step.high);
      const float m = share == 1.0f ? y : l2_mixed(z, now, before[i], x[i], share);
      const double delta = difference(m, x[i]);
      x_adv[i] = m;
      before[i] = now;
      squares += delta * delta;
    }
    onto = projection(eps, sqrt(block_sum(squares)));

    for (int64_t i = threadIdx.x; i < n; i += THREADS)
      x_adv[i] = l2_projected(x_adv[i], x[i], onto, step.low, step.high);
  }
}

unsigned blocks_for(const Step& step) {
  return static_cast<unsigned>(step.examples < INT32_MAX ? step.examples : INT32_MAX);
}

}  // namespace

const char* l2_step_cuda(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cuda(), false, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  if (step.example_elements() > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  Launch launch(step.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  if (step.grad_is_bfloat16)
    step_examples<Bfloat16><<<blocks_for(step), THREADS, 0, launch.stream()>>>(step);
  else
    step_examples<float><<<blocks_for(step), THREADS, 0, launch.stream()>>>(step);
  return launch.launched();
}

const char* apgd_l2_step_cuda(const StackValue* stack) {
  Step step;
  Momentum momentum;
  if (const char* wrong = read_momentum_step(stack, aoti_torch_device_type_cuda(), false, &step, &momentum))
    return wrong;
  if (step.elements() == 0) return nullptr;
  if (step.example_elements() > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  Launch launch(step.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  if (step.grad_is_bfloat16)
    step_examples_with_momentum<Bfloat16><<<blocks_for(step), THREADS, 0, launch.stream()>>>(step, momentum);
  else
    step_examples_with_momentum<float><<<blocks_for(step), THREADS, 0, launch.stream()>>>(step, momentum);
  return launch.launched();
}

}  // namespace harden
