// normal_fill on the CPU; compiled once per instruction set.
#include "common/loops.h"
#include "common/normals_cpu.h"
#include "common/parallel.h"
#include "normal_fill/normal_fill.h"

namespace genie::inline GENIE_ISA {

// Below this many elements one thread works alone: it spares the start of a team.
inline constexpr int64_t kSerialElements = 8192;

void normal_fill(const NormalFill& call, int threads) {
  const int64_t chunks = (call.elements + kMaxNormals - 1) / kMaxNormals;
  if (call.batch * call.elements < kSerialElements) threads = 1;
  parallel_ranges(call.batch * chunks, threads, [&](int64_t begin, int64_t end) {
    alignas(64) float buffer[kMaxNormals];
    const PhiloxKey key = philox_key(*call.noise.seed);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / chunks, first = task % chunks * kMaxNormals;
      const int64_t rest = call.elements - first;
      const int count = rest < kMaxNormals ? static_cast<int>(rest) : kMaxNormals;
      const Draw draw{key, call.draw_number, static_cast<uint32_t>(call.noise.sample_ids[sample]),
                      call.noise.stream};
      void* target = address_of(call.out, sample, first);
      const bool direct = call.out.dtype == DType::f32;
      float* z = direct ? static_cast<float*>(target) : buffer;
      fill_normals(draw, first, count, z);
      if (!direct) convert_to(call.out.dtype, z, target, count);
    }
  });
}

void philox_block(const uint32_t counter[4], int64_t seed, uint32_t words[4]) {
  uint32_t radius[2 * kLanes], angle[2 * kLanes];
  philox_lanes({philox_key(seed), counter[1], counter[2], counter[3]}, counter[0], radius, angle);
  words[0] = radius[0];
  words[1] = angle[0];
  words[2] = radius[1];
  words[3] = angle[1];
}

}  // namespace genie::inline GENIE_ISA
