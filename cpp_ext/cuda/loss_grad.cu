// The losses on CUDA: one launch, a warp for each row.
#include "../loss_grad.h"

#include "kernels.h"

namespace harden {
namespace {

constexpr int WARP = 32;
constexpr unsigned ALL = 0xffffffffu;

__device__ Seen shared_by_warp(Seen seen, bool ordered) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) {
    Seen other;
    for (int i = 0; i < 4; ++i) other.top[i] = __shfl_xor_sync(ALL, seen.top[i], offset);
    other.best = __shfl_xor_sync(ALL, seen.best, offset);
    other.nan = __shfl_xor_sync(ALL, static_cast<int>(seen.nan), offset) != 0;
    other.wrong = __shfl_xor_sync(ALL, static_cast<int>(seen.wrong), offset) != 0;
    seen.merge(other, ordered);
  }
  return seen;
}

// The same order in every lane, for addition of two numbers commutes: every lane gets the same bits.
template <class Number>
__device__ Number summed_by_warp(Number value) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(ALL, value, offset);
  return value;
}

template <class Logit>
__device__ double softmax(Logit* out, const Logit* z, const Logits& logits, int64_t c, const Seen& seen, float top,
                          bool known, int lane) {
  const int64_t n = logits.classes;
  double others = 0.0;
  for (int64_t j = lane; j < n; j += WARP)
    if (j != c) others += exp_negative(static_cast<double>(widened(z[j])) - static_cast<double>(top));
  const float one = known ? widened(z[c]) : 0.0f;
  const Softmax row = softmax_row(logits.kind, seen.nan, summed_by_warp(others), one, top, known);
  for (int64_t j = lane; j < n; j += WARP) out[j] = narrowed(row.gradient(widened(z[j]), j == c), Logit{});
  return row.loss;
}

template <class Logit>
__device__ double ratio(Logit* out, const Logit* z, const Logits& logits, int64_t y, int64_t t, const Seen& seen,
                        float own, bool known, int lane) {
  Sums sums;
  for (int64_t j = lane; j < logits.classes; j += WARP) sums.add(widened(z[j]), j != y, seen);
  sums = {summed_by_warp(sums.best), summed_by_warp(sums.first), summed_by_warp(sums.third),
          summed_by_warp(sums.fourth)};
  const Row row = ratio_row(logits.kind, seen, sums, own, known ? widened(z[t]) : 0.0f, known);
  for (int64_t j = lane; j < logits.classes; j += WARP)
    out[j] = narrowed(row.gradient(widened(z[j]), j, y, t, seen), Logit{});
  return row.loss;
}

template <class Logit>
__global__ void __launch_bounds__(THREADS) all_rows(const Logits logits) {
  const int64_t n = logits.classes;
  const bool ordered = by_order(logits.kind), softened = by_softmax(logits.kind);
  const int lane = threadIdx.x % WARP;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (THREADS / WARP);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * (THREADS / WARP) + threadIdx.x / WARP; i < logits.examples;
       i += warps) {
    const Logit* const z = static_cast<const Logit*>(logits.logits) + i * n;
    Logit* const out = static_cast<Logit*>(logits.dlogits) + i * n;
    const int64_t y = logits.y[i], t = logits.target[i];
    const bool known = y >= 0 && y < n && t >= 0 && t < n;
    const float own = y >= 0 && y < n ? widened(z[y]) : 0.0f;
    Seen seen;
    for (int64_t j = lane; j < n; j += WARP) seen.add(widened(z[j]), j, y, own, ordered);
    seen = shared_by_warp(seen, ordered);
    const int64_t c = logits.kind == CROSS_ENTROPY ? y : t;
    const double loss = softened ? softmax(out, z, logits, c, seen, largest(seen, own), known, lane)
                                 : ratio(out, z, logits, y, t, seen, own, known, lane);
    if (lane == 0) {
      logits.loss[i] = reported(loss, seen, known);
      logits.margin[i] = reported(static_cast<double>(seen.best - own), seen, y >= 0 && y < n);
      logits.wrong[i] = seen.wrong || y < 0 || y >= n;
    }
  }
}

}  // namespace

const char* loss_grad_cuda(const StackValue* stack) {
  Logits logits;
  if (const char* wrong = read_logits(stack, aoti_torch_device_type_cuda(), &logits)) return wrong;
  if (logits.examples == 0) return nullptr;
  Launch launch(logits.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  constexpr int64_t ROWS = THREADS / WARP, MOST = 1 << 20;
  const int64_t needed = (logits.examples + ROWS - 1) / ROWS;
  const unsigned blocks = static_cast<unsigned>(needed < MOST ? needed : MOST);
  if (logits.bfloat16)
    all_rows<Bfloat16><<<blocks, THREADS, 0, launch.stream()>>>(logits);
  else
    all_rows<float><<<blocks, THREADS, 0, launch.stream()>>>(logits);
  return launch.launched();
}

}  // namespace harden
