// The CUDA kernels, and the frame that every launch shares.
#pragma once

#include <cuda_runtime.h>

#include "../arguments.h"
#include "../draws.h"
#include "../logits.h"
#include "../rows.h"

namespace harden {

constexpr int THREADS = 256;

const char* linf_step_cuda(const StackValue* stack);
const char* apgd_linf_step_cuda(const StackValue* stack);
const char* apgd_l2_step_cuda(const StackValue* stack);
const char* copy_rows_cuda(const StackValue* stack);
const char* l2_step_cuda(const StackValue* stack);
const char* fill_uniform_cuda(const StackValue* stack);
const char* fill_normal_cuda(const StackValue* stack);
const char* loss_grad_cuda(const StackValue* stack);
const char* l1_step_cuda(const StackValue* stack);
const char* l1_project_cuda(const StackValue* stack);
const char* topk_threshold_cuda(const StackValue* stack);

// Makes the tensors' device current for its lifetime and finds torch's current stream on it. Nothing here blocks
// on the device, so a launch can be captured in a CUDA graph.
class Launch {
 public:
  explicit Launch(int32_t device_index) {
    void* stream = nullptr;
    if (aoti_torch_create_cuda_guard(device_index, &guard_) ||
        aoti_torch_get_current_cuda_stream(device_index, &stream)) {
      wrong_ = "torch did not make its CUDA device current";
      return;
    }
    // Our CUDA runtime is linked statically: it keeps its own idea of the current device, apart from torch's.
    check(cudaSetDevice(device_index));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  ~Launch() {
    if (guard_ != nullptr) aoti_torch_delete_cuda_guard(guard_);
  }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  cudaStream_t stream() const { return stream_; }
  const char* wrong() const { return wrong_; }

  // To be called right after a launch: returns nullptr, or what CUDA says is wrong.
  const char* launched() {
    check(cudaGetLastError());
    return wrong_;
  }

 private:
  void check(cudaError_t code) {
    if (code != cudaSuccess && wrong_ == nullptr) wrong_ = cudaGetErrorString(code);
  }

  CudaGuardHandle guard_ = nullptr;
  cudaStream_t stream_ = nullptr;
  const char* wrong_ = nullptr;
};

}  // namespace harden
