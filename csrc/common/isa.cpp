#include "common/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace genie {
namespace {

Isa best_isa() {
#ifdef GENIE_X86_LEVELS
  if (__builtin_cpu_supports("x86-64-v4")) return Isa::avx512;
  if (__builtin_cpu_supports("x86-64-v3")) return Isa::avx2;
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
