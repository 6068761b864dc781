// sum_of_squares on the CPU; compiled once per instruction set.
#include "common/loops.h"
#include "common/parallel.h"
#include "common/tree_sum.h"
#include "sum_of_squares/sum_of_squares.h"

namespace genie::inline GENIE_ISA {

// Below this many elements one thread works alone: it spares the start of a team.
inline constexpr int64_t kSerialElements = 8192;

void sum_of_squares(const SumOfSquares& call, int threads) {
  FloatingPointDefaults defaults;  // of this thread, after the team
  const int64_t blocks = sum_blocks(call.elements);
  if (call.batch * call.elements < kSerialElements) threads = 1;
  parallel_ranges(call.batch * blocks, threads, [&](int64_t begin, int64_t end) {
    alignas(64) double squares[kSumBlock];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / blocks, first = task % blocks * kSumBlock;
      const int64_t rest = call.elements - first;
      const int count = static_cast<int>(rest < kSumBlock ? rest : kSumBlock);
      convert_from(call.x.dtype, address_of(call.x, sample, first), squares, count);  // 1 widen
      for (int i = 0; i < count; ++i) squares[i] = mul(squares[i], squares[i]);       // 2 square
      call.partials[task] = block_sum(squares, count);                                // 3 sum
    }
  });
  for (int64_t sample = 0; sample < call.batch; ++sample)
    call.out[sample] = tree_sum(call.partials + sample * blocks, blocks);
}

}  // namespace genie::inline GENIE_ISA
