// fused_step on CUDA: each tensor is read once and each result written once; a thread computes the
// four elements that share a Philox counter. Memory-bound, so what counts is few bytes, wide
// accesses, several loads in flight, and few instructions around them.
#include "common/normal.h"
#include "common/vec128.cuh"
#include "fused_step/fused_step_math.h"
#include "fused_step/terms.cuh"

namespace genie {
namespace {

template <class T, Access kAccess>
__device__ __forceinline__ Quad<T> draw(const FusedStep& call, int d, int64_t sample,
                                        int64_t element) {
  if (call.draw[d].present) {
    const SampleView external = sample_of(call.draw[d], sample);
    return decode<T, kAccess>(fetch<T, kAccess>(external, element, call.elements), external.dtype);
  }
  const Normal4 normal = normal4(
      philox_key(*call.noise.seed), static_cast<uint32_t>(element / kQuad), call.draw_number[d],
      static_cast<uint32_t>(call.noise.sample_ids[sample]), call.noise.stream);
  return {{normal.z[0], normal.z[1], normal.z[2], normal.z[3]}};
}

// 2 store and 4 feed, after all reads of this quad: out may be x and aux_out may be aux.
template <class T, int kSums, Access kAccess>
__device__ __forceinline__ bool write(const SampleTerms<T, kSums>& terms, int64_t element,
                                      int64_t elements, const Quad<T> (&y)[kSums],
                                      const QuadSum<T> (&next)[kSums]) {
#pragma unroll
  for (int h = 0; h < kSums; ++h) {
    if (terms.stored[h].data == nullptr) continue;
    store<kAccess, Cache::evict_first>(terms.stored[h], element, elements, y[h]);
  }
  const Quad<T> x_next = next[0].value();
  bool finite = store<kAccess, Cache::keep>(terms.out, element, elements, x_next);
  if (kSums == 2 && terms.aux_out.data != nullptr) {
    finite &= store<kAccess, Cache::evict_first>(terms.aux_out, element, elements,
                                                 next[kSums - 1].value());
  }
  if (terms.x_in.data != nullptr) {
    Quad<T> x_in;
#pragma unroll
    for (int i = 0; i < kQuad; ++i) x_in.v[i] = feed(terms.feed, x_next.v[i]);
    store<kAccess, Cache::keep>(terms.x_in, element, elements, x_in);
  }
  return finite;
}

template <class T, int kSums, Access kAccess>
__device__ __forceinline__ bool step_quad(const FusedStep& call, const SampleTerms<T, kSums>& terms,
                                          int64_t sample, int64_t element) {
  const int64_t elements = call.elements;
  // in flight together before the first is used: all that most solvers read
  Fetched<T, kAccess == Access::vector ? 2 : 1, kAccess> outputs;
  Fetched<T, kAccess == Access::vector ? 4 : 1, kAccess> history;
  const Raw<T> raw_x = fetch<T, kAccess>(terms.x, element, elements);
  outputs.fetch_group(terms.outputs, 0, element, elements);
  history.fetch_group(terms.history, 0, element, elements);

  // 1 convert
  const Quad<T> x = decode<T, kAccess>(raw_x, terms.x.dtype);
  QuadSum<T> sums[kSums];
  add(sums, terms.of_x_in_y, x);
  outputs.add_all(terms.outputs, element, elements, sums);
  Quad<T> y[kSums];
#pragma unroll
  for (int h = 0; h < kSums; ++h) {
    const Quad<T> sum = sums[h].value();
#pragma unroll
    for (int i = 0; i < kQuad; ++i)
      y[h].v[i] = bound_and_scale(sum.v[i], terms.bound[h], terms.scale[h]);
  }

  // 3 combine
  QuadSum<T> next[kSums];
  add(next, terms.of_x, x);
  if (terms.of_aux.used()) {
    add(next, terms.of_aux,
        decode<T, kAccess>(fetch<T, kAccess>(terms.aux, element, elements), terms.aux.dtype));
  }
#pragma unroll
  for (int h = 0; h < kSums; ++h) add(next, terms.of_y[h], y[h]);
  history.add_all(terms.history, element, elements, next);
#pragma unroll 1
  for (int d = 0; d < call.draws; ++d) {
    if (!terms.of_draw[d].used()) continue;
    add(next, terms.of_draw[d], draw<T, kAccess>(call, d, sample, element));
  }
  return write<T, kSums, kAccess>(terms, element, elements, y, next);
}

template <class T, int kSums, Access kAccess>
__global__ void __launch_bounds__(kThreads)
    fused_step_kernel(const __grid_constant__ FusedStep call) {
  __shared__ SampleTerms<T, kSums> terms;
  for_each_sample(call.batch, [&](int64_t sample) {
    read_row(call, sample, terms);
    for_each_quad(call.elements, [&](int64_t element) {
      const bool finite = step_quad<T, kSums, kAccess>(call, terms, sample, element);
      if (!finite && call.nonfinite != nullptr) atomicOr(call.nonfinite + sample, 1);
    });
  });
}

template <class T>
bool is_vectorizable(const FusedStep& call) {
  const auto agrees = [&](const Samples& samples) {
    return is_vectorizable<T>(samples, call.batch);
  };
  return call.elements % kQuad == 0 && agrees(call.x) && agrees(call.aux) && agrees(call.out) &&
         agrees(call.aux_out) && agrees(call.x_in) && std::ranges::all_of(call.output, agrees) &&
         std::ranges::all_of(call.history, agrees) && std::ranges::all_of(call.draw, agrees) &&
         std::ranges::all_of(call.stored, agrees);
}

// Two of each sum fit every call; nearly every solver has one converted output and one state, and
// pays for one. The scalar path is for correctness, so it has the general kernel only.
template <class T>
void launch_step(const FusedStep& call, void* cuda_stream) {
  const bool one = call.converted <= 1 && !call.aux_out.present;
  const auto kernel = !is_vectorizable<T>(call) ? fused_step_kernel<T, 2, Access::scalar>
                      : one                     ? fused_step_kernel<T, 1, Access::vector>
                                                : fused_step_kernel<T, 2, Access::vector>;
  launch("fused_step", kernel, call, cuda_stream);
}

}  // namespace

void fused_step_cuda(const FusedStep& call, int device, void* cuda_stream) {
  const CurrentDevice current(device);
  call.compute_f64 ? launch_step<double>(call, cuda_stream) : launch_step<float>(call, cuda_stream);
}

}  // namespace genie
