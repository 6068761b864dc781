// jvp_distill_loss on the CPU; compiled once per instruction set. A thread takes a block of
// kSumBlock elements at a time, whose squares fit the first cache. Maps and gradient are converted
// on the way; a target that is not of the compute type goes through a buffer.
#include <memory>

#include "common/loops.h"
#include "common/nontemporal.h"
#include "common/parallel.h"
#include "common/tree_sum.h"
#include "jvp_distill_loss/jvp_distill_loss_math.h"

namespace genie::inline GENIE_ISA {

// Below this many elements one thread works alone: it spares the start of a team.
inline constexpr int64_t kSerialElements = 8192;

// Elements that pass the caches at once: enough to fill lines, too few to hold up the reads.
inline constexpr int kAtOnce = 128;

template <class T>
struct LossBuffers {
  alignas(64) T target[kSumBlock];
  alignas(64) T squares[kSumBlock];
  alignas(64) char gradient[kMaps * kAtOnce * sizeof(T)];  // as stored, which is not larger
};

// Not on the stack, which some threads have little of; kept, since small calls come in thousands.
template <class T>
LossBuffers<T>& loss_buffers_of_this_thread() {
  thread_local const auto buffers = std::make_unique_for_overwrite<LossBuffers<T>>();
  return *buffers;
}

// Where they lie if of the compute type, else converted into the buffer.
template <class T>
const T* read(const Samples& tensor, int64_t sample, int64_t first, T* buffer, int count) {
  const void* data = address_of(tensor, sample, first);
  if (tensor.dtype == (sizeof(T) == 8 ? DType::f64 : DType::f32))
    return static_cast<const T*>(data);
  convert_from(tensor.dtype, data, buffer, count);
  return buffer;
}

// S stores the maps and the gradient. Converted in this loop, not through a buffer: else a 16-bit
// gradient larger than the caches takes three times as long to write.
template <class T, class S>
void square(const LossRow<T>& row, const S* __restrict k1, const S* __restrict k2,
            const S* __restrict k3, const T* __restrict target, T* __restrict squares, int count) {
  for (int i = 0; i < count; ++i) {
    const T r = residual(row, to<T>(k1[i]), to<T>(k2[i]), to<T>(k3[i]), target[i]);
    squares[i] = mul(r, r);  // 3 square
  }
}

template <class T, class S>
void square_and_differentiate(const LossRow<T>& row, const S* __restrict k1, const S* __restrict k2,
                              const S* __restrict k3, const T* __restrict target, S* __restrict d1,
                              S* __restrict d2, S* __restrict d3, T* __restrict squares,
                              int count) {
  for (int i = 0; i < count; ++i) {
    const T r = residual(row, to<T>(k1[i]), to<T>(k2[i]), to<T>(k3[i]), target[i]);
    d1[i] = to<S>(mul(row.slope[0], r));  // 2 differentiate
    d2[i] = to<S>(mul(row.slope[1], r));
    d3[i] = to<S>(mul(row.slope[2], r));
    squares[i] = mul(r, r);  // 3 square
  }
}

// The same for a whole block.
template <class T, class S>
void differentiate_nontemporally(const LossRow<T>& row, const S* k1, const S* k2, const S* k3,
                                 const T* target, S* d1, S* d2, S* d3, LossBuffers<T>& buffers) {
  S* stored = reinterpret_cast<S*>(buffers.gradient);
  for (int i = 0; i < kSumBlock; i += kAtOnce) {
    square_and_differentiate(row, k1 + i, k2 + i, k3 + i, target + i, stored, stored + kAtOnce,
                             stored + 2 * kAtOnce, buffers.squares + i, kAtOnce);
    copy_nontemporal(stored, d1 + i, kAtOnce * sizeof(S));
    copy_nontemporal(stored + kAtOnce, d2 + i, kAtOnce * sizeof(S));
    copy_nontemporal(stored + 2 * kAtOnce, d3 + i, kAtOnce * sizeof(S));
  }
}

// Whether the gradient is better stored past the caches, and all its whole blocks can be.
bool stores_nontemporally(const JvpDistillLoss& call) {
  const Samples& gradient = call.gradient;
  const int size = log2_size(gradient.dtype);
  const int64_t third = call.elements << size, stride = gradient.stride << size;
  return gradient.present && call.batch * kMaps * third >= kLargerThanCaches &&
         (reinterpret_cast<int64_t>(gradient.data) | third | stride) % kCacheLine == 0;
}

// The block's sum of squares; writes its part of the gradient.
template <class T>
T block_loss(const JvpDistillLoss& call, bool nontemporal, LossBuffers<T>& buffers,
             const LossRow<T>& row, int64_t sample, int64_t first, int count) {
  const T* target = read(call.target, sample, first, buffers.target, count);
  with_storage(call.maps.dtype, [&](auto stored) {
    using S = decltype(stored);
    const auto map = [&](const Samples& maps, int i) {
      return static_cast<S*>(address_of(maps, sample, i * call.elements + first));
    };
    const S *k1 = map(call.maps, 0), *k2 = map(call.maps, 1), *k3 = map(call.maps, 2);
    if (!call.gradient.present) return square(row, k1, k2, k3, target, buffers.squares, count);
    S *d1 = map(call.gradient, 0), *d2 = map(call.gradient, 1), *d3 = map(call.gradient, 2);
    if (nontemporal && count == kSumBlock) {
      differentiate_nontemporally(row, k1, k2, k3, target, d1, d2, d3, buffers);
    } else {
      square_and_differentiate(row, k1, k2, k3, target, d1, d2, d3, buffers.squares, count);
    }
  });
  return block_sum(buffers.squares, count);
}

// From the sums of blocks to the losses and their total.
template <class T>
void finish(const JvpDistillLoss& call) {
  const int64_t blocks = sum_blocks(call.elements);
  T *partials = partials_in<T>(call), *shares = shares_in<T>(call);
  T* losses = static_cast<T*>(call.losses);
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
  FloatingPointDefaults defaults;  // of this thread, before and after the team
  const int64_t blocks = sum_blocks(call.elements);
  const bool nontemporal = stores_nontemporally(call);
  T* partials = partials_in<T>(call);
  for (int64_t sample = 0; sample < call.batch; ++sample) write_row<T>(call, sample);
  parallel_ranges(call.batch * blocks, threads, [&](int64_t begin, int64_t end) {
    LossBuffers<T>& buffers = loss_buffers_of_this_thread<T>();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / blocks, first = task % blocks * kSumBlock;
      const int64_t rest = call.elements - first;
      const int count = static_cast<int>(rest < kSumBlock ? rest : kSumBlock);
      partials[task] =
          block_loss(call, nontemporal, buffers, loss_row<T>(call, sample), sample, first, count);
    }
    finish_nontemporal_stores();
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
