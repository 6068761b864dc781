#include "common/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace genie {
namespace {

#ifdef GENIE_X86_LEVELS
// Feature by feature: g++ 11 compiles for x86-64-v3 and v4, but cannot ask for them by name. What
// else belongs to v3 (f16c, lzcnt, movbe), not every compiler can ask for; it came with all of
// these.
bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

bool has_v4_beyond_v3() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

Isa best_isa() {
#ifdef GENIE_X86_LEVELS
  if (has_v3() && has_v4_beyond_v3()) return Isa::avx512;
  if (has_v3()) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa choose_isa() {
  const char* wanted = std::getenv("GENIE_EXT_ISA");
  const Isa best = best_isa();
  if (wanted == nullptr || *wanted == '\0') return best;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (wanted == std::string(isa_name(isa)) && isa <= best) return isa;
  }
  throw std::invalid_argument("GENIE_EXT_ISA=" + std::string(wanted) +
                              ": choose baseline, avx2 or avx512, at most " + isa_name(best) +
                              " on this machine, or unset it");
}

}  // namespace

Isa selected_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace genie
