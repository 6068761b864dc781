// How a kernel walks [batch, elements]: a block takes one sample at a time, a thread one quad at a
// time, the four consecutive elements that share a Philox counter.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace genie {

inline constexpr int kQuad = 4;
inline constexpr int kThreads = 256;  // per block, at most
inline constexpr int kWarp = 32;

// body(sample), by all threads of the block together; grid-stride, so that no batch exceeds a grid
// limit
template <class Body>
__device__ __forceinline__ void for_each_sample(int64_t batch, Body body) {
#pragma unroll 1
  for (int64_t sample = blockIdx.y; sample < batch; sample += gridDim.y) body(sample);
}

// body(first element of the quad), by each thread on its own; grid-stride
template <class Body>
__device__ __forceinline__ void for_each_quad(int64_t elements, Body body) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kQuad;
  const int64_t step = int64_t{gridDim.x} * blockDim.x * kQuad;
#pragma unroll 1
  for (int64_t element = first; element < elements; element += step) body(element);
}

// Makes the device of a call the current one while it lives; a kernel is launched there.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) : device_(device) {
    require(cudaGetDevice(&previous_), "cudaGetDevice");
    if (previous_ != device_) require(cudaSetDevice(device_), "cudaSetDevice");
  }
  ~CurrentDevice() {
    if (previous_ != device_) static_cast<void>(cudaSetDevice(previous_));
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  static void require(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());  // reported here; the next launch must not see it again
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
  }

  int device_, previous_ = 0;
};

struct LaunchShape {
  dim3 grid, block;
};

// Whole warps, no larger than a sample needs. Once there are blocks enough to fill the largest GPU
// a few times, threads take several quads instead, so that what a block prepares per sample is paid
// for once.
inline LaunchShape launch_shape(int64_t batch, int64_t elements) {
  constexpr int64_t kEnoughBlocks = 2048, kMaxGridY = 65535;
  const int64_t quads = (elements + kQuad - 1) / kQuad;
  const int64_t threads = std::min<int64_t>((quads + kWarp - 1) / kWarp * kWarp, kThreads);
  const int64_t samples = std::min(batch, kMaxGridY);
  const int64_t chunks =
      std::min((quads + threads - 1) / threads, std::max<int64_t>(kEnoughBlocks / samples, 1));
  return {dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(samples)),
          dim3(static_cast<unsigned>(threads))};
}

// Launch kernel(call); raises what CUDA reports, and with which configuration.
template <class Call>
void launch(const char* name, void (*kernel)(Call), const Call& call, void* cuda_stream,
            const LaunchShape& shape) {
  const auto [grid, block] = shape;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = static_cast<cudaStream_t>(cuda_stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, call);
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // reported here; the next launch must not see it again
  std::ostringstream message;
  message << name << ": launch failed: " << cudaGetErrorString(error) << "; grid (" << grid.x
          << ", " << grid.y << "), block (" << block.x << "), batch " << call.batch << ", elements "
          << call.elements;
  throw std::runtime_error(message.str());
}

// The same over the call's batch and elements.
template <class Call>
void launch(const char* name, void (*kernel)(Call), const Call& call, void* cuda_stream) {
  if (call.batch == 0 || call.elements == 0) return;
  launch(name, kernel, call, cuda_stream, launch_shape(call.batch, call.elements));
}

}  // namespace genie
