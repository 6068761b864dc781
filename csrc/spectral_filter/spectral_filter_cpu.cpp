// spectral_filter on the CPU; compiled once per instruction set. A thread takes a channel of an
// image at a time, which stays in its cache from the normals to the result.
#include <memory>

#include "common/loops.h"
#include "common/normals_cpu.h"
#include "common/parallel.h"
#include "spectral_filter/fold.h"
#include "spectral_filter/spectral_filter.h"

namespace genie::inline GENIE_ISA {

// Below this many elements one thread works alone: it spares the start of a team.
inline constexpr int64_t kSerialElements = 8192;

template <class T>
int64_t padded(int64_t columns) {
  constexpr int64_t kUnit = kSpectralPad / sizeof(T);
  return (columns + kUnit - 1) / kUnit * kUnit;
}

// What one image is worked out in; kept, since calls come in thousands.
template <class T>
T* scratch_of_this_thread(int64_t count) {
  thread_local std::unique_ptr<T[]> memory;
  thread_local int64_t size = 0;
  if (count > size) {
    memory = std::make_unique<T[]>(static_cast<size_t>(count));
    size = count;
  }
  return memory.get();
}

// Where one image is worked out; the parts of an axis lie in tiles of the same shape.
template <class T>
struct Scratch {
  const Fold rows, columns;
  Matrix<T> image;
  T* lines;
  Matrix<T> wide, tall;
  Quadrants<T> folded, block;

  explicit Scratch(const SpectralFilter& call)
      : rows(call.height, call.wrapped), columns(call.width, call.wrapped) {
    const int64_t width = padded<T>(call.width), part = padded<T>(columns.even);
    const int64_t tile = rows.even * part;  // at least as large as the other parity's
    T* next = scratch_of_this_thread<T>(call.height * width + 4 * width + 10 * tile);
    image = {next, width};
    lines = next += call.height * width;
    next += 4 * width;
    const auto take = [&](int64_t stride) {
      const Matrix<T> matrix{next, stride};
      next += tile;
      return matrix;
    };
    wide = take(part);
    tall = take(part);
    for (int p = 0; p < 2; ++p) {
      for (int q = 0; q < 2; ++q) {
        folded.part[p][q] = take(part);
        block.part[p][q] = take(padded<T>(call.columns[q].frequencies));
      }
    }
  }
};

template <class T>
Matrix<const T> readable(Matrix<T> matrix) {
  return {matrix.first, matrix.stride};
}

template <class T>
void draw_image(const SpectralFilter& call, int64_t sample, int64_t first, Matrix<T> image) {
  alignas(64) float z[kMaxNormals];
  const Draw draw{philox_key(*call.noise.seed), call.draw_number,
                  static_cast<uint32_t>(call.noise.sample_ids[sample]), call.noise.stream};
  int64_t row = 0, column = 0;
  const int64_t last = first + call.height * call.width;
  for (int64_t from = first - first % 4; from < last; from += kMaxNormals) {
    const int count = static_cast<int>(last - from < kMaxNormals ? last - from : kMaxNormals);
    fill_normals(draw, from, count, z);
    int used = from < first ? static_cast<int>(first - from) : 0;
    while (used < count) {  // as much of a row as was drawn
      const int64_t rest = call.width - column;
      const int64_t some = rest < count - used ? rest : count - used;
      T* target = image.first + row * image.stride + column;
      for (int64_t i = 0; i < some; ++i) convert(z[used + i], target[i]);
      used += static_cast<int>(some);
      column += some;
      if (column == call.width) ++row, column = 0;
    }
  }
}

template <class T>
void load_image(const SpectralFilter& call, int64_t sample, int64_t first, Matrix<T> image) {
  if (!call.z.present) return draw_image(call, sample, first, image);
  for (int64_t h = 0; h < call.height; ++h)
    convert_from(call.z.dtype, address_of(call.z, sample, first + h * call.width),
                 image.first + h * image.stride, static_cast<int>(call.width));
}

template <class T>
void multiply(Matrix<T> image, Matrix<const T> factors, int64_t rows, int64_t columns) {
  for (int64_t h = 0; h < rows; ++h) {
    T* __restrict values = image.first + h * image.stride;
    const T* __restrict factor = factors.first + h * factors.stride;
    for (int64_t w = 0; w < columns; ++w) values[w] = mul(factor[w], values[w]);
  }
}

// block = Ph folded Pw', of one part
template <class T>
void transform(const SpectralFilter& call, const Scratch<T>& scratch, int p, int q) {
  const SpectralAxis &rows = call.rows[p], &columns = call.columns[q];
  const int64_t height = scratch.rows.length(p), width = scratch.columns.length(q);
  const Matrix<const T> left{static_cast<const T*>(rows.matrix), height};
  const Matrix<const T> right{static_cast<const T*>(columns.transposed),
                              padded<T>(columns.frequencies)};
  product<T>(left, readable(scratch.folded.part[p][q]), scratch.wide, rows.frequencies, width,
             height);  // 3
  product<T>(readable(scratch.wide), right, scratch.block.part[p][q], rows.frequencies,
             columns.frequencies, width);  // 4
}

// folded = Ph' block Pw
template <class T>
void transform_back(const SpectralFilter& call, const Scratch<T>& scratch, int p, int q) {
  const SpectralAxis &rows = call.rows[p], &columns = call.columns[q];
  const int64_t height = scratch.rows.length(p), width = scratch.columns.length(q);
  const Matrix<const T> left{static_cast<const T*>(rows.transposed), rows.frequencies};
  const Matrix<const T> right{static_cast<const T*>(columns.matrix), padded<T>(width)};
  product<T>(left, readable(scratch.block.part[p][q]), scratch.tall, height, columns.frequencies,
             rows.frequencies);  // 6
  product<T>(readable(scratch.tall), right, scratch.folded.part[p][q], height, width,
             columns.frequencies);  // 7
}

// 2 fold of what lies in the plane already: a DCT's frequencies are even and odd in turns.
template <class T>
void fold_plane(const SpectralFilter& call, const Scratch<T>& scratch) {
  const Matrix<const T> plane = readable(scratch.image);
  if (call.wrapped)
    return fold_image(scratch.rows, scratch.columns, plane, scratch.lines, scratch.block);
  for (int64_t h = 0; h < call.height; ++h) {
    for (int64_t w = 0; w < call.width; ++w) {
      const Matrix<T>& part = scratch.block.part[h % 2][w % 2];
      part.first[h / 2 * part.stride + w / 2] = plane.first[h * plane.stride + w];
    }
  }
}

template <class T>
void filter_parts(const SpectralFilter& call, const Scratch<T>& scratch, int64_t channel) {
  // 2 fold
  if (call.skips_forward) {
    fold_plane(call, scratch);
  } else {
    fold_image(scratch.rows, scratch.columns, readable(scratch.image), scratch.lines,
               scratch.folded);
  }
  for (int p = 0; p < 2; ++p) {
    for (int q = 0; q < 2; ++q) {
      const int64_t rows = call.rows[p].frequencies, columns = call.columns[q].frequencies;
      const int64_t stride = padded<T>(columns);
      const auto* gain = static_cast<const T*>(call.gain[p][q]);
      if (!call.shared_gain) gain += channel * rows * stride;
      // 3 rows and 4 columns
      if (!call.skips_forward) transform(call, scratch, p, q);
      // 5 gain
      multiply(scratch.block.part[p][q], {gain, stride}, rows, columns);
      // 6 rows and 7 columns
      transform_back(call, scratch, p, q);
    }
  }
}

template <class T>
void filter_image(const SpectralFilter& call, int64_t sample, int64_t channel) {
  const Scratch<T> scratch(call);
  const int64_t size = call.height * call.width, first = channel * size;
  const auto* space = static_cast<const T*>(call.space);
  if (space != nullptr && !call.shared_space) space += first;

  load_image(call, sample, first, scratch.image);
  // 1 space
  if (space != nullptr && !call.space_last)
    multiply(scratch.image, {space, call.width}, call.height, call.width);
  filter_parts(call, scratch, channel);
  // 8 unfold
  unfold_image(
      scratch.rows, scratch.columns, scratch.folded, scratch.lines, [&](int64_t h, T* row) {
        T* __restrict result = row;
        const T* __restrict image = scratch.image.first + h * scratch.image.stride;
        // 9 keep
        if (call.keeps)
          for (int64_t w = 0; w < call.width; ++w) result[w] = add(image[w], result[w]);
        // 10 space
        if (space != nullptr && call.space_last)
          for (int64_t w = 0; w < call.width; ++w)
            result[w] = mul(space[h * call.width + w], result[w]);
        convert_to(call.out.dtype, result, address_of(call.out, sample, first + h * call.width),
                   static_cast<int>(call.width));
      });
}

void spectral_filter(const SpectralFilter& call, int threads) {
  const int64_t images = call.batch * call.channels;
  if (images * call.height * call.width < kSerialElements) threads = 1;
  parallel_ranges(images, threads, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      const int64_t sample = image / call.channels, channel = image % call.channels;
      if (call.compute_f64) {
        filter_image<double>(call, sample, channel);
      } else {
        filter_image<float>(call, sample, channel);
      }
    }
  });
}

}  // namespace genie::inline GENIE_ISA
