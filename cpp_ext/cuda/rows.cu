// Copies examples on CUDA: one launch, some blocks for each example, which end at once where it is not chosen.
#include "../rows.h"

#include "kernels.h"

namespace harden {
namespace {

constexpr int64_t PER_THREAD = 4;     // numbers that are worth a thread
constexpr int64_t MOST_PARTS = 1024;  // blocks of one example

__global__ void __launch_bounds__(THREADS) copy_chosen(const Rows rows) {
  const int64_t stride = static_cast<int64_t>(gridDim.y) * THREADS;
  for (int64_t example = blockIdx.x; example < rows.examples; example += gridDim.x) {
    if (!rows.where[example]) continue;
    float* const target = rows.target + example * rows.count;
    const float* const source = rows.source + example * rows.count;
    for (int64_t i = static_cast<int64_t>(blockIdx.y) * THREADS + threadIdx.x; i < rows.count; i += stride)
      target[i] = source[i];
  }
}

}  // namespace

const char* copy_rows_cuda(const StackValue* stack) {
  Rows rows;
  if (const char* wrong = read_rows(stack, aoti_torch_device_type_cuda(), &rows)) return wrong;
  if (rows.elements() == 0) return nullptr;
  Launch launch(rows.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  const int64_t needed = (rows.count + THREADS * PER_THREAD - 1) / (THREADS * PER_THREAD);
  const dim3 blocks(static_cast<unsigned>(rows.examples < INT32_MAX ? rows.examples : INT32_MAX),
                    static_cast<unsigned>(needed < MOST_PARTS ? needed : MOST_PARTS));
  copy_chosen<<<blocks, THREADS, 0, launch.stream()>>>(rows);
  return launch.launched();
}

}  // namespace harden
