#include "arguments.h"

#include <cstring>

#include "tensors.h"

namespace harden {
namespace {

constexpr int GRAD = 2;  // its place among the arguments

const char* read_values(const Tensor& tensor, const Step& step, bool per_channel, Values* values) {
  const void* data = nullptr;
  if (const char* wrong = read_data(tensor, &data)) return wrong;
  values->data = static_cast<const float*>(data);
  values->example_stride = 0;
  values->channel_stride = 0;
  if (!contiguous(tensor)) return "alpha and eps have to be contiguous";
  if (tensor.elements() == 1) return nullptr;
  if (tensor.dim == 1 && tensor.sizes[0] == step.examples) {
    values->example_stride = 1;
    return nullptr;
  }
  if (per_channel && tensor.dim == 2 && tensor.sizes[0] == 1 && tensor.sizes[1] == step.channels) {
    values->channel_stride = 1;
    return nullptr;
  }
  return per_channel ? "alpha and eps have to have 1 element or the shape (N,) or (1, C)"
                     : "alpha and eps have to have 1 element or the shape (N,)";
}

// Whether memory that is written holds one of the values: they are read again for every example.
bool overlap(const void* written, int64_t bytes, const Step& step, const Values& values) {
  const int64_t count = values.example_stride ? step.examples : values.channel_stride ? step.channels : 1;
  return harden::overlap(written, bytes, values.data, count * static_cast<int64_t>(sizeof(float)));
}

// A limit of the box; false where the number has no exact float32, so that rounding it would move the box.
bool read_limit(StackValue value, float* limit) {
  double wide;
  memcpy(&wide, &value, sizeof wide);
  *limit = static_cast<float>(wide);
  return static_cast<double>(*limit) == wide;
}

}  // namespace

const char* read_step(const StackValue* stack, int32_t device_type, bool per_channel, Step* step) {
  Tensor tensors[5];
  for (int i = 0; i < 5; ++i) {
    if (const char* wrong = read_tensor(stack[i], device_type, &tensors[i])) return wrong;
    const bool narrow = i == GRAD && tensors[i].dtype == aoti_torch_dtype_bfloat16();
    if (tensors[i].dtype != aoti_torch_dtype_float32() && !narrow)
      return "every tensor has to be float32, and grad float32 or bfloat16";
    if (tensors[i].device_index != tensors[0].device_index) return "every tensor has to be on the same device";
  }
  const Tensor &x_adv = tensors[0], &x = tensors[1], &grad = tensors[GRAD];
  if (x_adv.dim < 1 || !same_shape(x_adv, x) || !same_shape(x_adv, grad))
    return "x_adv, x and grad have to have the same shape (N, ...)";
  step->device_index = x_adv.device_index;
  step->examples = x_adv.sizes[0];
  step->channels = x_adv.dim > 1 ? x_adv.sizes[1] : 1;
  step->pixels = 1;
  for (int64_t axis = 2; axis < x_adv.dim; ++axis) step->pixels *= x_adv.sizes[axis];
  // Before the early return: callers need it for empty tensors too.
  step->grad_is_bfloat16 = grad.dtype == aoti_torch_dtype_bfloat16();

  if (const char* wrong = read_values(tensors[3], *step, per_channel && x_adv.dim > 1, &step->alpha)) return wrong;
  if (const char* wrong = read_values(tensors[4], *step, per_channel && x_adv.dim > 1, &step->eps)) return wrong;
  if (!read_limit(stack[5], &step->low) || !read_limit(stack[6], &step->high) || !(step->low <= step->high))
    return "low and high have to be float32 numbers with low <= high";
  if (step->elements() == 0) return nullptr;

  step->channels_last = !contiguous(x_adv) || !contiguous(x) || !contiguous(grad);
  if (step->channels_last && !(channels_last(x_adv) && channels_last(x) && channels_last(grad)))
    return "x_adv, x and grad have to be all contiguous or all channels_last";
  void* target = nullptr;
  const void *clean = nullptr, *gradient = nullptr;
  if (torch_get_mutable_data_ptr(x_adv.handle, &target) || torch_get_const_data_ptr(x.handle, &clean) ||
      torch_get_const_data_ptr(grad.handle, &gradient))
    return NO_ANSWER;
  step->x_adv = static_cast<float*>(target);
  step->x = static_cast<const float*>(clean);
  step->grad = gradient;
  const int64_t bytes = step->elements() * static_cast<int64_t>(sizeof(float));
  const int64_t bytes_of_grad = step->grad_is_bfloat16 ? bytes / 2 : bytes;
  if (overlap(step->x_adv, bytes, step->x, bytes) || overlap(step->x_adv, bytes, step->grad, bytes_of_grad))
    return "x_adv must not share memory with x or grad";
  if (overlap(step->x_adv, bytes, *step, step->alpha) || overlap(step->x_adv, bytes, *step, step->eps))
    return "x_adv must not share memory with alpha or eps";
  return nullptr;
}

const char* read_l1_step(const StackValue* stack, int32_t device_type, Step* step, Values* k) {
  const StackValue whole[STEP_INPUTS] = {stack[0], stack[1], stack[2], stack[3], stack[4], stack[6], stack[7]};
  if (const char* wrong = read_step(whole, device_type, false, step)) return wrong;
  if (step->grad_is_bfloat16) return "every tensor has to be float32";
  Tensor counts;
  if (const char* wrong = read_tensor(stack[5], device_type, &counts)) return wrong;
  if (counts.dtype != aoti_torch_dtype_float32()) return "every tensor has to be float32";
  if (counts.device_index != step->device_index) return "every tensor has to be on the same device";
  if (read_values(counts, *step, false, k)) return "k has to be contiguous, with 1 element or the shape (N,)";
  const int64_t bytes = step->elements() * static_cast<int64_t>(sizeof(float));
  if (bytes > 0 && overlap(step->x_adv, bytes, *step, *k)) return "x_adv must not share memory with k";
  return nullptr;
}

const char* read_momentum_step(const StackValue* stack, int32_t device_type, bool per_channel, Step* step,
                               Momentum* momentum) {
  const StackValue whole[STEP_INPUTS] = {stack[0], stack[2], stack[3], stack[4], stack[5], stack[7], stack[8]};
  if (const char* wrong = read_step(whole, device_type, per_channel, step)) return wrong;
  Tensor x_adv, before, share;
  if (const char* wrong = read_tensor(stack[0], device_type, &x_adv)) return wrong;
  if (const char* wrong = read_tensor(stack[1], device_type, &before)) return wrong;
  if (const char* wrong = read_tensor(stack[6], device_type, &share)) return wrong;
  if (before.dtype != aoti_torch_dtype_float32() || share.dtype != aoti_torch_dtype_float32())
    return "before and share have to be float32";
  if (before.device_index != step->device_index || share.device_index != step->device_index)
    return "every tensor has to be on the same device";
  if (!same_shape(before, x_adv)) return "before has to have the shape of x_adv";
  if (share.elements() != 1) return "share has to have 1 element";
  if (step->elements() == 0) return nullptr;
  if (!(step->channels_last ? channels_last(before) : contiguous(before)))
    return "x_adv and before have to be both contiguous or both channels_last";
  void* target = nullptr;
  const void* number = nullptr;
  if (const char* wrong = read_mutable_data(before, &target)) return wrong;
  if (const char* wrong = read_data(share, &number)) return wrong;
  const int64_t bytes = step->elements() * static_cast<int64_t>(sizeof(float));
  const int64_t bytes_of_grad = step->grad_is_bfloat16 ? bytes / 2 : bytes;
  if (overlap(target, bytes, step->x_adv, bytes) || overlap(target, bytes, step->x, bytes) ||
      overlap(target, bytes, step->grad, bytes_of_grad))
    return "before must not share memory with x_adv, x or grad";
  if (overlap(target, bytes, *step, step->alpha) || overlap(target, bytes, *step, step->eps))
    return "before must not share memory with alpha or eps";
  const int64_t one = static_cast<int64_t>(sizeof(float));
  if (overlap(target, bytes, number, one) || overlap(step->x_adv, bytes, number, one))
    return "x_adv and before must not share memory with share";
  momentum->before = static_cast<float*>(target);
  momentum->share = static_cast<const float*>(number);
  return nullptr;
}

const char* read_projection(const StackValue* stack, int32_t device_type, Step* step) {
  const StackValue whole[STEP_INPUTS] = {stack[0], stack[1], stack[1], stack[2], stack[2], stack[3], stack[4]};
  return read_step(whole, device_type, false, step);
}

const char* read_ranking(const StackValue* stack, int32_t device_type, Ranking* ranking) {
  Tensor tensors[3];
  for (int i = 0; i < 3; ++i) {
    if (const char* wrong = read_tensor(stack[i], device_type, &tensors[i])) return wrong;
    if (tensors[i].dtype != aoti_torch_dtype_float32()) return "every tensor has to be float32";
    if (tensors[i].device_index != tensors[0].device_index) return "every tensor has to be on the same device";
  }
  const Tensor &threshold = tensors[0], &values = tensors[1];
  if (values.dim < 1 || threshold.dim != 1 || threshold.sizes[0] != values.sizes[0] || !contiguous(threshold))
    return "values have to have the shape (N, ...) and out, contiguous, the shape (N,)";
  ranking->device_index = values.device_index;
  ranking->examples = values.sizes[0];
  ranking->elements = 1;
  for (int64_t axis = 1; axis < values.dim; ++axis) ranking->elements *= values.sizes[axis];
  Step step = {};
  step.examples = ranking->examples;
  if (read_values(tensors[2], step, false, &ranking->k)) return "k has to be contiguous, with 1 element or the shape (N,)";
  if (values.elements() == 0) return nullptr;
  if (!contiguous(values) && !channels_last(values)) return "values have to be contiguous or channels_last";
  void* target = nullptr;
  const void* source = nullptr;
  if (torch_get_mutable_data_ptr(threshold.handle, &target) || torch_get_const_data_ptr(values.handle, &source))
    return NO_ANSWER;
  ranking->threshold = static_cast<float*>(target);
  ranking->values = static_cast<const float*>(source);
  const int64_t one = static_cast<int64_t>(sizeof(float));
  if (harden::overlap(target, ranking->examples * one, source, values.elements() * one) ||
      overlap(target, ranking->examples * one, step, ranking->k))
    return "out must not share memory with values or k";
  return nullptr;
}

}  // namespace harden
