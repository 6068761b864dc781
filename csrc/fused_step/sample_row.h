// One sample's row of coefficients as compact lists: terms with coefficient zero are dropped before
// any tensor is read.
#pragma once

#include "fused_step/fused_step_math.h"

namespace genie::inline GENIE_ISA {

// Everything that a term may multiply.
enum Source : int {
  kX = 0,
  kAux = 1,
  kConverted = 2,
  kHistory = kConverted + kMaxConverted,
  kDraw = kHistory + kMaxHistory,
  kOutput = kDraw + kMaxDraws,
  kSources = kOutput + kMaxOutputs,
};

template <class T>
struct Terms {
  int count = 0;
  T coefficient[kSources];
  uint8_t source[kSources];

  void append(T c, int from) {
    if (c == T(0)) return;
    coefficient[count] = c;
    source[count++] = static_cast<uint8_t>(from);
  }
  uint32_t sources() const {
    uint32_t set = 0;
    for (int k = 0; k < count; ++k) set |= 1u << source[k];
    return set;
  }
};

template <class T>
struct SampleRow {
  Terms<T> convert[kMaxConverted], combine[2];
  T bound[kMaxConverted], scale[kMaxConverted], e;
  uint32_t used = 0;  // set of sources that somebody reads

  bool uses(int source) const { return (used >> source & 1u) != 0; }
  // Clamping to infinity and scaling by one change no bit.
  bool bounds(int h) const { return bound[h] != T(__builtin_inf()) || scale[h] != T(1); }
};

template <class T>
inline SampleRow<T> read_row(const FusedStep& call, int64_t sample) {
  const T* row = static_cast<const T*>(call.row) + sample * call.row_stride;
  const ColumnLayout layout = column_layout(call);
  SampleRow<T> result;
  const int states = call.aux_out.present ? 2 : 1;
  for (int s = 0; s < states; ++s) {
    const T* column = row + layout.combine_begin + s * layout.combine_width;
    Terms<T>& terms = result.combine[s];
    terms.append(*column++, kX);
    if (call.aux.present) terms.append(*column++, kAux);
    for (int h = 0; h < call.converted; ++h) terms.append(*column++, kConverted + h);
    for (int k = 0; k < call.history_count; ++k) terms.append(*column++, kHistory + k);
    for (int d = 0; d < call.draws; ++d) terms.append(*column++, kDraw + d);
    result.used |= terms.sources();
  }
  for (int h = 0; h < call.converted; ++h) {
    if (call.stored[h].present) result.used |= 1u << (kConverted + h);
    if (!result.uses(kConverted + h)) continue;
    const T* column = row + h * layout.convert_width;
    result.convert[h].append(*column++, kX);
    for (int o = 0; o < call.outputs; ++o) result.convert[h].append(*column++, kOutput + o);
    result.bound[h] = column[0];
    result.scale[h] = column[1];
    result.used |= result.convert[h].sources();
  }
  result.e = row[layout.feed];
  return result;
}

}  // namespace genie::inline GENIE_ISA
