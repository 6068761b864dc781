// The lines that are fused_step, for one element. Same names and numbers as
// genie_ext/ops/fused_step/reference.py.
//
//     1 convert   y_h  = r_h * clamp(p_h*x + sum_o Q[h,o]*o_o, -b_h, +b_h)
//     2 store     stored[h] = y_h
//     3 combine   x'   = W_0 . [x, aux, y_1..y_H, history newest first] + C_0 . [d_1, d_2]
//                 aux' = W_1 . [x, aux, y_1..y_H, history newest first] + C_1 . [d_1, d_2]
//     4 feed      x_in = e * x'
//
// T is the compute type, float or double; inputs are widened to it, results are rounded once on the
// way out.
#pragma once

#include "common/dtype.h"
#include "fused_step/fused_step.h"

namespace genie::inline GENIE_ISA {

// Where the coefficients lie in a row; contract.py has the table.
struct ColumnLayout {
  int convert_width;  // p, Q[0..O-1], b, r
  int combine_begin;
  int combine_width;  // x, (aux), y_1..y_H, history, draws
  int feed;           // e
};

HOST_DEVICE ColumnLayout column_layout(const FusedStep& call) {
  const int states = call.aux_out.present ? 2 : 1;
  const int aux = call.aux.present ? 1 : 0;
  ColumnLayout layout;
  layout.convert_width = call.outputs + 3;
  layout.combine_begin = call.converted * layout.convert_width;
  layout.combine_width = 1 + aux + call.converted + call.history_count + call.draws;
  layout.feed = layout.combine_begin + states * layout.combine_width;
  return layout;
}

// 1 and 3: a sum of products. Terms with coefficient zero are left out (NaN behind them is
// harmless), the first is a product alone, a sum of no terms is +0.0. Where the terms cannot be
// compacted beforehand: start at -0.0, the exact identity of IEEE addition, and use select_product.
template <class T>
HOST_DEVICE T product(T coefficient, T value) {
  return mul(coefficient, value);
}

template <class T>
HOST_DEVICE T add_product(T total, T coefficient, T value) {
  return add(total, mul(coefficient, value));
}

template <class T>
HOST_DEVICE T select_product(T total, T coefficient, T value) {
  return coefficient != T(0) ? add_product(total, coefficient, value) : total;
}

// 1 convert, after the sum. NaN passes: it is neither above nor below the bound.
template <class T>
HOST_DEVICE T bound_and_scale(T y, T bound, T scale) {
  y = y > bound ? bound : y;
  y = y < -bound ? -bound : y;
  return mul(scale, y);
}

// 4 feed, of the x' that is not yet rounded to its storage
template <class T>
HOST_DEVICE T feed(T e, T x_next) {
  return mul(e, x_next);
}

}  // namespace genie::inline GENIE_ISA
