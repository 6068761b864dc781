// A quick look at a call's dtypes, columns and memory. What is not regular may still be right
// (interleaved halves of one batch): genie_ext/ops/fused_step/contract.py looks closer and names
// what is wrong.
#pragma once

#include "common/address.h"
#include "fused_step/fused_step_math.h"

namespace genie::inline GENIE_ISA {

// The memory of a call, tensor by tensor: those that are read, then those that are written.
class CallMemory {
 public:
  explicit CallMemory(const FusedStep& call) : call_(call) {}

  void read(const Samples& tensor, DType dtype) {
    if (tensor.data == nullptr) return;  // absent, a slot, or without elements
    regular_ = regular_ && tensor.dtype == dtype;
    read(tensor.data, bytes_of(tensor), log2_size(tensor.dtype));
  }
  void read(const void* data, int64_t bytes, int log2_size) {
    if (data == nullptr || bytes == 0) return;
    const auto low = reinterpret_cast<uintptr_t>(data);
    regular_ = regular_ && low >> log2_size << log2_size == low;
    ranges_[count_++] = {low, low + bytes};
  }
  void write(const Samples& tensor, DType dtype) {
    const int before = count_;
    read(tensor, dtype);
    require_alone(before);
  }
  void write(const void* data, int64_t bytes, int log2_size) {
    const int before = count_;
    read(data, bytes, log2_size);
    require_alone(before);
  }
  bool is_regular() const { return regular_; }

 private:
  struct Range {
    uintptr_t low, high;
  };

  int64_t bytes_of(const Samples& tensor) const {
    if (call_.elements == 0) return 0;
    return ((call_.batch - 1) * tensor.stride + call_.elements) << log2_size(tensor.dtype);
  }
  void require_alone(int before) {
    if (before == count_) return;
    const Range& last = ranges_[before];
    for (int i = 0; i < before; ++i)
      regular_ = regular_ && !(last.low < ranges_[i].high && ranges_[i].low < last.high);
  }

  static constexpr int kMost = kMaxOutputs + kMaxHistory + kMaxDraws + kMaxConverted + 9;

  const FusedStep& call_;
  Range ranges_[kMost];
  int count_ = 0;
  bool regular_ = true;
};

inline bool is_same(const Samples& a, const Samples& b) {
  return a.data == b.data && a.stride == b.stride && a.dtype == b.dtype;
}

// Whether all dtypes agree, the row has the layout's columns, all addresses are aligned, and
// nothing that is written overlaps anything else, but for out that is x and aux_out that is aux.
// Slots are left out.
inline bool is_regular(const FusedStep& call) {
  const DType state = call.x.dtype, compute = call.compute_f64 ? DType::f64 : DType::f32;
  const int log2_compute = log2_size(compute);
  CallMemory memory(call);
  if (!is_same(call.x, call.out)) memory.read(call.x, state);
  if (!is_same(call.aux, call.aux_out)) memory.read(call.aux, state);
  for (const Samples& output : call.output) memory.read(output, output.dtype);
  for (const Samples& draw : call.draw) memory.read(draw, draw.dtype);
  for (const Samples& history : call.history) memory.read(history, compute);
  const int64_t coefficients = call.row_stride * (call.batch - 1) + call.columns;
  memory.read(call.row, coefficients << log2_compute, log2_compute);
  memory.read(call.noise.seed, sizeof(int64_t), 3);
  memory.read(call.noise.sample_ids, call.batch * sizeof(int64_t), 3);
  memory.write(call.out, state);
  memory.write(call.aux_out, state);
  memory.write(call.x_in, call.x_in.dtype);
  for (const Samples& stored : call.stored) memory.write(stored, compute);
  memory.write(call.nonfinite, call.batch * sizeof(int32_t), 2);
  return memory.is_regular() && call.compute_f64 == (state == DType::f64) &&
         call.columns == column_layout(call).feed + 1;
}

}  // namespace genie::inline GENIE_ISA
