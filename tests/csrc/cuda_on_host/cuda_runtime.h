// As much of CUDA as the kernels of csrc use, on the host: one std::thread per thread of a block,
// blocks one after another. It shows wrong indices, layouts, tails and missing barriers; it cannot
// show what the GPU's arithmetic or speed is.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __grid_constant__
#define __shared__ static  // one block runs at a time
#define __launch_bounds__(...)
#define __forceinline__ inline

struct dim3 {
  unsigned x, y, z;
  explicit dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

inline thread_local dim3 threadIdx, blockIdx;
inline dim3 gridDim, blockDim;

namespace cuda_on_host {

inline constexpr unsigned kWarp = 32, kMaxThreads = 1024;
inline constexpr int kDevices = 2;

inline int device = 0;  // the current one

inline std::unique_ptr<std::barrier<>> block;
inline std::array<std::unique_ptr<std::barrier<>>, kMaxThreads / kWarp> warps;
inline std::array<std::atomic<unsigned>, kMaxThreads / kWarp> ballots;
inline std::atomic<bool> misaligned;

template <class Vector>
bool is_aligned(const Vector* address) {
  const bool aligned = reinterpret_cast<uintptr_t>(address) % sizeof(Vector) == 0;
  if (!aligned) misaligned = true;
  return aligned;
}

}  // namespace cuda_on_host

inline void __syncthreads() { cuda_on_host::block->arrive_and_wait(); }

inline unsigned __ballot_sync(unsigned, bool vote) {
  const unsigned warp = threadIdx.x / cuda_on_host::kWarp, lane = threadIdx.x % cuda_on_host::kWarp;
  auto& barrier = *cuda_on_host::warps[warp];
  auto& ballot = cuda_on_host::ballots[warp];
  barrier.arrive_and_wait();
  if (lane == 0) ballot = 0;
  barrier.arrive_and_wait();
  if (vote) ballot |= 1u << lane;
  barrier.arrive_and_wait();
  return ballot;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

inline int atomicOr(int* address, int bits) {
  return __atomic_fetch_or(address, bits, __ATOMIC_RELAXED);
}

template <class Vector>
Vector __ldcs(const Vector* address) {
  return cuda_on_host::is_aligned(address) ? *address : Vector{};
}

template <class Vector>
void __stcs(Vector* address, Vector value) {
  if (cuda_on_host::is_aligned(address)) *address = value;
}

using cudaStream_t = void*;
enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorInvalidDevice,
  cudaErrorMisalignedAddress
};

inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorInvalidDevice) return "invalid device ordinal";
  return error == cudaErrorInvalidValue ? "invalid argument" : "misaligned address";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaGetDevice(int* device) {
  *device = cuda_on_host::device;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= cuda_on_host::kDevices) return cudaErrorInvalidDevice;
  cuda_on_host::device = device;
  return cudaSuccess;
}

struct cudaFuncAttributes {};

template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, Kernel*) {
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

template <class Call>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Call),
                               const Call& call) {
  using namespace cuda_on_host;
  const unsigned threads = config->blockDim.x;
  if (config->stream != nullptr || threads == 0 || threads > kMaxThreads || threads % kWarp != 0) {
    return cudaErrorInvalidValue;  // the kernels vote by whole warps; no stream exists here
  }
  blockDim = config->blockDim;
  // a smaller grid than asked for: grid-stride loops must not care
  gridDim = dim3(std::min(config->gridDim.x, 2u), std::min(config->gridDim.y, 2u));
  misaligned = false;
  block = std::make_unique<std::barrier<>>(threads);
  for (unsigned w = 0; w < threads / kWarp; ++w) warps[w] = std::make_unique<std::barrier<>>(kWarp);
  std::vector<std::thread> running;
  for (unsigned t = 0; t < threads; ++t) {
    running.emplace_back([=] {
      threadIdx = dim3(t);
      for (unsigned b = 0; b < gridDim.x * gridDim.y; ++b) {
        blockIdx = dim3(b % gridDim.x, b / gridDim.x);
        kernel(call);
        block->arrive_and_wait();
      }
    });
  }
  for (auto& thread : running) thread.join();
  return misaligned ? cudaErrorMisalignedAddress : cudaSuccess;
}
