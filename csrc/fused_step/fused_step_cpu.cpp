// fused_step on the CPU; compiled once per instruction set. Works through each sample in chunks
// that fit the first cache: inputs of the compute type are read in place, others are widened into a
// buffer, noise is drawn into one. Prefetching is left to the hardware, stores go through the
// caches.
#include <memory>

#include "common/loops.h"
#include "common/normals_cpu.h"
#include "common/parallel.h"
#include "fused_step/sum_of_products.h"

namespace genie::inline GENIE_ISA {

// Below this many elements one thread works alone: it spares the start of a team.
inline constexpr int64_t kSerialElements = 32768;

template <class T>
inline constexpr int kChunk = 4096 / sizeof(T);

template <class T>
inline constexpr DType kComputeType = sizeof(T) == 8 ? DType::f64 : DType::f32;

template <class T>
struct Buffers {
  alignas(64) T loaded[kSources][kChunk<T>];
  alignas(64) T next[2][kChunk<T>];
  alignas(64) T fed[kChunk<T>];
};

// Not on the stack, which some threads have little of; kept, since small calls come in thousands.
template <class T>
Buffers<T>& buffers_of_this_thread() {
  thread_local const auto buffers = std::make_unique_for_overwrite<Buffers<T>>();
  return *buffers;
}

template <class T>
class ChunkStep {
 public:
  explicit ChunkStep(const FusedStep& call) : call_(call), buffers_(buffers_of_this_thread<T>()) {}

  void run(const SampleRow<T>& row, int64_t sample, int64_t first, int count) {
    sample_ = sample, first_ = first, count_ = count;
    load(row);
    // 1 convert, 2 store
    for (int h = 0; h < call_.converted; ++h) {
      if (row.uses(kConverted + h)) convert(row, h);
    }
    // 3 combine: both states before either is written, since out may be x and aux_out may be aux
    const bool two_states = call_.aux_out.present;
    T* x_next = two_states ? buffers_.next[0] : place(call_.out, buffers_.next[0]);
    sum_of_products(row.combine[0], value_, x_next, count_);
    if (two_states) sum_of_products(row.combine[1], value_, buffers_.next[1], count_);
    // 4 feed
    if (call_.x_in.present) {
      T* x_in = place(call_.x_in, buffers_.fed);
      for (int i = 0; i < count_; ++i) x_in[i] = feed(row.e, x_next[i]);
      deliver(call_.x_in, x_in);
    }
    deliver_state(call_.out, x_next);
    if (two_states) deliver_state(call_.aux_out, buffers_.next[1]);
  }

 private:
  void load(const SampleRow<T>& row) {
    if (row.uses(kX)) read(call_.x, kX);
    if (row.uses(kAux)) read(call_.aux, kAux);
    for (int o = 0; o < call_.outputs; ++o) {
      if (row.uses(kOutput + o)) read(call_.output[o], kOutput + o);
    }
    for (int k = 0; k < call_.history_count; ++k) {
      if (row.uses(kHistory + k)) read(call_.history[k], kHistory + k);
    }
    for (int d = 0; d < call_.draws; ++d) {
      if (!row.uses(kDraw + d)) continue;
      if (call_.draw[d].present) {
        read(call_.draw[d], kDraw + d);
      } else {
        generate(d);
      }
    }
  }

  void read(const Samples& tensor, int source) {
    const void* data = address_of(tensor, sample_, first_);
    if (tensor.dtype == kComputeType<T>) {
      value_[source] = static_cast<const T*>(data);
    } else {
      convert_from(tensor.dtype, data, buffers_.loaded[source], count_);
      value_[source] = buffers_.loaded[source];
    }
  }

  void generate(int d) {
    const Draw draw{philox_key(*call_.noise.seed), call_.draw_number[d],
                    static_cast<uint32_t>(call_.noise.sample_ids[sample_]), call_.noise.stream};
    if constexpr (sizeof(T) == sizeof(float)) {
      fill_normals(draw, first_, count_, buffers_.loaded[kDraw + d]);
    } else {
      alignas(64) float z[kChunk<T>];
      fill_normals(draw, first_, count_, z);
      convert_from(DType::f32, z, buffers_.loaded[kDraw + d], count_);
    }
    value_[kDraw + d] = buffers_.loaded[kDraw + d];
  }

  void convert(const SampleRow<T>& row, int h) {
    const bool stored = call_.stored[h].present;
    T* y = stored ? place(call_.stored[h], buffers_.loaded[kConverted + h])
                  : buffers_.loaded[kConverted + h];
    sum_of_products(row.convert[h], value_, y, count_);
    if (row.bounds(h)) {
      for (int i = 0; i < count_; ++i) y[i] = bound_and_scale(y[i], row.bound[h], row.scale[h]);
    }
    if (stored) deliver(call_.stored[h], y);
    value_[kConverted + h] = y;
  }

  // Where to compute what goes to target: there, or in a buffer if it is narrowed on the way.
  T* place(const Samples& target, T* buffer) const {
    if (target.dtype != kComputeType<T>) return buffer;
    return static_cast<T*>(address_of(target, sample_, first_));
  }

  void deliver(const Samples& target, const T* values) const {
    void* address = address_of(target, sample_, first_);
    if (address != values) convert_to(target.dtype, values, address, count_);
  }

  void deliver_state(const Samples& target, const T* values) const {
    deliver(target, values);
    if (call_.nonfinite == nullptr) return;
    // the values as stored; those that were not narrowed are still in the first cache
    const bool narrowed = target.dtype != kComputeType<T>;
    const void* as_stored = narrowed ? address_of(target, sample_, first_) : values;
    if (!all_finite(target.dtype, as_stored, count_)) {
      __atomic_fetch_or(&call_.nonfinite[sample_], 1,
                        __ATOMIC_RELAXED);  // chunks of a sample may be in two threads
    }
  }

  const FusedStep& call_;
  int64_t sample_ = 0, first_ = 0;
  int count_ = 0;
  const T* value_[kSources] = {};
  Buffers<T>& buffers_;
};

template <class T>
void run_chunks(const FusedStep& call, int threads) {
  const int64_t chunks = (call.elements + kChunk<T> - 1) / kChunk<T>;
  parallel_ranges(call.batch * chunks, threads, [&](int64_t begin, int64_t end) {
    ChunkStep<T> step(call);
    SampleRow<T> row;
    int64_t row_of = -1;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sample = task / chunks, first = task % chunks * kChunk<T>;
      if (row_of < 0 || (row_of != sample && call.row_stride != 0))
        row = read_row<T>(call, sample), row_of = sample;
      const int64_t rest = call.elements - first;
      step.run(row, sample, first, rest < kChunk<T> ? static_cast<int>(rest) : kChunk<T>);
    }
  });
}

void fused_step(const FusedStep& call, int threads) {
  if (call.batch * call.elements < kSerialElements) threads = 1;
  if (call.compute_f64) {
    run_chunks<double>(call, threads);
  } else {
    run_chunks<float>(call, threads);
  }
}

}  // namespace genie::inline GENIE_ISA
