// A tensor as torch describes it, and the checks of every tensor before its memory is accessed.
#pragma once

#include <cstdint>

#include "torch_shim.h"

namespace harden {

constexpr const char* NO_ANSWER = "torch did not answer a question about a tensor";

struct Tensor {
  TensorHandle handle;
  int64_t dim;
  const int64_t* sizes;
  const int64_t* strides;
  int32_t dtype;
  int32_t device_index;

  int64_t elements() const {
    int64_t product = 1;
    for (int64_t axis = 0; axis < dim; ++axis) product *= sizes[axis];
    return product;
  }
};

// Each returns nullptr, or what is wrong, in words.
const char* read_tensor(StackValue value, int32_t device_type, Tensor* tensor);
const char* read_data(const Tensor& tensor, const void** data);
const char* read_mutable_data(const Tensor& tensor, void** data);

bool same_shape(const Tensor& a, const Tensor& b);
bool contiguous(const Tensor& tensor);
bool channels_last(const Tensor& tensor);

// Whether two stretches of memory, in bytes, share any.
bool overlap(const void* a, int64_t bytes_of_a, const void* b, int64_t bytes_of_b);

}  // namespace harden
