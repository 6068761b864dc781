// jvp_distill_loss on CUDA: the first kernel forms the rows; the second reads and writes everything
// once and leaves one partial sum per block of kSumBlock elements; the third, a single block, adds
// these. No atomics: the order of every sum is fixed.
#include "common/block_sum.cuh"
#include "jvp_distill_loss/jvp_distill_loss_math.h"

namespace genie {
namespace {

__device__ __forceinline__ SampleView map_of(const Samples& maps, int64_t sample, int64_t elements,
                                             int i) {
  SampleView map = sample_of(maps, sample);
  map.data += (i * elements) << map.log2_size;
  return map;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    jvp_distill_loss_rows_kernel(const __grid_constant__ JvpDistillLoss call) {
  const int64_t sample = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (sample < call.batch) write_row<T>(call, sample);
}

// The squares of a quad; writes its part of the gradient.
template <class T, Access kAccess>
__device__ __forceinline__ Quad<T> square_quad(const JvpDistillLoss& call, const LossRow<T>& row,
                                               int64_t sample, int64_t element) {
  const int64_t elements = call.elements;
  const SampleView of_target = sample_of(call.target, sample);
  Raw<T> raw[kMaps];
  // in flight together before the first is used
#pragma unroll
  for (int i = 0; i < kMaps; ++i)
    raw[i] = fetch<T, kAccess>(map_of(call.maps, sample, elements, i), element, elements);
  const Quad<T> target =
      decode<T, kAccess>(fetch<T, kAccess>(of_target, element, elements), of_target.dtype);
  Quad<T> k[kMaps], r, squares;
#pragma unroll
  for (int i = 0; i < kMaps; ++i) k[i] = decode<T, kAccess>(raw[i], call.maps.dtype);
#pragma unroll
  for (int i = 0; i < kQuad; ++i)
    r.v[i] = residual(row, k[0].v[i], k[1].v[i], k[2].v[i], target.v[i]);
#pragma unroll
  for (int i = 0; i < kMaps; ++i) {
    if (!call.gradient.present) break;
    Quad<T> d;
#pragma unroll
    for (int j = 0; j < kQuad; ++j) d.v[j] = mul(row.slope[i], r.v[j]);  // 2 differentiate
    // evict_first: the backward pass comes to it after the rest of the loss
    store<kAccess, Cache::evict_first>(map_of(call.gradient, sample, elements, i), element,
                                       elements, d);
  }
#pragma unroll
  for (int i = 0; i < kQuad; ++i) squares.v[i] = mul(r.v[i], r.v[i]);  // 3 square
  return squares;
}

template <class T, Access kAccess>
__global__ void __launch_bounds__(kThreads)
    jvp_distill_loss_kernel(const __grid_constant__ JvpDistillLoss call) {
  __shared__ Quad<T> shared[kThreads];
  const int64_t blocks = sum_blocks(call.elements);
  for_each_sample(call.batch, [&](int64_t sample) {
    const LossRow<T> row = loss_row<T>(call, sample);
#pragma unroll 1
    for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
      const int64_t element = block * kSumBlock + threadIdx.x * kQuad;
      Quad<T> squares = {};
      if (element < call.elements) squares = square_quad<T, kAccess>(call, row, sample, element);
      block_sum(squares, shared, partials_in<T>(call) + sample * blocks + block);
    }
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    jvp_distill_loss_finish_kernel(const __grid_constant__ JvpDistillLoss call) {
  const int64_t blocks = sum_blocks(call.elements);
  T *partials = partials_in<T>(call), *shares = shares_in<T>(call);
  T* losses = static_cast<T*>(call.losses);
  tree_sums(partials, call.batch, blocks);
  for (int64_t sample = threadIdx.x; sample < call.batch; sample += blockDim.x) {
    const T sum = blocks == 0 ? T{0} : partials[sample * blocks];
    const LossRow<T> row = loss_row<T>(call, sample);
    losses[sample] = mul(row.weight, sum);  // 5 weigh
    shares[sample] = share_of_total(row, sum);
  }
  __syncthreads();
  tree_sums(shares, 1, call.batch);  // 6 total
  if (threadIdx.x == 0) *static_cast<T*>(call.total) = shares[0];
}

template <class T>
void launch_loss(const JvpDistillLoss& call, void* cuda_stream) {
  constexpr int64_t kMaxGridX = 0x7FFFFFFF, kMaxGridY = 65535;
  const bool vector = call.elements % kQuad == 0 && is_vectorizable<T>(call.maps, call.batch) &&
                      is_vectorizable<T>(call.target, call.batch) &&
                      is_vectorizable<T>(call.gradient, call.batch);
  const auto kernel = vector ? jvp_distill_loss_kernel<T, Access::vector>
                             : jvp_distill_loss_kernel<T, Access::scalar>;
  const dim3 grid(static_cast<unsigned>(std::min(sum_blocks(call.elements), kMaxGridX)),
                  static_cast<unsigned>(std::min(call.batch, kMaxGridY)));
  const dim3 rows(static_cast<unsigned>((call.batch + kThreads - 1) / kThreads));
  launch("jvp_distill_loss", jvp_distill_loss_rows_kernel<T>, call, cuda_stream,
         {rows, dim3(kThreads)});
  if (call.elements > 0)
    launch("jvp_distill_loss", kernel, call, cuda_stream, {grid, dim3(kThreads)});
  launch("jvp_distill_loss", jvp_distill_loss_finish_kernel<T>, call, cuda_stream,
         {dim3(1), dim3(kThreads)});
}

}  // namespace

void jvp_distill_loss_cuda(const JvpDistillLoss& call, int device, void* cuda_stream) {
  if (call.batch == 0) return;
  const CurrentDevice current(device);
  call.compute_f64 ? launch_loss<double>(call, cuda_stream) : launch_loss<float>(call, cuda_stream);
}

}  // namespace genie
