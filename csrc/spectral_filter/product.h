// A product of two matrices whose sums run over ascending k, each product and sum rounded once: its
// bits depend on nothing but its factors.
#pragma once

#include "common/arithmetic.h"

namespace genie::inline GENIE_ISA {

#if defined __AVX512F__
inline constexpr int kVectorBytes = 64;
#elif defined __AVX__
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

// Read and written at any address of a T.
template <class T>
struct VectorOf {
  using Type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias)) = T;
  static constexpr int64_t kLanes = kVectorBytes / sizeof(T);
};

template <class T>
struct Matrix {
  T* first;
  int64_t stride;  // elements from one row to the next
};

// Sums in registers: eight hide the time that an addition takes, and leave room on every level.
inline constexpr int kTileRows = 4, kTileVectors = 2;

template <class T, int kRows, int kVectors>
inline void product_tile(const T* left, int64_t left_stride, const T* right, int64_t right_stride,
                         int64_t depth, T* out, int64_t out_stride) {
  using Vector = typename VectorOf<T>::Type;
  Vector sum[kRows][kVectors] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const Vector* row = reinterpret_cast<const Vector*>(right + k * right_stride);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const T factor = left[i * left_stride + k];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = sum[i][v] + factor * row[v];
    }
  }
  for (int i = 0; i < kRows; ++i) {
    Vector* target = reinterpret_cast<Vector*>(out + i * out_stride);
    for (int v = 0; v < kVectors; ++v) target[v] = sum[i][v];
  }
}

template <class T, int kRows>
inline void product_rows(Matrix<const T> left, Matrix<const T> right, Matrix<T> out, int64_t depth,
                         int64_t vectors) {
  constexpr int64_t kLanes = VectorOf<T>::kLanes;
  int64_t v = 0;
  for (; v + kTileVectors <= vectors; v += kTileVectors)
    product_tile<T, kRows, kTileVectors>(left.first, left.stride, right.first + v * kLanes,
                                         right.stride, depth, out.first + v * kLanes, out.stride);
  for (; v < vectors; ++v)
    product_tile<T, kRows, 1>(left.first, left.stride, right.first + v * kLanes, right.stride,
                              depth, out.first + v * kLanes, out.stride);
}

template <class T, int kRows>
inline void some_rows(Matrix<const T> left, Matrix<const T> right, Matrix<T> out, int64_t rows,
                      int64_t depth, int64_t vectors) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return product_rows<T, kRows>(left, right, out, depth, vectors);
    some_rows<T, kRows - 1>(left, right, out, rows, depth, vectors);
  }
}

// out [rows, columns] = left [rows, depth] right [depth, columns]; the rows of right and out are
// padded to whole vectors.
template <class T>
inline void product(Matrix<const T> left, Matrix<const T> right, Matrix<T> out, int64_t rows,
                    int64_t columns, int64_t depth) {
  constexpr int64_t kLanes = VectorOf<T>::kLanes;
  const int64_t vectors = (columns + kLanes - 1) / kLanes;
  // tiles of about equal height: the last of full ones would be low, and slow
  for (int64_t tiles = (rows + kTileRows - 1) / kTileRows; tiles > 0; --tiles) {
    const int64_t some = (rows + tiles - 1) / tiles;
    some_rows<T, kTileRows>(left, right, out, some, depth, vectors);
    left.first += some * left.stride;
    out.first += some * out.stride;
    rows -= some;
  }
}

}  // namespace genie::inline GENIE_ISA
