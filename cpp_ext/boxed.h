// The frame around every kernel: own the arguments, run, return the results, raise errors through torch.
#pragma once

#include "torch_shim.h"

namespace harden {

// A kernel returns nullptr, or a message.
typedef const char* (*StepKernel)(const StackValue* stack);

// Our code is compiled without exceptions and neither throws nor catches. A refusal is raised by torch, in torch, as
// the last thing this frame does, when it holds nothing: torch's exception passes it on the way back to torch.
template <StepKernel kernel, uint64_t tensors, uint64_t arguments>
void boxed(StackValue* stack, uint64_t inputs, uint64_t outputs) {
  const char* wrong = "the operation was registered with another schema";
  if (inputs == arguments && outputs == 0) {
    wrong = kernel(stack);
    for (uint64_t i = 0; i < tensors; ++i)
      if (aoti_torch_delete_tensor_object(reinterpret_cast<TensorHandle>(stack[i])) && wrong == nullptr)
        wrong = "torch did not take a tensor back";
  }
  if (wrong != nullptr) aoti_torch_check(false, "harden", "cpp_ext", __LINE__, wrong);
}

}  // namespace harden
