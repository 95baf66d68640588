// The module _cpu: the schemas of all operations, and their kernels for the CPU.
#include "../module.h"

#include "kernels.h"

namespace {

constexpr const char* SCHEMAS[] = {
    "linf_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, Tensor alpha, Tensor eps, float low, float high) -> ()",
    "l2_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, Tensor alpha, Tensor eps, float low, float high) -> ()",
    "fill_uniform_(Tensor(a!) out, Tensor ids, int seed) -> ()",
    "fill_normal_(Tensor(a!) out, Tensor ids, int seed) -> ()",
    "loss_grad_(Tensor(a!) loss, Tensor(b!) margin, Tensor(c!) wrong, Tensor(d!) dlogits, Tensor logits, Tensor y, "
    "Tensor target, int kind) -> ()",
    "l1_step_(Tensor(a!) x_adv, Tensor x, Tensor grad, Tensor alpha, Tensor eps, Tensor k, float low, float high) -> ()",
    "l1_project_(Tensor(a!) x_adv, Tensor x, Tensor eps, float low, float high) -> ()",
    "topk_threshold(Tensor(a!) out, Tensor values, Tensor k) -> ()",
    "apgd_linf_step_(Tensor(a!) x_adv, Tensor(b!) before, Tensor x, Tensor grad, Tensor alpha, Tensor eps, Tensor share, "
    "float low, float high) -> ()",
    "apgd_l2_step_(Tensor(a!) x_adv, Tensor(b!) before, Tensor x, Tensor grad, Tensor alpha, Tensor eps, Tensor share, "
    "float low, float high) -> ()",
    "copy_rows_(Tensor(a!) target, Tensor source, Tensor where) -> ()",
};

}  // namespace

int32_t harden_register() {
  using namespace harden;
  LibraryHandle schemas = nullptr;
  if (const TorchError code = aoti_torch_library_init_def("harden", "cpp_ext", __LINE__, &schemas)) return code;
  for (const char* schema : SCHEMAS)
    if (const TorchError code = aoti_torch_library_def(schemas, schema)) return code;
  LibraryHandle kernels = nullptr;
  if (const TorchError code = aoti_torch_library_init_impl("harden", "CPU", "cpp_ext", __LINE__, &kernels))
    return code;
  const struct {
    const char* name;
    BoxedKernel kernel;
  } operations[] = {
      {"linf_step_", boxed<linf_step_cpu, 5, STEP_INPUTS>},
      {"l2_step_", boxed<l2_step_cpu, 5, STEP_INPUTS>},
      {"fill_uniform_", boxed<fill_uniform_cpu, FILL_TENSORS, FILL_INPUTS>},
      {"fill_normal_", boxed<fill_normal_cpu, FILL_TENSORS, FILL_INPUTS>},
      {"loss_grad_", boxed<loss_grad_cpu, LOGITS_TENSORS, LOGITS_INPUTS>},
      {"l1_step_", boxed<l1_step_cpu, 6, L1_STEP_INPUTS>},
      {"l1_project_", boxed<l1_project_cpu, 3, PROJECTION_INPUTS>},
      {"topk_threshold", boxed<topk_threshold_cpu, 3, RANKING_INPUTS>},
      {"apgd_linf_step_", boxed<apgd_linf_step_cpu, 7, MOMENTUM_INPUTS>},
      {"apgd_l2_step_", boxed<apgd_l2_step_cpu, 7, MOMENTUM_INPUTS>},
      {"copy_rows_", boxed<copy_rows_cpu, 3, ROWS_INPUTS>},
  };
  for (const auto& operation : operations)
    if (const TorchError code = torch_library_impl(kernels, operation.name, operation.kernel, BUILT_FOR)) return code;
  return 0;
}
