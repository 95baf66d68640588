#include "logits.h"

#include "tensors.h"

namespace harden {
namespace {

enum Place { LOSS, MARGINS, WRONG, DLOGITS, LOGITS, Y, TARGET };

constexpr int WRITTEN = 4;  // the first four

const char* check_types(const Tensor* tensors) {
  const int32_t float32 = aoti_torch_dtype_float32(), type = tensors[LOGITS].dtype;
  if (tensors[LOSS].dtype != float32 || tensors[MARGINS].dtype != float32) return "loss and margin have to be float32";
  if (tensors[WRONG].dtype != aoti_torch_dtype_bool()) return "wrong has to be bool";
  if ((type != float32 && type != aoti_torch_dtype_bfloat16()) || tensors[DLOGITS].dtype != type)
    return "logits and dlogits have to be both float32 or both bfloat16";
  if (tensors[Y].dtype != aoti_torch_dtype_int64() || tensors[TARGET].dtype != aoti_torch_dtype_int64())
    return "y and target have to be int64";
  return nullptr;
}

const char* check_shapes(const Tensor* tensors) {
  const Tensor& logits = tensors[LOGITS];
  if (logits.dim != 2 || logits.sizes[1] < 1 || !same_shape(logits, tensors[DLOGITS]))
    return "logits and dlogits have to have the same shape (N, K), K >= 1";
  constexpr Place PER_EXAMPLE[] = {LOSS, MARGINS, WRONG, Y, TARGET};
  for (const Place place : PER_EXAMPLE)
    if (tensors[place].dim != 1 || tensors[place].sizes[0] != logits.sizes[0])
      return "loss, margin, wrong, y and target have to have the shape (N,)";
  for (int i = 0; i < static_cast<int>(LOGITS_TENSORS); ++i)
    if (!contiguous(tensors[i])) return "every tensor has to be contiguous";
  return nullptr;
}

}  // namespace

const char* read_logits(const StackValue* stack, int32_t device_type, Logits* out) {
  constexpr int COUNT = static_cast<int>(LOGITS_TENSORS);
  Tensor tensors[COUNT];
  for (int i = 0; i < COUNT; ++i) {
    if (const char* wrong = read_tensor(stack[i], device_type, &tensors[i])) return wrong;
    if (tensors[i].device_index != tensors[0].device_index) return "every tensor has to be on the same device";
  }
  if (const char* wrong = check_types(tensors)) return wrong;
  if (const char* wrong = check_shapes(tensors)) return wrong;
  out->kind = static_cast<int64_t>(stack[COUNT]);
  if (out->kind < 0 || out->kind >= KINDS) return "there is no loss of this kind";
  out->examples = tensors[LOGITS].sizes[0];
  out->classes = tensors[LOGITS].sizes[1];
  if ((out->kind == DLR && out->classes < 3) || (out->kind == TARGETED_DLR && out->classes < 4))
    return "a difference of logits ratio needs 3 classes, a targeted one 4";
  out->bfloat16 = tensors[LOGITS].dtype == aoti_torch_dtype_bfloat16();
  out->device_index = tensors[LOGITS].device_index;
  if (out->examples == 0) return nullptr;

  const void* data[COUNT];
  int64_t bytes[COUNT];
  for (int i = 0; i < COUNT; ++i) {
    const int64_t size = i == WRONG ? 1 : i == Y || i == TARGET ? 8 : i >= DLOGITS && out->bfloat16 ? 2 : 4;
    bytes[i] = tensors[i].elements() * size;
    void* target = nullptr;
    const char* wrong = i < WRITTEN ? read_mutable_data(tensors[i], &target) : read_data(tensors[i], &data[i]);
    if (wrong != nullptr) return wrong;
    if (i < WRITTEN) data[i] = target;
    for (int j = 0; j < i && j < WRITTEN; ++j)
      if (overlap(data[i], bytes[i], data[j], bytes[j])) return "what is written must not share memory";
  }
  out->loss = static_cast<float*>(const_cast<void*>(data[LOSS]));
  out->margin = static_cast<float*>(const_cast<void*>(data[MARGINS]));
  out->wrong = static_cast<bool*>(const_cast<void*>(data[WRONG]));
  out->dlogits = const_cast<void*>(data[DLOGITS]);
  out->logits = data[LOGITS];
  out->y = static_cast<const int64_t*>(data[Y]);
  out->target = static_cast<const int64_t*>(data[TARGET]);
  return nullptr;
}

}  // namespace harden
