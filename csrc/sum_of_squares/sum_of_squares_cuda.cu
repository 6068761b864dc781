// sum_of_squares on CUDA: the first kernel leaves one partial sum per block of kSumBlock elements,
// the second, a single block, adds these. No atomics: the order of every sum is fixed.
#include "common/block_sum.cuh"
#include "sum_of_squares/sum_of_squares.h"

namespace genie {
namespace {

template <Access kAccess>
__global__ void __launch_bounds__(kThreads)
    sum_of_squares_kernel(const __grid_constant__ SumOfSquares call) {
  __shared__ Quad<double> shared[kThreads];
  const int64_t blocks = sum_blocks(call.elements);
  for_each_sample(call.batch, [&](int64_t sample) {
    const SampleView x = sample_of(call.x, sample);
#pragma unroll 1
    for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
      const int64_t element = block * kSumBlock + threadIdx.x * kQuad;
      Quad<double> squares = {};
      if (element < call.elements) {
        // 1 widen
        squares =
            decode<double, kAccess>(fetch<double, kAccess>(x, element, call.elements), x.dtype);
#pragma unroll
        for (int i = 0; i < kQuad; ++i) squares.v[i] = mul(squares.v[i], squares.v[i]);  // 2 square
      }
      block_sum(squares, shared, call.partials + sample * blocks + block);  // 3 sum
    }
  });
}

__global__ void __launch_bounds__(kThreads)
    sum_of_squares_finish_kernel(const __grid_constant__ SumOfSquares call) {
  const int64_t blocks = sum_blocks(call.elements);
  tree_sums(call.partials, call.batch, blocks);
  for (int64_t sample = threadIdx.x; sample < call.batch; sample += blockDim.x)
    call.out[sample] = blocks == 0 ? 0.0 : call.partials[sample * blocks];
}

}  // namespace

void sum_of_squares_cuda(const SumOfSquares& call, int device, void* cuda_stream) {
  constexpr int64_t kMaxGridX = 0x7FFFFFFF, kMaxGridY = 65535;
  if (call.batch == 0) return;
  const CurrentDevice current(device);
  const bool vector = call.elements % kQuad == 0 && is_vectorizable<double>(call.x, call.batch);
  const auto kernel =
      vector ? sum_of_squares_kernel<Access::vector> : sum_of_squares_kernel<Access::scalar>;
  const dim3 grid(static_cast<unsigned>(std::min(sum_blocks(call.elements), kMaxGridX)),
                  static_cast<unsigned>(std::min(call.batch, kMaxGridY)));
  if (call.elements > 0)
    launch("sum_of_squares", kernel, call, cuda_stream, {grid, dim3(kThreads)});
  launch("sum_of_squares", sum_of_squares_finish_kernel, call, cuda_stream,
         {dim3(1), dim3(kThreads)});
}

}  // namespace genie
