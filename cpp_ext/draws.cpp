#include "draws.h"

#include "tensors.h"

namespace harden {

const char* read_fill(const StackValue* stack, int32_t device_type, Fill* fill) {
  Tensor out, ids;
  if (const char* wrong = read_tensor(stack[0], device_type, &out)) return wrong;
  if (const char* wrong = read_tensor(stack[1], device_type, &ids)) return wrong;
  if (out.device_index != ids.device_index) return "every tensor has to be on the same device";
  if (out.dtype != aoti_torch_dtype_float32()) return "out has to be float32";
  if (ids.dtype != aoti_torch_dtype_int64() || ids.dim != 1) return "ids has to be int64 of shape (N,)";
  if (out.dim < 1 || out.sizes[0] != ids.sizes[0]) return "out has to have the shape (N, ...), an id for each example";
  if (!contiguous(out) || !contiguous(ids)) return "out and ids have to be contiguous";
  fill->seed = stack[2];
  fill->examples = out.sizes[0];
  fill->count = 1;
  for (int64_t axis = 1; axis < out.dim; ++axis) fill->count *= out.sizes[axis];
  fill->device_index = out.device_index;
  if (fill->count > MOST_DRAWS) return "an example has more than 2^33 numbers";
  if (fill->elements() == 0) return nullptr;
  void* target = nullptr;
  const void* numbers = nullptr;
  if (const char* wrong = read_mutable_data(out, &target)) return wrong;
  if (const char* wrong = read_data(ids, &numbers)) return wrong;
  fill->out = static_cast<float*>(target);
  fill->ids = static_cast<const int64_t*>(numbers);
  if (overlap(target, fill->elements() * static_cast<int64_t>(sizeof(float)), numbers,
              fill->examples * static_cast<int64_t>(sizeof(int64_t))))
    return "out must not share memory with ids";
  return nullptr;
}

}  // namespace harden
