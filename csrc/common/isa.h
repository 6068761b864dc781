// Which of the compiled instruction sets runs; every one gives the same bits.
#pragma once

namespace genie {

enum class Isa { baseline = 0, avx2 = 1, avx512 = 2 };

// The best level of this CPU, or the lower one that GENIE_EXT_ISA=baseline|avx2|avx512 names;
// decided at the first call.
Isa selected_isa();

const char* isa_name(Isa isa);

}  // namespace genie
