// Philox4x32-10: 128 random bits as a function of counter and key (Salmon, Moraes, Dror, Shaw, SC 2011).
//
// The counter is (block, the id's low word, the id's high word, 0), the key is the seed. So an example's numbers depend
// on nothing but seed and id, and any of them is computed alone.
#pragma once

#include "scalar.h"

namespace harden {

struct Words {
  uint32_t word[4];
};

HARDEN_HD Words philox(uint32_t block, uint64_t id, uint64_t seed) {
  uint32_t a = block, b = static_cast<uint32_t>(id), c = static_cast<uint32_t>(id >> 32), d = 0;
  uint32_t low_key = static_cast<uint32_t>(seed), high_key = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{a} * 0xD2511F53u, second = uint64_t{c} * 0xCD9E8D57u;
    a = static_cast<uint32_t>(second >> 32) ^ b ^ low_key;
    b = static_cast<uint32_t>(second);
    c = static_cast<uint32_t>(first >> 32) ^ d ^ high_key;
    d = static_cast<uint32_t>(first);
    low_key += 0x9E3779B9u;
    high_key += 0xBB67AE85u;
  }
  return {{a, b, c, d}};
}

// The word's upper 24 bits: the fraction k / 2^24 that a draw is made of.
HARDEN_HD int32_t fraction(uint32_t word) { return static_cast<int32_t>(word >> 8); }

// k / 2^24, from [0, 1): exact.
HARDEN_HD float uniform(uint32_t word) { return static_cast<float>(fraction(word)) * 0x1p-24f; }

}  // namespace harden
