// Losses of one row of logits and their gradients, in float64, rounded once.
//
// A row is read three times: for its largest logits (`Seen`), for sums over them (`Sums`), and to write the gradient.
// Both structures are filled element by element and merged, so that one thread or many may share a row. With z1 >= z2
// >= ... the logits in order, best = max_{j != y} z_j and D the denominator:
//   cross-entropy           log sum_j exp(z_j) - z_y
//   margin                  best - z_y
//   DLR                     (best - z_y) / D,  D = z1 - z3 + TINY
//   targeted DLR            (z_t - z_y) / D,   D = z1 - (z3 + z4) / 2 + TINY
//   targeted cross-entropy  z_t - log sum_j exp(z_j)
//   targeted margin         z_t - z_y
// Classes that tie for best, z1, z3 or z4 share its gradient equally, so that no class is preferred for its number.
#pragma once

#include "elementary.h"
#include "logits.h"

namespace harden {

constexpr double TINY = 1e-12;  // as in the authors' implementation: three classes that tie divide by it, not by zero
constexpr float INFINITE = __builtin_inff();

struct Seen {
  float top[4] = {-INFINITE, -INFINITE, -INFINITE, -INFINITE};  // the largest logits, in order
  float best = -INFINITE;                                       // the largest of another class than y
  bool nan = false;
  bool wrong = false;  // a logit is not finite, or another class is the answer: of equal ones the first

  HARDEN_HD void insert(float z) {
    for (int i = 0; i < 4; ++i)
      if (z > top[i]) {
        const float smaller = top[i];
        top[i] = z;
        z = smaller;
      }
  }

  HARDEN_HD void add(float z, int64_t j, int64_t y, float own, bool ordered) {
    nan |= z != z;
    wrong |= !is_finite(z);
    if (ordered) insert(z);
    if (j == y) return;
    best = z > best ? z : best;
    wrong |= j < y ? z >= own : z > own;
  }

  HARDEN_HD void merge(const Seen& other, bool ordered) {
    if (ordered)
      for (int i = 0; i < 4; ++i) insert(other.top[i]);
    best = other.best > best ? other.best : best;
    nan |= other.nan;
    wrong |= other.wrong;
  }
};

// How many classes tie for each place.
struct Sums {
  int64_t best = 0, first = 0, third = 0, fourth = 0;

  HARDEN_HD void add(float z, bool other, const Seen& seen) {
    best += other && z == seen.best;
    first += z == seen.top[0];
    third += z == seen.top[2];
    fourth += z == seen.top[3];
  }
};

// What the gradient of each logit is made of.
struct Row {
  double best, own, target;    // d loss / d of these, shared among those that tie
  double first, third, fourth;
  double loss;
  bool usable;  // loss and gradient are finite

  HARDEN_HD float gradient(float z, int64_t j, int64_t y, int64_t t, const Seen& seen) const {
    if (!usable) return 0.0f;
    double sum = j == y ? own : (z == seen.best ? best : 0.0);
    sum += j == t ? target : 0.0;
    // By themselves: where classes tie, large slopes cancel, and nothing may be lost in them.
    double spread = z == seen.top[0] ? first : 0.0;
    spread += z == seen.top[2] ? third : 0.0;
    spread += z == seen.top[3] ? fourth : 0.0;
    return static_cast<float>(sum + spread);
  }
};

HARDEN_HD bool by_softmax(int64_t kind) { return kind == CROSS_ENTROPY || kind == TARGETED_CROSS_ENTROPY; }
HARDEN_HD bool by_order(int64_t kind) { return kind == DLR || kind == TARGETED_DLR; }

// All losses but the cross-entropies: (lead - z_y) / D.
HARDEN_HD Row ratio_row(int64_t kind, const Seen& seen, const Sums& sums, float own, float target, bool known) {
  const double top = seen.top[0], third = seen.top[2], fourth = seen.top[3];
  const bool ratio = by_order(kind), targeted = kind == TARGETED_DLR || kind == TARGETED_MARGIN;
  const float leader = targeted ? target : seen.best;
  const double lead = static_cast<double>(leader) - static_cast<double>(own);
  const double below = targeted ? (third + fourth) / 2.0 : third;
  const double inverse = ratio ? 1.0 / (top - below + TINY) : 1.0;
  const double slope = ratio ? lead * inverse * inverse : 0.0;
  Row row = {};
  // A margin by itself is rounded once, as the output `margin` is.
  row.loss = ratio ? lead * inverse : static_cast<double>(leader - own);
  row.own = -inverse;
  row.best = targeted ? 0.0 : inverse / static_cast<double>(sums.best);
  row.target = targeted ? inverse : 0.0;
  if (ratio) {
    row.first = -slope / static_cast<double>(sums.first);
    row.third = (targeted ? 0.5 : 1.0) * slope / static_cast<double>(sums.third);
    row.fourth = (targeted ? 0.5 : 0.0) * slope / static_cast<double>(sums.fourth);
  }
  const double steepest = inverse + 2.0 * (slope < 0.0 ? -slope : slope);
  row.usable = known && !seen.nan && is_finite(static_cast<float>(row.loss)) && is_finite(static_cast<float>(steepest));
  return row;
}

// The cross-entropy of one class, or minus it: that of y is to rise, that of the target to fall.
struct Softmax {
  double top;      // the largest logit
  double others;   // sum of exp(z_j - top) over all classes but the one
  double inverse;  // 1 / sum of all, with the loss's sign
  double loss;
  bool usable;

  HARDEN_HD float of_another(float z) const {
    return static_cast<float>(exp_negative(static_cast<double>(z) - top) * inverse);
  }

  // Of the one class it is the sum of the others' probabilities, which 1 - p would lose to rounding.
  HARDEN_HD float gradient(float z, bool one) const {
    if (!usable) return 0.0f;
    return one ? static_cast<float>(-others * inverse) : of_another(z);
  }
};

HARDEN_HD float largest(const Seen& seen, float own) { return own > seen.best ? own : seen.best; }

// `one` is the logit of the class, `top` the largest of all.
HARDEN_HD Softmax softmax_row(int64_t kind, bool nan, double others, float one, float top, bool known) {
  const double sign = kind == TARGETED_CROSS_ENTROPY ? -1.0 : 1.0;
  const double depth = static_cast<double>(one) - static_cast<double>(top);
  const double sum = others + exp_negative(depth);
  // Infinity minus infinity is no number, and the functions above are not made for it.
  const double loss = is_finite(top) ? sign * (log_scaled(sum, 0) - depth) : static_cast<double>(__builtin_nanf(""));
  const bool usable = known && !nan && is_finite(static_cast<float>(loss));
  return {static_cast<double>(top), others, sign / sum, loss, usable};
}

// The loss as it is reported: NaN where a logit or a label says nothing, so that it is seen.
HARDEN_HD float reported(double loss, const Seen& seen, bool known) {
  return known && !seen.nan ? static_cast<float>(loss) : __builtin_nanf("");
}

}  // namespace harden
