// Copies examples on the CPU: those that are not chosen cost no memory traffic.
#include "../rows.h"

#include <cstring>

#include "kernels.h"

namespace harden {
namespace {

void body(int64_t begin, int64_t end, void* context) {
  const Rows& rows = *static_cast<const Rows*>(context);
  for (int64_t i = begin; i < end; ++i)
    if (rows.where[i])
      memcpy(rows.target + i * rows.count, rows.source + i * rows.count,
             static_cast<size_t>(rows.count) * sizeof(float));
}

}  // namespace

const char* copy_rows_cpu(const StackValue* stack) {
  Rows rows;
  if (const char* wrong = read_rows(stack, aoti_torch_device_type_cpu(), &rows)) return wrong;
  if (rows.elements() == 0) return nullptr;
  const int64_t grain = rows.count < GRAIN ? GRAIN / rows.count : 1;
  return torch_parallel_for(0, rows.examples, grain, body, &rows) ? "torch's threads did not run" : nullptr;
}

}  // namespace harden
