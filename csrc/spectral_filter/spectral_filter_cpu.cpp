// spectral_filter on the CPU; compiled once per instruction set. A thread takes a channel of an
// image at a time, which stays in its cache from the normals to the result.
#include <memory>

#include "common/loops.h"
#include "common/normals_cpu.h"
#include "common/parallel.h"
#include "spectral_filter/product.h"
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
    memory = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(count));
    size = count;
  }
  return memory.get();
}

template <class T>
struct Scratch {
  Matrix<T> image, wide, block, tall;

  explicit Scratch(const SpectralFilter& call) {
    const int64_t width = padded<T>(call.width), columns = padded<T>(call.block_columns);
    const int64_t image_size = call.height * width, block_size = call.block_rows * columns;
    T* next = scratch_of_this_thread<T>(2 * image_size + block_size + call.height * columns);
    image = {next, width};
    wide = {next += image_size, width};
    block = {next += image_size, columns};
    tall = {next += block_size, columns};
  }
};

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

// block = Ph image Pw'
template <class T>
void transform(const SpectralFilter& call, const Scratch<T>& scratch) {
  const Matrix<const T> rows{static_cast<const T*>(call.rows), call.height};
  const Matrix<const T> columns{static_cast<const T*>(call.columns_transposed),
                                padded<T>(call.block_columns)};
  const Matrix<const T> image{scratch.image.first, scratch.image.stride};
  const Matrix<const T> wide{scratch.wide.first, scratch.wide.stride};
  product<T>(rows, image, scratch.wide, call.block_rows, call.width, call.height);            // 2
  product<T>(wide, columns, scratch.block, call.block_rows, call.block_columns, call.width);  // 3
}

// wide = Ph' block Pw
template <class T>
void transform_back(const SpectralFilter& call, const Scratch<T>& scratch) {
  const Matrix<const T> rows{static_cast<const T*>(call.rows_transposed), call.block_rows};
  const Matrix<const T> columns{static_cast<const T*>(call.columns), padded<T>(call.width)};
  const Matrix<const T> block{scratch.block.first, scratch.block.stride};
  const Matrix<const T> tall{scratch.tall.first, scratch.tall.stride};
  product<T>(rows, block, scratch.tall, call.height, call.block_columns, call.block_rows);  // 5
  product<T>(tall, columns, scratch.wide, call.height, call.width, call.block_columns);     // 6
}

template <class T>
void filter_image(const SpectralFilter& call, int64_t sample, int64_t channel) {
  const Scratch<T> scratch(call);
  const int64_t size = call.height * call.width, first = channel * size;
  const auto* space = static_cast<const T*>(call.space);
  if (space != nullptr && !call.shared_space) space += first;
  const Matrix<const T> space_of_channel{space, call.width};
  const int64_t columns = padded<T>(call.block_columns);
  const auto* gain = static_cast<const T*>(call.gain);
  if (!call.shared_gain) gain += channel * call.block_rows * columns;

  load_image(call, sample, first, call.skips_forward ? scratch.block : scratch.image);
  // 1 space
  if (space != nullptr && !call.space_last)
    multiply(scratch.image, space_of_channel, call.height, call.width);
  // 2 rows and 3 columns
  if (!call.skips_forward) transform(call, scratch);
  // 4 gain
  multiply(scratch.block, {gain, columns}, call.block_rows, call.block_columns);
  // 5 rows and 6 columns
  transform_back(call, scratch);
  for (int64_t h = 0; h < call.height; ++h) {
    T* __restrict result = scratch.wide.first + h * scratch.wide.stride;
    const T* __restrict image = scratch.image.first + h * scratch.image.stride;
    // 7 keep
    if (call.keeps)
      for (int64_t w = 0; w < call.width; ++w) result[w] = add(image[w], result[w]);
    // 8 space
    if (space != nullptr && call.space_last)
      for (int64_t w = 0; w < call.width; ++w)
        result[w] = mul(space[h * call.width + w], result[w]);
    convert_to(call.out.dtype, result, address_of(call.out, sample, first + h * call.width),
               static_cast<int>(call.width));
  }
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
