// The CPU's entry points, each running on the selected instruction set.
#pragma once

#include "fused_step/fused_step.h"
#include "jvp_distill_loss/jvp_distill_loss.h"
#include "normal_fill/normal_fill.h"
#include "spectral_filter/spectral_filter.h"
#include "sum_of_squares/sum_of_squares.h"

namespace genie {

// One block of the generator as the vector code computes it, for the published known answers.
void philox_block_cpu(const uint32_t counter[4], int64_t seed, uint32_t words[4]);

}  // namespace genie
