#include "rows.h"

#include "tensors.h"

namespace harden {

const char* read_rows(const StackValue* stack, int32_t device_type, Rows* rows) {
  Tensor target, source, where;
  if (const char* wrong = read_tensor(stack[0], device_type, &target)) return wrong;
  if (const char* wrong = read_tensor(stack[1], device_type, &source)) return wrong;
  if (const char* wrong = read_tensor(stack[2], device_type, &where)) return wrong;
  if (source.device_index != target.device_index || where.device_index != target.device_index)
    return "every tensor has to be on the same device";
  if (target.dtype != aoti_torch_dtype_float32() || source.dtype != aoti_torch_dtype_float32())
    return "target and source have to be float32";
  if (target.dim < 1 || !same_shape(target, source)) return "target and source have to have the same shape (N, ...)";
  if (where.dtype != aoti_torch_dtype_bool() || where.dim != 1 || where.sizes[0] != target.sizes[0] ||
      !contiguous(where))
    return "where has to be bool of shape (N,), contiguous";
  rows->device_index = target.device_index;
  rows->examples = target.sizes[0];
  rows->count = 1;
  for (int64_t axis = 1; axis < target.dim; ++axis) rows->count *= target.sizes[axis];
  if (rows->elements() == 0) return nullptr;
  if (!(contiguous(target) && contiguous(source)) && !(channels_last(target) && channels_last(source)))
    return "target and source have to be both contiguous or both channels_last";
  void* written = nullptr;
  const void *read = nullptr, *chosen = nullptr;
  if (const char* wrong = read_mutable_data(target, &written)) return wrong;
  if (const char* wrong = read_data(source, &read)) return wrong;
  if (const char* wrong = read_data(where, &chosen)) return wrong;
  const int64_t bytes = rows->elements() * static_cast<int64_t>(sizeof(float));
  if (overlap(written, bytes, read, bytes) || overlap(written, bytes, chosen, rows->examples))
    return "target must not share memory with source or where";
  rows->target = static_cast<float*>(written);
  rows->source = static_cast<const float*>(read);
  rows->where = static_cast<const bool*>(chosen);
  return nullptr;
}

}  // namespace harden
