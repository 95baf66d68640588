// The part of PyTorch's stable C interface that harden calls, declared by hand: no torch headers at build time.
//
// Every function here exists with this signature in torch 2.10 and keeps it: that is the promise of the stable
// interface. Each returns 0, or another number where it failed, unless it says otherwise. A function added here goes
// into stubs/ and allowed_symbols.txt as well.
#pragma once

#include <cstdint>

extern "C" {

typedef int32_t TorchError;
typedef struct TorchTensor* TensorHandle;    // owned by us once it was on a kernel's stack
typedef struct TorchLibrary* LibraryHandle;  // lives as long as the process: operations are never unregistered
typedef struct TorchCudaGuard* CudaGuardHandle;
typedef uint64_t StackValue;                 // a tensor handle, or the bits of a double or an int64
typedef void (*BoxedKernel)(StackValue* stack, uint64_t inputs, uint64_t outputs);
typedef void (*RangeBody)(int64_t begin, int64_t end, void* context);

// Registration. `built_for` is a torch version, major << 56 | minor << 48: which meaning of stack values we use.
TorchError aoti_torch_library_init_def(const char* name, const char* file, uint32_t line, LibraryHandle* library);
TorchError aoti_torch_library_init_impl(
    const char* name, const char* dispatch_key, const char* file, uint32_t line, LibraryHandle* library);
TorchError aoti_torch_library_def(LibraryHandle library, const char* schema);
TorchError torch_library_impl(LibraryHandle library, const char* name, BoxedKernel kernel, uint64_t built_for);

// Tensors. Sizes, strides and data stay torch's.
TorchError aoti_torch_get_dim(TensorHandle tensor, int64_t* dim);
TorchError aoti_torch_get_sizes(TensorHandle tensor, int64_t** sizes);
TorchError aoti_torch_get_strides(TensorHandle tensor, int64_t** strides);
TorchError aoti_torch_get_dtype(TensorHandle tensor, int32_t* dtype);
TorchError aoti_torch_get_device_type(TensorHandle tensor, int32_t* device_type);
TorchError aoti_torch_get_device_index(TensorHandle tensor, int32_t* device_index);
TorchError torch_get_mutable_data_ptr(TensorHandle tensor, void** data);
TorchError torch_get_const_data_ptr(TensorHandle tensor, const void** data);
TorchError aoti_torch_delete_tensor_object(TensorHandle tensor);

// Constants: these return the value itself.
int32_t aoti_torch_dtype_float32();
int32_t aoti_torch_dtype_bfloat16();
int32_t aoti_torch_dtype_int64();
int32_t aoti_torch_dtype_bool();
int32_t aoti_torch_device_type_cpu();
int32_t aoti_torch_device_type_cuda();

// Runs body(begin, end, context) over parts of a range on torch's thread pool.
TorchError torch_parallel_for(int64_t begin, int64_t end, int64_t grain, RangeBody body, void* context);

// Where `condition` is false, raises RuntimeError(message) inside torch. It does not return then; see boxed.h.
void aoti_torch_check(bool condition, const char* function, const char* file, uint32_t line, const char* message);

// CUDA, from libtorch_cuda.so.
TorchError aoti_torch_create_cuda_guard(int32_t device_index, CudaGuardHandle* guard);
TorchError aoti_torch_delete_cuda_guard(CudaGuardHandle guard);
TorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);

}  // extern "C"
