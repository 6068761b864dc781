// Checks of the shared headers that need no Python; prints the first failure and exits with 1.
#include <cmath>
#include <cstdio>

#include "common/dtype.h"
#include "common/normal.h"

namespace {

using namespace genie;

struct KnownAnswer {
  PhiloxWords counter;
  PhiloxKey key;
  PhiloxWords words;
};

// Philox4x32-10 in kat_vectors of Random123 (Salmon et al. 2011)
constexpr KnownAnswer kPublished[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

bool philox_gives_the_published_words() {
  for (const KnownAnswer& known : kPublished) {
    const PhiloxWords w = philox(known.counter, known.key);
    const PhiloxWords k = known.words;
    if (w.x0 != k.x0 || w.x1 != k.x1 || w.x2 != k.x2 || w.x3 != k.x3) return false;
  }
  return true;
}

template <class Stored>
bool every_value_survives_widening_and_narrowing() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Stored value{static_cast<uint16_t>(bits)};
    const bool nan = std::isnan(to<double>(value));
    if (!nan && to<Stored>(to<float>(value)).bits != bits) return false;
    if (!nan && to<Stored>(to<double>(value)).bits != bits) return false;
    if (nan && !std::isnan(to<float>(to<Stored>(to<float>(value))))) return false;
    if (is_finite(value) != std::isfinite(to<double>(value))) return false;
  }
  return true;
}

// A double just off the middle of two neighbours must not be rounded to the middle on the way.
template <class Stored>
bool doubles_beside_a_midpoint_go_to_the_nearer() {
  for (uint32_t bits = 1; bits < 0x7BFF; ++bits) {
    const double below = to<double>(Stored{static_cast<uint16_t>(bits)});
    const double above = to<double>(Stored{static_cast<uint16_t>(bits + 1)});
    const double middle = below + (above - below) / 2;
    if (to<Stored>(std::nextafter(middle, 0.0)).bits != bits) return false;
    if (to<Stored>(std::nextafter(middle, above)).bits != bits + 1) return false;
    if (to<Stored>(middle).bits != bits + (bits & 1)) return false;
    if (to<Stored>(-middle).bits != (0x8000 | (bits + (bits & 1)))) return false;
  }
  return true;
}

bool check(const char* name, bool passed) {
  if (!passed) std::printf("failed: %s\n", name);
  return passed;
}

}  // namespace

int main() {
  const bool passed =
      check("philox", philox_gives_the_published_words()) &&
      check("float16 there and back", every_value_survives_widening_and_narrowing<Half>()) &&
      check("bfloat16 there and back", every_value_survives_widening_and_narrowing<BFloat16>()) &&
      check("float64 to float16", doubles_beside_a_midpoint_go_to_the_nearer<Half>()) &&
      check("float64 to bfloat16", doubles_beside_a_midpoint_go_to_the_nearer<BFloat16>());
  return passed ? 0 : 1;
}
