// normal_fill on CUDA: one Philox counter, two Box-Muller pairs and one vector store per thread and
// quad.
#include "common/normal.h"
#include "common/vec128.cuh"
#include "normal_fill/normal_fill.h"

namespace genie {
namespace {

template <Access kAccess>
__global__ void __launch_bounds__(kThreads)
    normal_fill_kernel(const __grid_constant__ NormalFill call) {
  const PhiloxKey key = philox_key(*call.noise.seed);
  for_each_sample(call.batch, [&](int64_t sample) {
    const auto sample_id = static_cast<uint32_t>(call.noise.sample_ids[sample]);
    const SampleView out = sample_of(call.out, sample);
    for_each_quad(call.elements, [&](int64_t element) {
      const auto block = static_cast<uint32_t>(element / kQuad);
      const Normal4 normal = normal4(key, block, call.draw_number, sample_id, call.noise.stream);
      const Quad<float> z = {{normal.z[0], normal.z[1], normal.z[2], normal.z[3]}};
      // keep: noise is drawn to be used next
      store<kAccess, Cache::keep>(out, element, call.elements, z);
    });
  });
}

}  // namespace

void normal_fill_cuda(const NormalFill& call, int device, void* cuda_stream) {
  const CurrentDevice current(device);
  const bool vector = call.elements % kQuad == 0 && is_vectorizable<double>(call.out, call.batch);
  launch("normal_fill",
         vector ? normal_fill_kernel<Access::vector> : normal_fill_kernel<Access::scalar>, call,
         cuda_stream);
}

const char* cuda_problem() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, normal_fill_kernel<Access::scalar>);
  if (error == cudaSuccess) return "";
  static_cast<void>(cudaGetLastError());  // reported here; the next launch must not see it again
  return cudaGetErrorString(error);
}

}  // namespace genie
