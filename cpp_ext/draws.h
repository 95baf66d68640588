// The checked arguments of an operation that fills a tensor by draws.
#pragma once

#include <cstdint>

#include "scalar.h"
#include "torch_shim.h"

namespace harden {

// `count` numbers for each of `examples` ids, row after row.
struct Fill {
  float* out;
  uint64_t seed;
  const int64_t* ids;
  int64_t examples;
  int64_t count;
  int32_t device_index;

  HARDEN_HD int64_t elements() const { return examples * count; }
};

constexpr uint64_t FILL_TENSORS = 2;
constexpr uint64_t FILL_INPUTS = 3;

// A block of four words has a number of 32 bits.
constexpr int64_t MOST_DRAWS = int64_t{1} << 33;

// Reads and checks (out, ids, seed). Returns nullptr, or what is wrong, in words.
const char* read_fill(const StackValue* stack, int32_t device_type, Fill* fill);

}  // namespace harden
