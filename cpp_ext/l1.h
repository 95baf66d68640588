// One element of a sparse gradient step and of the projection onto the L1 ball and the box together, and the search
// for the one number per example that the projection needs.
//
// The nearest point to y with sum |z - x| <= eps and z in the box is z = x + sign(d) clip(|d| - lambda, 0, room), with
// d = y - x and the room to the box in d's direction (Croce and Hein, 2103.01208). The sum S(lambda) of the clips falls
// in straight pieces; Search finds where it meets the radius.
// Why sum |z - x| <= eps holds as rational numbers, with u = 2^-53 and n <= 2^30 elements:
//  - A sum of n numbers >= 0 in float64 is off by a factor within 1 +- (n + 4) u, so within 1 +- 2^-22.9.
//  - Kept: S(0) * KEEP <= eps, KEEP = 1 + 2^-22, and y clamped to the box moved by no more than the clips at 0.
//  - Cut: the clips sum to at most RADIUS eps, RADIUS = 1 - 3 2^-22, truly to 1 + 2^-22.9 times that. Every element is
//    moved to within its clip of x (shrunk_towards), whose roundings cost a factor 1 + 4 u.
//  - What was cut has a computed sum of at most RADIUS (1 + 2^-22.9)^2 (1 + 8 u) eps, and that times KEEP is below eps:
//    it is kept when it is projected again. The clamp to a box that holds x only shortens.
#pragma once

#include "l2.h"

namespace harden {

constexpr double RADIUS = 1.0 - 0x3p-22;
// A cut is good when its sum lies in [CLOSE, 1] times the radius that it aims at: backends agree to 2^-24 eps.
constexpr double CLOSE = 1.0 - 0x1p-24;
constexpr double AIM = 1.0 - 0x1p-25;
// Two to eight are enough for images. From STUBBORN on every round halves the float64 numbers that are left: 63 bits,
// so that ROUNDS find neighbours whatever the input.
constexpr int STUBBORN = 32;
constexpr int ROUNDS = STUBBORN + 64;

// Selecting the largest |grad|. The bits of |value| order as the numbers do; NaN counts as zero.
constexpr uint32_t HIGHEST_RANK = 0x7f800000u;  // of infinity

HARDEN_HD uint32_t rank(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits &= 0x7fffffffu;
  return bits > HIGHEST_RANK ? 0u : bits;
}

HARDEN_HD float ranked(uint32_t rank) {
  float value;
  memcpy(&value, &rank, sizeof value);
  return value;
}

// The rank of a gradient entry along which x_adv can still move in the box, 0 of any other.
HARDEN_HD uint32_t movable_rank(float x_adv, float grad, float low, float high) {
  const bool movable = grad > 0.0f ? x_adv < high : x_adv > low;
  return movable ? rank(grad) : 0u;
}

// The number of entries that `k` selects, of n.
HARDEN_HD int64_t wanted(float k, int64_t n) {
  if (!(k >= 2.0f)) return 1;
  return static_cast<double>(k) < static_cast<double>(n) ? static_cast<int64_t>(k) : n;
}

// Search for the rank of the k-th largest of n entries, by counts of the entries that reach a rank. Bisection and, every
// second time, the straight line between what is known. It ends with cut() separating the k largest (and what ties
// with them) from the rest; exact() is true where cut() itself is the k-th largest rank, and not just below it.
class Selection {
 public:
  HARDEN_HD Selection(int64_t k, int64_t n, uint32_t largest)
      : k_(k), low_(0), high_(largest + 1), low_count_(n), high_count_(0) {}

  HARDEN_HD bool searching() const { return high_ - low_ > 1 && low_count_ != k_; }
  HARDEN_HD uint32_t question(int round) const {
    const uint32_t width = high_ - low_;
    uint32_t offset = width / 2;
    if (round % 2 == 0) {
      const double share = (static_cast<double>(low_count_) - k_) / static_cast<double>(low_count_ - high_count_);
      offset = static_cast<uint32_t>(share * width);
    }
    return low_ + (offset < 1 ? 1 : offset > width - 1 ? width - 1 : offset);
  }
  HARDEN_HD void answer(uint32_t asked, int64_t count) {
    if (count >= k_) {
      low_ = asked;
      low_count_ = count;
    } else {
      high_ = asked;
      high_count_ = count;
    }
  }
  HARDEN_HD bool exact() const { return high_ - low_ <= 1; }
  HARDEN_HD uint32_t cut() const { return low_; }

 private:
  int64_t k_;
  uint32_t low_, high_;  // at least k entries reach low_, fewer reach high_
  int64_t low_count_, high_count_;
};

// y, one rounding away from x_adv +- share; x where that is not finite.
HARDEN_HD float l1_moved(float x_adv, float x, float grad, bool selected, double share) {
  const double step = selected ? (grad > 0.0f ? share : -share) : 0.0;
  const float y = static_cast<float>(static_cast<double>(x_adv) + step);
  return is_finite(y) && is_finite(x) ? y : x;
}

struct Reach {
  double distance;  // |y - x|
  double room;      // from x to the box in y's direction, not below 0
};

// NaN where x is no number or infinite, for then y is x: clip() reads that as no distance.
HARDEN_HD Reach reach(float y, float x, float low, float high) {
  const double from = x, delta = y - from;
  const double room = delta > 0.0 ? high - from : from - low;
  return {delta < 0.0 ? -delta : delta, room > 0.0 ? room : 0.0};
}

HARDEN_HD double clip(Reach reach, double lambda) {
  double clipped = reach.distance - lambda;
  clipped = clipped > 0.0 ? clipped : 0.0;
  return clipped < reach.room ? clipped : reach.room;
}

// Whether a clip moves with lambda.
HARDEN_HD bool active(Reach reach, double clipped) { return (clipped > 0.0) & (clipped < reach.room); }

// The float64 number with as many numbers below it as above, for 0 <= low <= high.
HARDEN_HD double halfway(double low, double high) {
  int64_t first, last;
  memcpy(&first, &low, sizeof first);
  memcpy(&last, &high, sizeof last);
  first += (last - first) / 2;
  memcpy(&low, &first, sizeof low);
  return low;
}

// How far each element goes: clip(far) + share (clip(near) - clip(far)). Where the search met the radius, share is 0.
// Else near and far are neighbours, and the point between their results has the length that is wanted.
struct Cut {
  double far, near, share;
};

// Finds the lambda at which the clips sum to the radius: Newton's step where it stays between what is known, else by
// turns the straight line and the middle.
class Search {
 public:
  HARDEN_HD Search(float eps, double sum, double active)
      : eps_(static_cast<double>(allowance(eps))), radius_(eps_ * RADIUS), lambda_(0.0), sum_(sum), active_(active),
        near_(0.0), near_sum_(sum), far_(0.0), far_sum_(0.0) {}

  // Whether y is in the ball once it is clamped to the box.
  HARDEN_HD bool within() const { return sum_ * KEEP <= eps_; }

  // `largest` is the distance from x above which every clip is 0.
  HARDEN_HD void start(double largest) { far_ = largest; }

  // Chooses the next lambda; false where none is left to test.
  HARDEN_HD bool ask(int round) {
    if (met()) return false;
    const double aim = radius_ * AIM, middle = near_ + (far_ - near_) * 0.5;
    double next = lambda_ + (sum_ - aim) / active_;  // not a number in between where nothing is active
    if (round >= STUBBORN) {
      next = halfway(near_, far_);
    } else if (!(active_ > 0.0 && between(next))) {
      next = round % 2 == 0 ? near_ + (far_ - near_) * ((near_sum_ - aim) / (near_sum_ - far_sum_)) : middle;
      if (!between(next)) next = middle;
    }
    lambda_ = next;
    return between(next);
  }
  HARDEN_HD void answer(double sum, double active) {
    sum_ = sum;
    active_ = active;
    if (sum > radius_) {
      near_ = lambda_;
      near_sum_ = sum;
    } else {
      far_ = lambda_;
      far_sum_ = sum;
    }
  }
  HARDEN_HD double lambda() const { return lambda_; }
  HARDEN_HD Cut cut() const {
    return {far_, near_, met() ? 0.0 : (radius_ - far_sum_) / (near_sum_ - far_sum_)};
  }

 private:
  HARDEN_HD bool between(double lambda) const { return near_ < lambda && lambda < far_; }

  HARDEN_HD bool met() const { return far_sum_ >= radius_ * CLOSE; }

  double eps_, radius_, lambda_, sum_, active_;
  double near_, near_sum_;  // sum above the radius
  double far_, far_sum_;    // sum at most the radius
};

HARDEN_HD float l1_cut(float y, float x, double size) {
  return shrunk_towards(x, y < x ? -size : size);
}

HARDEN_HD float l1_projected(float y, float x, double lambda, float low, float high) {
  return pixel(l1_cut(y, x, clip(reach(y, x, low, high), lambda)), low, high);
}

// As above, between the clips at two lambdas.
HARDEN_HD float l1_projected_between(float y, float x, Cut cut, float low, float high) {
  const Reach from = reach(y, x, low, high);
  const double far = clip(from, cut.far);
  return pixel(l1_cut(y, x, far + cut.share * (clip(from, cut.near) - far)), low, high);
}

}  // namespace harden
