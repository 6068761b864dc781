// Each op's call: read from Python's integers, its slots, and what must hold before a kernel sees
// it.
#pragma once

#include "arguments.h"
#include "fused_step/fused_step.h"
#include "jvp_distill_loss/jvp_distill_loss.h"
#include "normal_fill/normal_fill.h"
#include "spectral_filter/spectral_filter.h"
#include "sum_of_squares/sum_of_squares.h"

namespace genie {

// The order in which the readers read; genie_ext/_dispatch.py refuses a module of another one.
// Count up with every change of that order and with every new call.
inline constexpr int kCallLayout = 8;

void read(Arguments& arguments, FusedStep& call);
void read(Arguments& arguments, NormalFill& call);
void read(Arguments& arguments, JvpDistillLoss& call);
void read(Arguments& arguments, SpectralFilter& call);
void read(Arguments& arguments, SumOfSquares& call);

// The tensors that a run of a prepared call may bring: of fused_step x, then the outputs, then the
// draws; of the others none.
Samples& slot(FusedStep& call, int64_t index);
Samples& slot(NormalFill& call, int64_t index);
Samples& slot(JvpDistillLoss& call, int64_t index);
Samples& slot(SpectralFilter& call, int64_t index);
Samples& slot(SumOfSquares& call, int64_t index);

// Raises where a tensor that is present has no address. One of no elements may have none.
void require_addresses(const FusedStep& call);
void require_addresses(const NormalFill& call);
void require_addresses(const JvpDistillLoss& call);
void require_addresses(const SpectralFilter& call);
void require_addresses(const SumOfSquares& call);

}  // namespace genie
