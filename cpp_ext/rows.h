// The checked arguments of an operation that copies examples.
#pragma once

#include <cstdint>

#include "scalar.h"
#include "torch_shim.h"

namespace harden {

// `examples` rows of `count` numbers each, dense in one and the same order, and which of them are copied.
struct Rows {
  float* target;
  const float* source;
  const bool* where;
  int64_t examples;
  int64_t count;
  int32_t device_index;

  HARDEN_HD int64_t elements() const { return examples * count; }
};

constexpr uint64_t ROWS_INPUTS = 3;

// Reads and checks (target, source, where). Returns nullptr, or what is wrong, in words.
const char* read_rows(const StackValue* stack, int32_t device_type, Rows* rows);

}  // namespace harden
