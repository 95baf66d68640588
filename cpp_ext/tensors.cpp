#include "tensors.h"

namespace harden {
namespace {

// True where the stride of `axis` is `*expected`; then the next outer axis has to have the product with this axis' size.
bool fits(const Tensor& tensor, int64_t axis, int64_t* expected) {
  const bool fit = tensor.sizes[axis] == 1 || tensor.strides[axis] == *expected;
  *expected *= tensor.sizes[axis];
  return fit;
}

}  // namespace

const char* read_tensor(StackValue value, int32_t device_type, Tensor* tensor) {
  tensor->handle = reinterpret_cast<TensorHandle>(value);
  int64_t* sizes = nullptr;
  int64_t* strides = nullptr;
  int32_t found_device = 0;
  if (aoti_torch_get_dim(tensor->handle, &tensor->dim) || aoti_torch_get_sizes(tensor->handle, &sizes) ||
      aoti_torch_get_strides(tensor->handle, &strides) || aoti_torch_get_dtype(tensor->handle, &tensor->dtype) ||
      aoti_torch_get_device_type(tensor->handle, &found_device) ||
      aoti_torch_get_device_index(tensor->handle, &tensor->device_index))
    return NO_ANSWER;
  if (found_device != device_type) return "every tensor has to be on the same device";
  tensor->sizes = sizes;
  tensor->strides = strides;
  return nullptr;
}

const char* read_data(const Tensor& tensor, const void** data) {
  return torch_get_const_data_ptr(tensor.handle, data) ? NO_ANSWER : nullptr;
}

const char* read_mutable_data(const Tensor& tensor, void** data) {
  return torch_get_mutable_data_ptr(tensor.handle, data) ? NO_ANSWER : nullptr;
}

bool same_shape(const Tensor& a, const Tensor& b) {
  if (a.dim != b.dim) return false;
  for (int64_t axis = 0; axis < a.dim; ++axis)
    if (a.sizes[axis] != b.sizes[axis]) return false;
  return true;
}

bool contiguous(const Tensor& tensor) {
  int64_t expected = 1;
  for (int64_t axis = tensor.dim - 1; axis >= 0; --axis)
    if (!fits(tensor, axis, &expected)) return false;
  return true;
}

bool channels_last(const Tensor& tensor) {
  int64_t expected = 1;
  if (tensor.dim < 3 || !fits(tensor, 1, &expected)) return false;
  for (int64_t axis = tensor.dim - 1; axis >= 2; --axis)
    if (!fits(tensor, axis, &expected)) return false;
  return fits(tensor, 0, &expected);
}

bool overlap(const void* a, int64_t bytes_of_a, const void* b, int64_t bytes_of_b) {
  const uintptr_t first = reinterpret_cast<uintptr_t>(a), second = reinterpret_cast<uintptr_t>(b);
  return first < second + static_cast<uintptr_t>(bytes_of_b) && second < first + static_cast<uintptr_t>(bytes_of_a);
}

}  // namespace harden
