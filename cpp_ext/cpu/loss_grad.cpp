// The losses on the CPU: whole rows, split over torch's threads.
#include "../loss_grad.h"

#include "kernels.h"

namespace harden {
namespace {

// As in l2.cpp: a sum runs in so many lanes on every machine.
constexpr int LANES = 16;

template <class Logit>
HARDEN_CLONES double sum_of_powers(const Logit* __restrict z, int64_t n, double top) {
  double sum[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; ++lane)
      sum[lane] += exp_negative(static_cast<double>(widened(z[i + lane])) - top);
  for (; i < n; ++i) sum[i % LANES] += exp_negative(static_cast<double>(widened(z[i])) - top);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) sum[lane] += sum[lane + width];
  return sum[0];
}

template <class Logit>
HARDEN_CLONES void write_softmax(Logit* __restrict out, const Logit* __restrict z, int64_t n, const Softmax row) {
  for (int64_t i = 0; i < n; ++i) out[i] = narrowed(row.of_another(widened(z[i])), Logit{});
}

template <class Logit>
double softmax(Logit* out, const Logit* z, const Logits& logits, int64_t c, const Seen& seen, float top, bool known) {
  const int64_t n = logits.classes;
  const float one = known ? widened(z[c]) : 0.0f;
  const double others = known ? sum_of_powers(z, c, top) + sum_of_powers(z + c + 1, n - c - 1, top) : 0.0;
  const Softmax row = softmax_row(logits.kind, seen.nan, others, one, top, known);
  if (row.usable) {
    write_softmax(out, z, n, row);
    out[c] = narrowed(row.gradient(one, true), Logit{});
  } else {
    memset(out, 0, static_cast<size_t>(n) * sizeof(Logit));
  }
  return row.loss;
}

template <class Logit>
double ratio(Logit* out, const Logit* z, const Logits& logits, int64_t y, int64_t t, const Seen& seen, float own,
             bool known) {
  Sums sums;
  for (int64_t j = 0; j < logits.classes; ++j) sums.add(widened(z[j]), j != y, seen);
  const Row row = ratio_row(logits.kind, seen, sums, own, known ? widened(z[t]) : 0.0f, known);
  for (int64_t j = 0; j < logits.classes; ++j)
    out[j] = narrowed(row.gradient(widened(z[j]), j, y, t, seen), Logit{});
  return row.loss;
}

template <class Logit>
void body(int64_t begin, int64_t end, void* context) {
  const Logits& logits = *static_cast<const Logits*>(context);
  const int64_t n = logits.classes;
  const bool ordered = by_order(logits.kind), softened = by_softmax(logits.kind);
  for (int64_t i = begin; i < end; ++i) {
    const Logit* const z = static_cast<const Logit*>(logits.logits) + i * n;
    Logit* const out = static_cast<Logit*>(logits.dlogits) + i * n;
    const int64_t y = logits.y[i], t = logits.target[i];
    const bool known = y >= 0 && y < n && t >= 0 && t < n;
    const float own = y >= 0 && y < n ? widened(z[y]) : 0.0f;
    Seen seen;
    for (int64_t j = 0; j < n; ++j) seen.add(widened(z[j]), j, y, own, ordered);
    const int64_t c = logits.kind == CROSS_ENTROPY ? y : t;
    const double loss = softened ? softmax(out, z, logits, c, seen, largest(seen, own), known)
                                 : ratio(out, z, logits, y, t, seen, own, known);
    logits.loss[i] = reported(loss, seen, known);
    logits.margin[i] = reported(static_cast<double>(seen.best - own), seen, y >= 0 && y < n);
    logits.wrong[i] = seen.wrong || y < 0 || y >= n;
  }
}

}  // namespace

const char* loss_grad_cpu(const StackValue* stack) {
  Logits logits;
  if (const char* wrong = read_logits(stack, aoti_torch_device_type_cpu(), &logits)) return wrong;
  if (logits.examples == 0) return nullptr;
  const int64_t grain = logits.classes < GRAIN / 8 ? GRAIN / 8 / logits.classes : 1;
  const RangeBody run = logits.bfloat16 ? body<Bfloat16> : body<float>;
  return torch_parallel_for(0, logits.examples, grain, run, &logits) ? "torch's threads did not run" : nullptr;
}

}  // namespace harden
