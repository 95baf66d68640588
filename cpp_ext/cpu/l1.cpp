// The L1 step, its projection and its selection on the CPU: whole examples, split over torch's threads.
#include "../l1.h"

#include "kernels.h"
#include "lanes.h"

namespace harden {
namespace {

// A loop over the lanes that the compiler turns into vectors. Several in a row: what one loop compares twice becomes
// branches, unrolled or not, and stays scalar.
#define HARDEN_LANES _Pragma("GCC unroll 1") for (int lane = 0; lane < LANES; ++lane)

// What an example's elements are ranked by: |value|, or |grad| of the elements that can move.
struct Plain {
  const float* values;

  HARDEN_HD uint32_t operator()(int64_t i) const { return rank(values[i]); }
};

struct Movable {
  const float* x_adv;
  const float* grad;
  float low, high;

  HARDEN_HD uint32_t operator()(int64_t i) const { return movable_rank(x_adv[i], grad[i], low, high); }
};

// Ranks are below 2^31, so signed comparisons do, which every vector unit has.
template <typename Ranks>
HARDEN_HD int32_t largest_in(Ranks ranks, int64_t n) {
  int32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t found = static_cast<int32_t>(ranks(i));
    largest = found > largest ? found : largest;
  }
  return largest;
}

template <typename Ranks>
HARDEN_HD int32_t smallest_from_in(Ranks ranks, int64_t n, int32_t least) {
  int32_t smallest = static_cast<int32_t>(HIGHEST_RANK);
  for (int64_t i = 0; i < n; ++i) {
    const int32_t found = static_cast<int32_t>(ranks(i));
    smallest = found >= least && found < smallest ? found : smallest;
  }
  return smallest;
}

template <typename Ranks>
HARDEN_HD int32_t count_in(Ranks ranks, int64_t n, int32_t least) {
  int32_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += static_cast<int32_t>(ranks(i)) >= least;
  return count;
}

// One function for each pass: a template can't be compiled for several processors.
HARDEN_CLONES int32_t largest(Plain ranks, int64_t n) { return largest_in(ranks, n); }
HARDEN_CLONES int32_t largest(Movable ranks, int64_t n) { return largest_in(ranks, n); }
HARDEN_CLONES int32_t count(Plain ranks, int64_t n, int32_t least) { return count_in(ranks, n, least); }
HARDEN_CLONES int32_t count(Movable ranks, int64_t n, int32_t least) { return count_in(ranks, n, least); }
HARDEN_CLONES int32_t smallest_from(Plain ranks, int64_t n, int32_t least) {
  return smallest_from_in(ranks, n, least);
}

template <typename Ranks>
Selection selected(Ranks ranks, int64_t n, float k) {
  Selection selection(wanted(k, n), n, static_cast<uint32_t>(largest(ranks, n)));
  for (int round = 0; selection.searching(); ++round) {
    const uint32_t asked = selection.question(round);
    selection.answer(asked, count(ranks, n, static_cast<int32_t>(asked)));
  }
  return selection;
}

// Writes y into x_adv. Ranks of at least `cut` go by `share`.
HARDEN_CLONES void move(float* __restrict x_adv, const float* __restrict x, const float* __restrict grad, int64_t n,
                        int32_t cut, double share, float low, float high) {
  for (int64_t i = 0; i < n; ++i) {
    const bool selected = static_cast<int32_t>(movable_rank(x_adv[i], grad[i], low, high)) >= cut;
    x_adv[i] = l1_moved(x_adv[i], x[i], grad[i], selected, share);
  }
}

// The largest |x_adv - x|.
HARDEN_CLONES double furthest(const float* __restrict x_adv, const float* __restrict x, int64_t n, float low,
                              float high) {
  double largest[LANES] = {};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    double distance[LANES];
    HARDEN_LANES distance[lane] = reach(x_adv[i + lane], x[i + lane], low, high).distance;
    HARDEN_LANES largest[lane] = distance[lane] > largest[lane] ? distance[lane] : largest[lane];
  }
  for (; i < n; ++i) {
    const double distance = reach(x_adv[i], x[i], low, high).distance;
    largest[0] = distance > largest[0] ? distance : largest[0];
  }
  for (int lane = 1; lane < LANES; ++lane) largest[0] = largest[lane] > largest[0] ? largest[lane] : largest[0];
  return largest[0];
}

struct Sums {
  double clipped, active;
};

// Adds the clips of LANES elements, and how many of them move with lambda.
HARDEN_HD void add_clips(Lanes& sum, Lanes& moving, const float* x_adv, const float* x, double lambda, float low,
                         float high) {
  double distance[LANES], room[LANES], clipped[LANES];
  HARDEN_LANES {
    const Reach from = reach(x_adv[lane], x[lane], low, high);
    distance[lane] = from.distance;
    room[lane] = from.room;
  }
  HARDEN_LANES clipped[lane] = clip({distance[lane], room[lane]}, lambda);
  HARDEN_LANES {
    sum.sum[lane] += clipped[lane];
    moving.sum[lane] += active({distance[lane], room[lane]}, clipped[lane]) ? 1.0 : 0.0;
  }
}

// The sum of an example's clips, and how many of them move with lambda.
HARDEN_CLONES Sums clips(const float* __restrict x_adv, const float* __restrict x, int64_t n, double lambda, float low,
                         float high) {
  Lanes sum, moving;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) add_clips(sum, moving, x_adv + i, x + i, lambda, low, high);
  for (; i < n; ++i) {
    const Reach from = reach(x_adv[i], x[i], low, high);
    const double clipped = clip(from, lambda);
    sum.sum[i % LANES] += clipped;
    moving.sum[i % LANES] += active(from, clipped) ? 1.0 : 0.0;
  }
  return {sum.total(), moving.total()};
}

HARDEN_CLONES void keep(float* __restrict x_adv, int64_t n, float low, float high) {
  for (int64_t i = 0; i < n; ++i) x_adv[i] = pixel(x_adv[i], low, high);
}

HARDEN_CLONES void cut_at(float* __restrict x_adv, const float* __restrict x, int64_t n, double lambda, float low,
                          float high) {
  for (int64_t i = 0; i < n; ++i) x_adv[i] = l1_projected(x_adv[i], x[i], lambda, low, high);
}

HARDEN_CLONES void cut_between(float* __restrict x_adv, const float* __restrict x, int64_t n, Cut cut, float low,
                               float high) {
  for (int64_t i = 0; i < n; ++i) x_adv[i] = l1_projected_between(x_adv[i], x[i], cut, low, high);
}

void project(float* x_adv, const float* x, int64_t n, float eps, float low, float high) {
  const Sums whole = clips(x_adv, x, n, 0.0, low, high);
  Search search(eps, whole.clipped, whole.active);
  if (search.within()) return keep(x_adv, n, low, high);
  search.start(furthest(x_adv, x, n, low, high));
  for (int round = 0; round < ROUNDS && search.ask(round); ++round) {
    const Sums found = clips(x_adv, x, n, search.lambda(), low, high);
    search.answer(found.clipped, found.active);
  }
  const Cut cut = search.cut();
  if (cut.share > 0.0) return cut_between(x_adv, x, n, cut, low, high);
  cut_at(x_adv, x, n, cut.far, low, high);
}

// The step along `grad` and the projection of one example; without `grad`, the projection alone.
void step_one(const Step& step, const Values* k, int64_t example) {
  const int64_t n = step.example_elements();
  float* const x_adv = step.x_adv + example * n;
  const float* const x = step.x + example * n;
  const float* const grad = step.gradient<float>() + example * n;
  int32_t cut = INT32_MAX;
  double share = 0.0;
  if (k != nullptr) {
    const Movable ranks = {x_adv, grad, step.low, step.high};
    cut = static_cast<int32_t>(selected(ranks, n, k->data[example * k->example_stride]).cut());
    cut = cut > 0 ? cut : 1;
    share = step.alpha.data[example * step.alpha.example_stride] / static_cast<double>(count(ranks, n, cut));
  }
  move(x_adv, x, grad, n, cut, share, step.low, step.high);
  project(x_adv, x, n, step.eps.data[example * step.eps.example_stride], step.low, step.high);
}

struct L1Step {
  Step step;
  const Values* k;
};

void step_body(int64_t begin, int64_t end, void* context) {
  const L1Step& all = *static_cast<const L1Step*>(context);
  for (int64_t example = begin; example < end; ++example) step_one(all.step, all.k, example);
}

void threshold_body(int64_t begin, int64_t end, void* context) {
  const Ranking& ranking = *static_cast<const Ranking*>(context);
  const int64_t n = ranking.elements;
  for (int64_t example = begin; example < end; ++example) {
    const Plain ranks = {ranking.values + example * n};
    const Selection found = selected(ranks, n, ranking.k.data[example * ranking.k.example_stride]);
    ranking.threshold[example] =
        ranked(found.exact() ? found.cut() : smallest_from(ranks, n, static_cast<int32_t>(found.cut())));
  }
}

const char* run(RangeBody body, int64_t examples, int64_t elements, void* context) {
  if (elements > MOST_ELEMENTS) return "an example has more than 2^30 elements";
  const int64_t grain = elements < GRAIN ? GRAIN / elements : 1;
  return torch_parallel_for(0, examples, grain, body, context) ? "torch's threads did not run" : nullptr;
}

}  // namespace

const char* l1_step_cpu(const StackValue* stack) {
  L1Step all;
  Values k;
  if (const char* wrong = read_l1_step(stack, aoti_torch_device_type_cpu(), &all.step, &k)) return wrong;
  all.k = &k;
  return all.step.elements() == 0 ? nullptr : run(step_body, all.step.examples, all.step.example_elements(), &all);
}

const char* l1_project_cpu(const StackValue* stack) {
  L1Step all;
  if (const char* wrong = read_projection(stack, aoti_torch_device_type_cpu(), &all.step)) return wrong;
  all.k = nullptr;
  return all.step.elements() == 0 ? nullptr : run(step_body, all.step.examples, all.step.example_elements(), &all);
}

const char* topk_threshold_cpu(const StackValue* stack) {
  Ranking ranking;
  if (const char* wrong = read_ranking(stack, aoti_torch_device_type_cpu(), &ranking)) return wrong;
  return ranking.examples * ranking.elements == 0
             ? nullptr
             : run(threshold_body, ranking.examples, ranking.elements, &ranking);
}

}  // namespace harden
