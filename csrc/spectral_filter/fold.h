// Even and odd parts of a line or an image under reflection. A DCT reflects i to n - 1 - i, a DFT
// (wrapped) i to -i modulo n; each frequency sees one part alone, which halves the products.
#pragma once

#include "spectral_filter/product.h"

namespace genie::inline GENIE_ISA {

// The first parts.even elements stand for all; those from first on have a partner at mirror - i.
struct Fold {
  int64_t size, first, pairs, even, mirror;

  Fold(int64_t n, bool wrapped)
      : size(n),
        first(wrapped ? 1 : 0),
        pairs(wrapped ? (n - 1) / 2 : n / 2),
        even(wrapped ? n / 2 + 1 : (n + 1) / 2),
        mirror(wrapped ? n : n - 1) {}
  int64_t length(int parity) const { return parity == 0 ? even : pairs; }
  bool is_paired(int64_t i) const { return first <= i && i < first + pairs; }
};

template <class T>
inline void fold_line(const Fold& fold, const T* __restrict line, T* __restrict even,
                      T* __restrict odd) {
  const T* __restrict low = line + fold.first;
  const T* __restrict high = line + fold.mirror - fold.first;
  for (int64_t i = 0; i < fold.pairs; ++i) {
    even[fold.first + i] = add(low[i], high[-i]);
    odd[i] = sub(low[i], high[-i]);
  }
  if (fold.first > 0) even[0] = line[0];
  for (int64_t i = fold.first + fold.pairs; i < fold.even; ++i) even[i] = line[i];
}

template <class T>
inline void unfold_line(const Fold& fold, const T* __restrict even, const T* __restrict odd,
                        T* __restrict line) {
  T* __restrict low = line + fold.first;
  T* __restrict high = line + fold.mirror - fold.first;
  for (int64_t i = 0; i < fold.pairs; ++i) low[i] = add(even[fold.first + i], odd[i]);
  for (int64_t i = 0; i < fold.pairs; ++i) high[-i] = sub(even[fold.first + i], odd[i]);
  if (fold.first > 0) line[0] = even[0];
  for (int64_t i = fold.first + fold.pairs; i < fold.even; ++i) line[i] = even[i];
}

// The four parts of an image: [row parity][column parity].
template <class T>
struct Quadrants {
  Matrix<T> part[2][2];
};

// lines: room for two rows of the image.
template <class T>
inline void fold_image(const Fold& rows, const Fold& columns, Matrix<const T> image, T* lines,
                       const Quadrants<T>& into) {
  T* __restrict sum = lines, * __restrict difference = lines + columns.size;
  const auto fold_to = [&](int parity, int64_t row, const T* line) {
    const Matrix<T>&even = into.part[parity][0], &odd = into.part[parity][1];
    fold_line(columns, line, even.first + row * even.stride, odd.first + row * odd.stride);
  };
  for (int64_t row = 0; row < rows.even; ++row) {
    const T* __restrict low = image.first + row * image.stride;
    if (!rows.is_paired(row)) {
      fold_to(0, row, low);
      continue;
    }
    const T* __restrict high = image.first + (rows.mirror - row) * image.stride;
    for (int64_t i = 0; i < columns.size; ++i) {
      sum[i] = add(low[i], high[i]);
      difference[i] = sub(low[i], high[i]);
    }
    fold_to(0, row, sum);
    fold_to(1, row - rows.first, difference);
  }
}

// write(row, values) for each row of the image, which may be overwritten. lines: room for four
// rows.
template <class T, class Write>
inline void unfold_image(const Fold& rows, const Fold& columns, const Quadrants<T>& from, T* lines,
                         const Write& write) {
  T* __restrict even = lines, * __restrict odd = lines + columns.size;
  T* __restrict low = odd + columns.size, * __restrict high = low + columns.size;
  const auto unfold_from = [&](int parity, int64_t row, T* line) {
    const Matrix<T>&left = from.part[parity][0], &right = from.part[parity][1];
    unfold_line(columns, left.first + row * left.stride, right.first + row * right.stride, line);
  };
  for (int64_t row = 0; row < rows.even; ++row) {
    unfold_from(0, row, even);
    if (!rows.is_paired(row)) {
      write(row, even);
      continue;
    }
    unfold_from(1, row - rows.first, odd);
    for (int64_t i = 0; i < columns.size; ++i) {
      low[i] = add(even[i], odd[i]);
      high[i] = sub(even[i], odd[i]);
    }
    write(row, low);
    write(rows.mirror - row, high);
  }
}

}  // namespace genie::inline GENIE_ISA
