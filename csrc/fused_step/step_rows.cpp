#include "fused_step/step_rows.h"

#include "common/address.h"
#include "fused_step/fused_step_math.h"

namespace genie {

StepRows::StepRows(Arguments& integers, const std::vector<RowLayout>& layout) {
  shared_.batch = integers.integer();
  shared_.elements = integers.integer();
  shared_.compute_f64 = integers.integer() != 0;
  shared_.row = integers.address();
  table_step_ = integers.integer() * (shared_.compute_f64 ? 8 : 4);
  shared_.row_stride = integers.integer();
  table_columns_ = integers.integer();
  shared_.nonfinite = static_cast<int32_t*>(integers.address());
  shared_.noise = integers.noise();
  external_draws_ = integers.integer() != 0;
  const int64_t slots = integers.integer();
  shared_.x = integers.samples();
  aux_ = integers.samples();
  shared_.x_in = integers.samples();
  for (int64_t s = 0; s < slots; ++s) slots_.push_back(integers.samples());
  integers.finish();
  require(shared_.batch > 0 && shared_.elements >= 0, "no sample, or negative elements");
  require(shared_.x.present, "no x");
  shared_.out = shared_.x;
  calls_.reserve(layout.size());
  for (const RowLayout& row : layout) calls_.push_back(call(count(), row));
}

const FusedStep& StepRows::row(int64_t number) const {
  require(number >= 0 && number < count(), "no such row");
  return calls_[number];
}

FusedStep StepRows::call(int64_t number, const RowLayout& layout) const {
  FusedStep call = shared_;
  call.row = static_cast<const char*>(shared_.row) + number * table_step_;
  call.outputs = layout.outputs;
  call.converted = layout.converted;
  call.history_count = layout.history_count;
  call.draws = layout.draws;
  require(call.outputs >= 0 && call.outputs <= kMaxOutputs, "layout: outputs");
  require(call.converted >= 0 && call.converted <= kMaxConverted, "layout: converted");
  require(call.history_count >= 0 && call.history_count <= kMaxHistory, "layout: history");
  require(call.draws >= 0 && call.draws <= kMaxDraws, "layout: draws");
  require(aux_.present || !(layout.reads_aux || layout.writes_aux), "layout: no aux");
  if (layout.reads_aux) call.aux = aux_;
  if (layout.writes_aux) call.aux_out = aux_;
  constexpr Samples kSlot = {nullptr, 0, DType::f32, true};
  for (int o = 0; o < call.outputs; ++o) call.output[o] = kSlot;
  for (int k = 0; k < call.history_count; ++k) call.history[k] = slot(layout.history[k]);
  for (int h = 0; h < call.converted; ++h) {
    if (layout.stored[h] >= 0) call.stored[h] = slot(layout.stored[h]);
  }
  for (int d = 0; d < call.draws; ++d) {
    require(external_draws_ || layout.draw_number[d] >= 0, "layout: no such draw");
    call.draw_number[d] = static_cast<uint32_t>(layout.draw_number[d]);
    if (external_draws_) call.draw[d] = kSlot;
  }
  call.columns = column_layout(call).feed + 1;
  require(call.columns <= table_columns_, "layout: more columns than the table has");
  if (shared_.nonfinite != nullptr) call.nonfinite = shared_.nonfinite + number * call.batch;
  return call;
}

const Samples& StepRows::slot(int32_t number) const {
  require(number >= 0 && number < static_cast<int32_t>(slots_.size()), "layout: no such slot");
  require(slots_[number].present, "layout: an absent slot");
  return slots_[number];
}

}  // namespace genie
