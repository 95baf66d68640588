// Filling by draws on the CPU: stretches of an example's numbers, split over torch's threads.
#include "../draws.h"

#include "../normal.h"
#include "kernels.h"

namespace harden {
namespace {

// Blocks of four words that are made at once; their words fit the first cache.
constexpr int64_t BLOCKS = 256;
constexpr int64_t STRETCH = 4 * BLOCKS;

HARDEN_CLONES void make_words(uint32_t* __restrict out, uint32_t first, int64_t blocks, uint64_t id, uint64_t seed) {
  for (int64_t i = 0; i < blocks; ++i) {
    const Words words = philox(first + static_cast<uint32_t>(i), id, seed);
    for (int lane = 0; lane < 4; ++lane) out[4 * i + lane] = words.word[lane];
  }
}

HARDEN_CLONES void make_uniform(float* __restrict out, const uint32_t* __restrict words, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = uniform(words[i]);
}

HARDEN_CLONES void make_normal(float* __restrict first, float* __restrict second, const uint32_t* __restrict radii,
                               const uint32_t* __restrict angles, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const Pair pair = normal_pair(radii[i], angles[i]);
    first[i] = static_cast<float>(pair.first);
    second[i] = static_cast<float>(pair.second);
  }
}

// Makes the words [begin, begin + n) of an example, n <= STRETCH, and returns where in `buffer` they start.
const uint32_t* words(uint32_t* buffer, int64_t begin, int64_t n, uint64_t id, uint64_t seed) {
  const int64_t first = begin / 4, skipped = begin % 4;
  make_words(buffer, static_cast<uint32_t>(first), (skipped + n + 3) / 4, id, seed);
  return buffer + skipped;
}

int64_t stretches(int64_t n) { return (n + STRETCH - 1) / STRETCH; }

int64_t length(int64_t begin, int64_t n) { return n - begin < STRETCH ? n - begin : STRETCH; }

// Stretches [begin, end), counted over all examples.
void fill_uniform(int64_t begin, int64_t end, void* context) {
  const Fill& fill = *static_cast<const Fill*>(context);
  const int64_t each = stretches(fill.count);
  uint32_t buffer[STRETCH + 4];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t example = i / each, start = i % each * STRETCH, n = length(start, fill.count);
    const uint64_t id = static_cast<uint64_t>(fill.ids[example]);
    make_uniform(fill.out + example * fill.count + start, words(buffer, start, n, id, fill.seed), n);
  }
}

// As `fill_uniform`; number j and number j + half are the two of a pair, made of words j and j + half.
void fill_normal(int64_t begin, int64_t end, void* context) {
  const Fill& fill = *static_cast<const Fill*>(context);
  const int64_t half = (fill.count + 1) / 2, each = stretches(half);
  uint32_t radii[STRETCH + 4], angles[STRETCH + 4];
  float spare[STRETCH];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t example = i / each, start = i % each * STRETCH, n = length(start, half);
    const uint64_t id = static_cast<uint64_t>(fill.ids[example]);
    float* const first = fill.out + example * fill.count + start;
    // An odd count leaves out the second number of the last pair.
    const int64_t kept = start + n == half ? n - fill.count % 2 : n;
    make_normal(first, spare, words(radii, start, n, id, fill.seed), words(angles, half + start, n, id, fill.seed), n);
    if (kept > 0) memcpy(first + half, spare, static_cast<size_t>(kept) * sizeof(float));
  }
}

const char* run(const StackValue* stack, bool normal) {
  Fill fill;
  if (const char* wrong = read_fill(stack, aoti_torch_device_type_cpu(), &fill)) return wrong;
  if (fill.elements() == 0) return nullptr;
  const int64_t units = normal ? (fill.count + 1) / 2 : fill.count;
  const int64_t grain = GRAIN / (units < STRETCH ? units : STRETCH);
  const bool failed = torch_parallel_for(0, fill.examples * stretches(units), grain,
                                         normal ? fill_normal : fill_uniform, &fill);
  return failed ? "torch's threads did not run" : nullptr;
}

}  // namespace

const char* fill_uniform_cpu(const StackValue* stack) { return run(stack, false); }
const char* fill_normal_cpu(const StackValue* stack) { return run(stack, true); }

}  // namespace harden
