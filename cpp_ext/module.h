// What a module exports: three C functions, called once by harden/kernels/load_library.py after torch was imported.
#pragma once

#include "boxed.h"

#define HARDEN_EXPORT extern "C" __attribute__((visibility("default")))

// Raised by one whenever a schema or the meaning of an argument changes, here and in load_library.py.
#define HARDEN_INTERFACE 3

namespace harden {

// The meaning of stack values as of torch 2.10.
constexpr uint64_t BUILT_FOR = uint64_t{2} << 56 | uint64_t{10} << 48;

}  // namespace harden

HARDEN_EXPORT int32_t harden_interface() { return HARDEN_INTERFACE; }
HARDEN_EXPORT const char* harden_build() { return HARDEN_BUILD; }

// Registers the module's operations. Returns 0, or the code of the call that torch refused.
HARDEN_EXPORT int32_t harden_register();
