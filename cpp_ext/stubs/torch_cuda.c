// A link stub, as torch_cpu.c, for libtorch_cuda.so.
#define STUB(name) \
  void name(void) {}

STUB(aoti_torch_create_cuda_guard)
STUB(aoti_torch_delete_cuda_guard)
STUB(aoti_torch_get_current_cuda_stream)
