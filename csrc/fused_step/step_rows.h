// The rows of a table over the same tensors: what a row adds to the call is a few integers and its
// place in the table.
#pragma once

#include <vector>

#include "arguments.h"
#include "fused_step/fused_step.h"

namespace genie {

// One line of the layout, as genie_ext/ops/fused_step/rows.py documents it; -1 where there is none.
struct RowLayout {
  int32_t outputs, converted, draws, reads_aux, writes_aux, history_count;
  int32_t history[kMaxHistory];
  int32_t stored[kMaxConverted];
  int32_t draw_number[kMaxDraws];
};

class StepRows {
 public:
  // integers: what the rows share, as genie_ext/ops/fused_step/native_rows.py flattens it.
  StepRows(Arguments& integers, const std::vector<RowLayout>& layout);

  int64_t count() const { return static_cast<int64_t>(calls_.size()); }
  // The row's call; outputs and external draws are slots.
  const FusedStep& row(int64_t number) const;

 private:
  FusedStep call(int64_t number, const RowLayout& layout) const;
  const Samples& slot(int32_t number) const;

  FusedStep shared_;
  Samples aux_;
  std::vector<Samples> slots_;
  int64_t table_step_;  // bytes from row to row
  int64_t table_columns_;
  bool external_draws_;
  std::vector<FusedStep> calls_;
};

}  // namespace genie
