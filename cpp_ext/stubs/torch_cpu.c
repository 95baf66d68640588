// A link stub: it lends libtorch_cpu.so's SONAME and symbol names to the linker. Never installed, never loaded.
#define STUB(name) \
  void name(void) {}

STUB(aoti_torch_library_init_def)
STUB(aoti_torch_library_init_impl)
STUB(aoti_torch_library_def)
STUB(torch_library_impl)
STUB(aoti_torch_get_dim)
STUB(aoti_torch_get_sizes)
STUB(aoti_torch_get_strides)
STUB(aoti_torch_get_dtype)
STUB(aoti_torch_get_device_type)
STUB(aoti_torch_get_device_index)
STUB(torch_get_mutable_data_ptr)
STUB(torch_get_const_data_ptr)
STUB(aoti_torch_delete_tensor_object)
STUB(aoti_torch_dtype_float32)
STUB(aoti_torch_dtype_bfloat16)
STUB(aoti_torch_dtype_int64)
STUB(aoti_torch_device_type_cpu)
STUB(aoti_torch_device_type_cuda)
STUB(torch_parallel_for)
STUB(aoti_torch_check)
