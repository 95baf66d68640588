// The checked arguments of the operation on a network's logits.
#pragma once

#include <cstdint>

#include "scalar.h"
#include "torch_shim.h"

namespace harden {

// Which loss; harden/kernels/loss_grad.py holds the other half.
enum Kind : int64_t { CROSS_ENTROPY, MARGIN, DLR, TARGETED_DLR, TARGETED_CROSS_ENTROPY, TARGETED_MARGIN, KINDS };

// Rows of `classes` logits, one for each of `examples`. Logits and their gradient have one type.
struct Logits {
  float* loss;
  float* margin;
  bool* wrong;
  void* dlogits;
  const void* logits;
  const int64_t* y;
  const int64_t* target;
  int64_t kind;
  int64_t examples;
  int64_t classes;
  bool bfloat16;
  int32_t device_index;
};

constexpr uint64_t LOGITS_TENSORS = 7;
constexpr uint64_t LOGITS_INPUTS = 8;

// Reads and checks (loss, margin, wrong, dlogits, logits, y, target, kind). Returns nullptr, or what is wrong.
const char* read_logits(const StackValue* stack, int32_t device_type, Logits* out);

}  // namespace harden
