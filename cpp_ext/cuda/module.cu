// The module _cuda: kernels for CUDA under the schemas that _cpu registered.
#include "../module.h"

#include "kernels.h"

namespace {

// The code of a driver that is older than the CUDA runtime in this module.
constexpr int32_t DRIVER_TOO_OLD = -1;

}  // namespace

int32_t harden_register() {
  using namespace harden;
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver / 1000 < CUDART_VERSION / 1000) return DRIVER_TOO_OLD;
  LibraryHandle kernels = nullptr;
  if (const TorchError code = aoti_torch_library_init_impl("harden", "CUDA", "cpp_ext", __LINE__, &kernels))
    return code;
  const struct {
    const char* name;
    BoxedKernel kernel;
  } operations[] = {
      {"linf_step_", boxed<linf_step_cuda, 5, STEP_INPUTS>},
      {"l2_step_", boxed<l2_step_cuda, 5, STEP_INPUTS>},
      {"fill_uniform_", boxed<fill_uniform_cuda, FILL_TENSORS, FILL_INPUTS>},
      {"fill_normal_", boxed<fill_normal_cuda, FILL_TENSORS, FILL_INPUTS>},
      {"loss_grad_", boxed<loss_grad_cuda, LOGITS_TENSORS, LOGITS_INPUTS>},
      {"l1_step_", boxed<l1_step_cuda, 6, L1_STEP_INPUTS>},
      {"l1_project_", boxed<l1_project_cuda, 3, PROJECTION_INPUTS>},
      {"topk_threshold", boxed<topk_threshold_cuda, 3, RANKING_INPUTS>},
      {"apgd_linf_step_", boxed<apgd_linf_step_cuda, 7, MOMENTUM_INPUTS>},
      {"apgd_l2_step_", boxed<apgd_l2_step_cuda, 7, MOMENTUM_INPUTS>},
      {"copy_rows_", boxed<copy_rows_cuda, 3, ROWS_INPUTS>},
  };
  for (const auto& operation : operations)
    if (const TorchError code = torch_library_impl(kernels, operation.name, operation.kernel, BUILT_FOR)) return code;
  return 0;
}
