// Filling by draws on CUDA: one launch, a thread for a block of four numbers, or for a pair of normal ones.
#include "../draws.h"

#include "../normal.h"
#include "kernels.h"

namespace harden {
namespace {

constexpr int64_t MOST_BLOCKS = 1 << 16;

__global__ void __launch_bounds__(THREADS) fill_uniform(const Fill fill, int64_t each) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < fill.examples * each; i += stride) {
    const int64_t example = i / each, block = i % each;
    const Words words =
        philox(static_cast<uint32_t>(block), static_cast<uint64_t>(fill.ids[example]), fill.seed);
    float* const out = fill.out + example * fill.count;
    for (int lane = 0; lane < 4; ++lane)
      if (4 * block + lane < fill.count) out[4 * block + lane] = uniform(words.word[lane]);
  }
}

__device__ uint32_t word(int64_t index, uint64_t id, uint64_t seed) {
  const Words words = philox(static_cast<uint32_t>(index / 4), id, seed);
  const int lane = static_cast<int>(index % 4);
  return lane < 2 ? (lane == 0 ? words.word[0] : words.word[1]) : (lane == 2 ? words.word[2] : words.word[3]);
}

__global__ void __launch_bounds__(THREADS) fill_normal(const Fill fill, int64_t half) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < fill.examples * half; i += stride) {
    const int64_t example = i / half, j = i % half;
    const uint64_t id = static_cast<uint64_t>(fill.ids[example]);
    const Pair pair = normal_pair(word(j, id, fill.seed), word(half + j, id, fill.seed));
    float* const out = fill.out + example * fill.count;
    out[j] = static_cast<float>(pair.first);
    if (half + j < fill.count) out[half + j] = static_cast<float>(pair.second);
  }
}

const char* run(const StackValue* stack, bool normal) {
  Fill fill;
  if (const char* wrong = read_fill(stack, aoti_torch_device_type_cuda(), &fill)) return wrong;
  if (fill.elements() == 0) return nullptr;
  Launch launch(fill.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  const int64_t each = normal ? (fill.count + 1) / 2 : (fill.count + 3) / 4;
  const int64_t needed = (fill.examples * each + THREADS - 1) / THREADS;
  const unsigned blocks = static_cast<unsigned>(needed < MOST_BLOCKS ? needed : MOST_BLOCKS);
  if (normal)
    fill_normal<<<blocks, THREADS, 0, launch.stream()>>>(fill, each);
  else
    fill_uniform<<<blocks, THREADS, 0, launch.stream()>>>(fill, each);
  return launch.launched();
}

}  // namespace

const char* fill_uniform_cuda(const StackValue* stack) { return run(stack, false); }
const char* fill_normal_cuda(const StackValue* stack) { return run(stack, true); }

}  // namespace harden
