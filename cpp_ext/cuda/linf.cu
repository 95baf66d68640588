// The L-inf step on CUDA: one launch over all elements, a thread for several of them.
#include "../linf.h"

#include "kernels.h"

namespace harden {
namespace {

constexpr int64_t MOST_BLOCKS = 1 << 16;

__device__ float value(const Values& values, int64_t example, int64_t channel) {
  return values.data[example * values.example_stride + channel * values.channel_stride];
}

// `SINGLE`: alpha and eps have one element each, so that no index needs a division.
template <bool SINGLE, class Gradient>
__global__ void __launch_bounds__(THREADS) step_all(const Step step) {
  const int64_t elements = step.elements();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < elements; i += stride) {
    int64_t example = 0, channel = 0;
    if constexpr (!SINGLE) {
      example = i / step.example_elements();
      channel = step.channels_last ? i % step.channels : i / step.pixels % step.channels;
    }
    const float grad = widened(step.gradient<Gradient>()[i]);
    step.x_adv[i] = linf_step(step.x_adv[i], step.x[i], grad, value(step.alpha, example, channel),
                              value(step.eps, example, channel), step.low, step.high);
  }
}

template <class Gradient>
void launch_on(const Step& step, unsigned blocks, cudaStream_t stream) {
  if (step.alpha.single() && step.eps.single())
    step_all<true, Gradient><<<blocks, THREADS, 0, stream>>>(step);
  else
    step_all<false, Gradient><<<blocks, THREADS, 0, stream>>>(step);
}

}  // namespace

const char* linf_step_cuda(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_step(stack, aoti_torch_device_type_cuda(), true, &step)) return wrong;
  if (step.elements() == 0) return nullptr;
  Launch launch(step.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  const int64_t needed = (step.elements() + THREADS - 1) / THREADS;
  const unsigned blocks = static_cast<unsigned>(needed < MOST_BLOCKS ? needed : MOST_BLOCKS);
  if (step.grad_is_bfloat16)
    launch_on<Bfloat16>(step, blocks, launch.stream());
  else
    launch_on<float>(step, blocks, launch.stream());
  return launch.launched();
}

}  // namespace harden
