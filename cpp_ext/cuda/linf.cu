// The L-inf steps on CUDA: one launch over all elements, a thread for several of them.
#include "../linf.h"

#include "kernels.h"

namespace harden {
namespace {

constexpr int64_t MOST_BLOCKS = 1 << 16;

__device__ float value(const Values& values, int64_t example, int64_t channel) {
  return values.data[example * values.example_stride + channel * values.channel_stride];
}

struct Sizes {
  float alpha;
  float eps;
};

// `SINGLE`: alpha and eps have one element each, so that no index needs a division.
template <bool SINGLE>
__device__ Sizes sizes_at(const Step& step, int64_t i) {
  int64_t example = 0, channel = 0;
  if constexpr (!SINGLE) {
    example = i / step.example_elements();
    channel = step.channels_last ? i % step.channels : i / step.pixels % step.channels;
  }
  return {value(step.alpha, example, channel), value(step.eps, example, channel)};
}

template <bool SINGLE, class Gradient>
__global__ void __launch_bounds__(THREADS) step_all(const Step step) {
  const int64_t elements = step.elements();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += stride) {
    const Sizes sizes = sizes_at<SINGLE>(step, i);
    const float grad = widened(step.gradient<Gradient>()[i]);
    step.x_adv[i] = linf_step(step.x_adv[i], step.x[i], grad, sizes.alpha, sizes.eps, step.low, step.high);
  }
}

template <bool SINGLE, class Gradient>
__global__ void __launch_bounds__(THREADS) step_all_with_momentum(const Step step, const Momentum momentum) {
  const int64_t elements = step.elements();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += stride) {
    const Sizes sizes = sizes_at<SINGLE>(step, i);
    const float grad = widened(step.gradient<Gradient>()[i]), now = step.x_adv[i];
    step.x_adv[i] = apgd_linf_step(now, momentum.before[i], step.x[i], grad, sizes.alpha, sizes.eps, *momentum.share,
                                   step.low, step.high);
    momentum.before[i] = now;
  }
}

template <class Gradient>
void launch_on(const Step& step, unsigned blocks, cudaStream_t stream) {
  if (step.alpha.single() && step.eps.single())
    step_all<true, Gradient><<<blocks, THREADS, 0, stream>>>(step);
  else
    step_all<false, Gradient><<<blocks, THREADS, 0, stream>>>(step);
}

template <class Gradient>
void launch_with_momentum(const Step& step, const Momentum& momentum, unsigned blocks, cudaStream_t stream) {
  if (step.alpha.single() && step.eps.single())
    step_all_with_momentum<true, Gradient><<<blocks, THREADS, 0, stream>>>(step, momentum);
  else
    step_all_with_momentum<false, Gradient><<<blocks, THREADS, 0, stream>>>(step, momentum);
}

unsigned blocks_for(const Step& step) {
  const int64_t needed = (step.elements() + THREADS - 1) / THREADS;
  return static_cast<unsigned>(needed < MOST_BLOCKS ? needed : MOST_BLOCKS);
}

}  // namespace

const char* linf_step_cuda(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cuda(), true, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  Launch launch(step.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  if (step.grad_is_bfloat16)
    launch_on<Bfloat16>(step, blocks_for(step), launch.stream());
  else
    launch_on<float>(step, blocks_for(step), launch.stream());
  return launch.launched();
}

const char* apgd_linf_step_cuda(const StackValue* stack) {
  Step step;
  Momentum momentum;
  if (const char* wrong = read_momentum_step(stack, aoti_torch_device_type_cuda(), true, &step, &momentum))
    return wrong;
  if (step.elements() == 0) return nullptr;
  Launch launch(step.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  if (step.grad_is_bfloat16)
    launch_with_momentum<Bfloat16>(step, momentum, blocks_for(step), launch.stream());
  else
    launch_with_momentum<float>(step, momentum, blocks_for(step), launch.stream());
  return launch.launched();
}

}  // namespace harden
