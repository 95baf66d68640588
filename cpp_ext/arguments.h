// The checked arguments of a step operation.
#pragma once

#include <cstdint>

#include "scalar.h"
#include "torch_shim.h"

namespace harden {

// Values of 1 element, one per example, or one per channel: that of (n, c) is
// data[n * example_stride + c * channel_stride].
struct Values {
  const float* data;
  int64_t example_stride;
  int64_t channel_stride;

  HARDEN_HD bool single() const { return example_stride == 0 && channel_stride == 0; }
};

// (N, C, ...) tensors, dense in one and the same order. A channel's elements lie together (contiguous), or
// each pixel's channels do (channels_last).
struct Step {
  float* x_adv;
  const float* x;
  const void* grad;
  bool grad_is_bfloat16;
  Values alpha;
  Values eps;
  float low;
  float high;
  int64_t examples;
  int64_t channels;
  int64_t pixels;  // elements of one channel
  bool channels_last;
  int32_t device_index;

  template <class Gradient>
  HARDEN_HD const Gradient* gradient() const {
    return static_cast<const Gradient*>(grad);
  }

  HARDEN_HD int64_t example_elements() const { return channels * pixels; }
  HARDEN_HD int64_t elements() const { return examples * channels * pixels; }
};

constexpr uint64_t STEP_INPUTS = 7;

// Reads and checks (x_adv, x, grad, alpha, eps, low, high). Returns nullptr, or what is wrong, in words.
const char* read_step(const StackValue* stack, int32_t device_type, bool per_channel, Step* step);

constexpr uint64_t L1_STEP_INPUTS = 8;
constexpr uint64_t MOMENTUM_INPUTS = 9;
constexpr uint64_t PROJECTION_INPUTS = 5;
constexpr uint64_t RANKING_INPUTS = 3;

// Reads and checks (x_adv, x, grad, alpha, eps, k, low, high).
const char* read_l1_step(const StackValue* stack, int32_t device_type, Step* step, Values* k);

// What a step with momentum has besides: the point before, dense in the same order, and the gradient's share.
struct Momentum {
  float* before;
  const float* share;
};

// Reads and checks (x_adv, before, x, grad, alpha, eps, share, low, high).
const char* read_momentum_step(const StackValue* stack, int32_t device_type, bool per_channel, Step* step,
                               Momentum* momentum);

// Reads and checks (x_adv, x, eps, low, high). The step's grad is x, which nothing may read as a gradient.
const char* read_projection(const StackValue* stack, int32_t device_type, Step* step);

// (N, ...) values, dense in any order that keeps an example's elements together, and one threshold an example.
struct Ranking {
  float* threshold;
  const float* values;
  Values k;
  int64_t examples;
  int64_t elements;  // of one example
  int32_t device_index;
};

// Reads and checks (threshold, values, k).
const char* read_ranking(const StackValue* stack, int32_t device_type, Ranking* ranking);

}  // namespace harden
