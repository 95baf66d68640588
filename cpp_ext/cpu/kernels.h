// The CPU kernels, and how their inner loops are compiled.
#pragma once

#include "../arguments.h"
#include "../draws.h"
#include "../logits.h"
#include "../rows.h"

// Every function so marked is compiled for AVX-512, for AVX2 and for the base, and the loader picks one. CMakeLists.txt
// defines it where compiler, C library and processor know how. All versions return the same bits.
#ifndef HARDEN_CLONES
#define HARDEN_CLONES
#endif

namespace harden {

// Elements that are worth a thread of their own.
constexpr int64_t GRAIN = 32768;

const char* linf_step_cpu(const StackValue* stack);
const char* apgd_linf_step_cpu(const StackValue* stack);
const char* apgd_l2_step_cpu(const StackValue* stack);
const char* copy_rows_cpu(const StackValue* stack);
const char* l2_step_cpu(const StackValue* stack);
const char* fill_uniform_cpu(const StackValue* stack);
const char* fill_normal_cpu(const StackValue* stack);
const char* loss_grad_cpu(const StackValue* stack);
const char* l1_step_cpu(const StackValue* stack);
const char* l1_project_cpu(const StackValue* stack);
const char* topk_threshold_cpu(const StackValue* stack);

}  // namespace harden
