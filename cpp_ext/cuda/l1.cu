// The L1 step, its projection and its selection on CUDA: one launch, one block for each example.
#include "../l1.h"

#include "block.h"

namespace harden {
namespace {

// What an example's elements are ranked by: |value|, or |grad| of the elements that can move.
struct Plain {
  const float* values;

  __device__ uint32_t operator()(int64_t i) const { return rank(values[i]); }
};

struct Movable {
  const float* x_adv;
  const float* grad;
  float low, high;

  __device__ uint32_t operator()(int64_t i) const { return movable_rank(x_adv[i], grad[i], low, high); }
};

template <typename Ranks>
__device__ int64_t count(Ranks ranks, int64_t n, uint32_t least) {
  int64_t found = 0;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) found += ranks(i) >= least;
  return static_cast<int64_t>(block_sum(static_cast<double>(found)));
}

// Every thread tests the same ranks and gets the same counts, so all leave the loop together.
template <typename Ranks>
__device__ Selection selected(Ranks ranks, int64_t n, float k) {
  uint32_t largest = 0;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) {
    const uint32_t found = ranks(i);
    largest = found > largest ? found : largest;
  }
  Selection selection(wanted(k, n), n, static_cast<uint32_t>(block_max(static_cast<double>(largest))));
  for (int round = 0; selection.searching(); ++round) {
    const uint32_t asked = selection.question(round);
    selection.answer(asked, count(ranks, n, asked));
  }
  return selection;
}

// The smallest rank of at least `least`.
__device__ uint32_t smallest_from(Plain ranks, int64_t n, uint32_t least) {
  uint32_t smallest = HIGHEST_RANK;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) {
    const uint32_t found = ranks(i);
    smallest = found >= least && found < smallest ? found : smallest;
  }
  return HIGHEST_RANK - static_cast<uint32_t>(block_max(static_cast<double>(HIGHEST_RANK - smallest)));
}

struct Sums {
  double clipped, active;
};

__device__ Sums clips(const float* x_adv, const float* x, int64_t n, double lambda, float low, float high) {
  double sum = 0.0, moving = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) {
    const Reach from = reach(x_adv[i], x[i], low, high);
    const double clipped = clip(from, lambda);
    sum += clipped;
    moving += active(from, clipped) ? 1.0 : 0.0;
  }
  return {block_sum(sum), block_sum(moving)};
}

// Each thread reads back only what it wrote itself, so y may be stored in x_adv without a barrier.
__device__ void project(float* x_adv, const float* x, int64_t n, float eps, float low, float high) {
  const Sums whole = clips(x_adv, x, n, 0.0, low, high);
  Search search(eps, whole.clipped, whole.active);
  if (search.within()) {
    for (int64_t i = threadIdx.x; i < n; i += THREADS) x_adv[i] = pixel(x_adv[i], low, high);
    return;
  }
  double largest = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) {
    const double distance = reach(x_adv[i], x[i], low, high).distance;
    largest = distance > largest ? distance : largest;
  }
  search.start(block_max(largest));
  for (int round = 0; round < ROUNDS && search.ask(round); ++round) {
    const Sums found = clips(x_adv, x, n, search.lambda(), low, high);
    search.answer(found.clipped, found.active);
  }
  const Cut cut = search.cut();
  for (int64_t i = threadIdx.x; i < n; i += THREADS)
    x_adv[i] = cut.share > 0.0 ? l1_projected_between(x_adv[i], x[i], cut, low, high)
                               : l1_projected(x_adv[i], x[i], cut.far, low, high);
}

template <bool STEP>
__global__ void __launch_bounds__(THREADS) step_examples(const Step step, const Values k) {
  const int64_t n = step.example_elements();
  for (int64_t example = blockIdx.x; example < step.examples; example += gridDim.x) {
    float* const x_adv = step.x_adv + example * n;
    const float* const x = step.x + example * n;
    const float* const grad = step.gradient<float>() + example * n;
    uint32_t cut = 1;
    double share = 0.0;
    if constexpr (STEP) {
      const Movable ranks = {x_adv, grad, step.low, step.high};
      cut = selected(ranks, n, k.data[example * k.example_stride]).cut();
      cut = cut > 0 ? cut : 1;
      share = step.alpha.data[example * step.alpha.example_stride] / static_cast<double>(count(ranks, n, cut));
    }
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
      const bool chosen = STEP && movable_rank(x_adv[i], grad[i], step.low, step.high) >= cut;
      x_adv[i] = l1_moved(x_adv[i], x[i], grad[i], chosen, share);
    }
    project(x_adv, x, n, step.eps.data[example * step.eps.example_stride], step.low, step.high);
  }
}

__global__ void __launch_bounds__(THREADS) threshold_examples(const Ranking ranking) {
  const int64_t n = ranking.elements;
  for (int64_t example = blockIdx.x; example < ranking.examples; example += gridDim.x) {
    const Plain ranks = {ranking.values + example * n};
    const Selection found = selected(ranks, n, ranking.k.data[example * ranking.k.example_stride]);
    const uint32_t threshold = found.exact() ? found.cut() : smallest_from(ranks, n, found.cut());
    if (threadIdx.x == 0) ranking.threshold[example] = ranked(threshold);
  }
}

unsigned blocks(int64_t examples) { return static_cast<unsigned>(examples < INT32_MAX ? examples : INT32_MAX); }

const char* launch(const Step& step, const Values* k) {
  if (step.elements() == 0) return nullptr;
  if (step.example_elements() > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  Launch launch(step.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  if (k != nullptr)
    step_examples<true><<<blocks(step.examples), THREADS, 0, launch.stream()>>>(step, *k);
  else
    step_examples<false><<<blocks(step.examples), THREADS, 0, launch.stream()>>>(step, Values{});
  return launch.launched();
}

}  // namespace

const char* l1_step_cuda(const StackValue* stack) {
  Step step;
  Values k;
  if (const char* wrong = read_l1_step(stack, aoti_torch_device_type_cuda(), &step, &k)) return wrong;
  return launch(step, &k);
}

const char* l1_project_cuda(const StackValue* stack) {
  Step step;
  if (const char* wrong = read_projection(stack, aoti_torch_device_type_cuda(), &step)) return wrong;
  return launch(step, nullptr);
}

const char* topk_threshold_cuda(const StackValue* stack) {
  Ranking ranking;
  if (const char* wrong = read_ranking(stack, aoti_torch_device_type_cuda(), &ranking)) return wrong;
  if (ranking.examples * ranking.elements == 0) return nullptr;
  if (ranking.elements > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  Launch launch(ranking.device_index);
  if (launch.wrong() != nullptr) return launch.wrong();
  threshold_examples<<<blocks(ranking.examples), THREADS, 0, launch.stream()>>>(ranking);
  return launch.launched();
}

}  // namespace harden
