// jvp_distill_loss on the CPU; compiled once per instruction set. A thread takes a block of
// kSumBlock elements at a time, which fits the first cache: what is of the compute type is read and
// written in place, the rest goes through buffers.
#include <memory>

#include "common/loops.h"
#include "common/parallel.h"
#include "jvp_distill_loss/jvp_distill_loss_math.h"

namespace genie::inline GENIE_ISA {

// Below this many elements one thread works alone: it spares the start of a team.
inline constexpr int64_t kSerialElements = 8192;

template <class T>
struct LossBuffers {
  alignas(64) T maps[kMaps][kSumBlock];
  alignas(64) T target[kSumBlock];
  alignas(64) T gradient[kMaps][kSumBlock];
  alignas(64) T squares[kSumBlock];
};

// Not on the stack, which some threads have little of; kept, since small calls come in thousands.
template <class T>
LossBuffers<T>& loss_buffers_of_this_thread() {
  thread_local const auto buffers = std::make_unique_for_overwrite<LossBuffers<T>>();
  return *buffers;
}

// 4 sum; overwrites the values
template <class T>
T tree_sum(T* values, int64_t count) {
  if (count == 0) return 0;
  while (count > 1) {
    const int64_t half = half_of(count);
    T* __restrict low = values;
    const T* __restrict high = values + half;
    for (int64_t i = 0; i < count - half; ++i) low[i] = add(low[i], high[i]);
    count = half;
  }
  return values[0];
}

template <class T>
void square(const LossRow<T>& row, const T* __restrict k1, const T* __restrict k2,
            const T* __restrict k3, const T* __restrict target, T* __restrict squares, int count) {
  for (int i = 0; i < count; ++i) {
    const T r = residual(row, k1[i], k2[i], k3[i], target[i]);
    squares[i] = mul(r, r);  // 3 square
  }
}

template <class T>
void square_and_differentiate(const LossRow<T>& row, const T* __restrict k1, const T* __restrict k2,
                              const T* __restrict k3, const T* __restrict target, T* __restrict d1,
                              T* __restrict d2, T* __restrict d3, T* __restrict squares,
                              int count) {
  for (int i = 0; i < count; ++i) {
    const T r = residual(row, k1[i], k2[i], k3[i], target[i]);
    d1[i] = mul(row.slope[0], r);  // 2 differentiate
    d2[i] = mul(row.slope[1], r);
    d3[i] = mul(row.slope[2], r);
    squares[i] = mul(r, r);  // 3 square
  }
}

template <class T>
class BlockLoss {
 public:
  explicit BlockLoss(const JvpDistillLoss& call)
      : call_(call), buffers_(loss_buffers_of_this_thread<T>()) {}

  // The block's sum of squares; writes its part of the gradient.
  T run(const LossRow<T>& row, int64_t sample, int64_t first, int count) {
    const T* k[kMaps];
    for (int i = 0; i < kMaps; ++i)
      k[i] = read(address_of(call_.maps, sample, i * call_.elements + first), call_.maps.dtype,
                  buffers_.maps[i], count);
    const T* target =
        read(address_of(call_.target, sample, first), call_.target.dtype, buffers_.target, count);
    if (call_.gradient.data == nullptr) {
      square(row, k[0], k[1], k[2], target, buffers_.squares, count);
    } else {
      differentiate(row, k, target, sample, first, count);
    }
    return tree_sum(buffers_.squares, count);
  }

 private:
  static constexpr DType kCompute = sizeof(T) == 8 ? DType::f64 : DType::f32;

  static const T* read(const void* data, DType dtype, T* buffer, int count) {
    if (dtype == kCompute) return static_cast<const T*>(data);
    convert_from(dtype, data, buffer, count);
    return buffer;
  }

  void differentiate(const LossRow<T>& row, const T* const (&k)[kMaps], const T* target,
                     int64_t sample, int64_t first, int count) {
    const bool direct = call_.gradient.dtype == kCompute;
    void* address[kMaps];
    T* d[kMaps];
    for (int i = 0; i < kMaps; ++i) {
      address[i] = address_of(call_.gradient, sample, i * call_.elements + first);
      d[i] = direct ? static_cast<T*>(address[i]) : buffers_.gradient[i];
    }
    square_and_differentiate(row, k[0], k[1], k[2], target, d[0], d[1], d[2], buffers_.squares,
                             count);
    if (direct) return;
    for (int i = 0; i < kMaps; ++i) convert_to(call_.gradient.dtype, d[i], address[i], count);
  }

  const JvpDistillLoss& call_;
  LossBuffers<T>& buffers_;
};

// From the sums of blocks to the losses and their total.
template <class T>
void finish(const JvpDistillLoss& call) {
  FloatingPointDefaults defaults;
  const int64_t blocks = sum_blocks(call.elements);
  T *partials = static_cast<T*>(call.partials), *losses = static_cast<T*>(call.losses);
  T* shares = partials + call.batch * blocks;
  for (int64_t sample = 0; sample < call.batch; ++sample) {
    const T sum = tree_sum(partials + sample * blocks, blocks);
    const LossRow<T> row = loss_row<T>(call, sample);
    losses[sample] = mul(row.weight, sum);  // 5 weigh
    shares[sample] = share_of_total(row, sum);
  }
  *static_cast<T*>(call.total) = tree_sum(shares, call.batch);  // 6 total
}

template <class T>
void run_blocks(const JvpDistillLoss& call, int threads) {
  const int64_t blocks = sum_blocks(call.elements);
  T* partials = static_cast<T*>(call.partials);
  parallel_ranges(call.batch * blocks, threads, [&](int64_t begin, int64_t end) {
    BlockLoss<T> loss(call);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / blocks, first = task % blocks * kSumBlock;
      const int64_t rest = call.elements - first;
      const int count = static_cast<int>(rest < kSumBlock ? rest : kSumBlock);
      partials[task] = loss.run(loss_row<T>(call, sample), sample, first, count);
    }
  });
  finish<T>(call);
}

void jvp_distill_loss(const JvpDistillLoss& call, int threads) {
  if (call.batch * call.elements < kSerialElements) threads = 1;
  if (call.compute_f64) {
    run_blocks<double>(call, threads);
  } else {
    run_blocks<float>(call, threads);
  }
}

}  // namespace genie::inline GENIE_ISA
