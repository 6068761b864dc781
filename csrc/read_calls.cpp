#include "read_calls.h"

namespace genie {
namespace {

void require_sizes(int64_t batch, int64_t elements) {
  require(batch >= 0 && elements >= 0, "negative batch or elements");
}

void require_noise(const Noise& noise) {
  require(noise.seed != nullptr && noise.sample_ids != nullptr, "null noise");
}

void require_address(const Samples& tensor, const char* what) {
  require(!tensor.present || tensor.data != nullptr, what);
}

[[noreturn]] void refuse_slot() { throw std::invalid_argument("arguments: no such slot"); }

}  // namespace

void read(Arguments& arguments, FusedStep& call) {
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.compute_f64 = arguments.integer() != 0;
  call.row = arguments.address();
  call.row_stride = arguments.integer();
  call.columns = arguments.integer();
  const bool flags_nonfinite = arguments.integer() != 0;
  call.nonfinite = static_cast<int32_t*>(arguments.address());
  call.noise = arguments.noise();
  call.outputs = arguments.count("outputs", kMaxOutputs);
  call.converted = arguments.count("converted", kMaxConverted);
  call.history_count = arguments.count("history", kMaxHistory);
  call.draws = arguments.count("draws", kMaxDraws);
  for (Samples* tensor : {&call.x, &call.aux, &call.out, &call.aux_out, &call.x_in})
    *tensor = arguments.samples();
  for (int h = 0; h < call.converted; ++h) call.stored[h] = arguments.samples();
  for (int k = 0; k < call.history_count; ++k) call.history[k] = arguments.samples();
  for (int o = 0; o < call.outputs; ++o) call.output[o] = arguments.samples();
  for (int d = 0; d < call.draws; ++d) call.draw[d] = arguments.samples();
  for (int d = 0; d < call.draws; ++d)
    call.draw_number[d] = static_cast<uint32_t>(arguments.integer());
  require_sizes(call.batch, call.elements);
  require(flags_nonfinite == (call.nonfinite != nullptr), "null nonfinite");
  require(call.x.present && call.out.present, "no x or out");
}

Samples& slot(FusedStep& call, int64_t index) {
  if (index == 0) return call.x;
  if (index >= 1 && index <= call.outputs) return call.output[index - 1];
  const int64_t d = index - 1 - call.outputs;
  if (d >= 0 && d < call.draws && call.draw[d].present) return call.draw[d];
  refuse_slot();
}

void require_addresses(const FusedStep& call) {
  if (call.batch == 0 || call.elements == 0) return;
  require(call.row != nullptr, "null row");
  require_address(call.x, "null x");
  require_address(call.aux, "null aux");
  require_address(call.out, "null out");
  require_address(call.aux_out, "null aux_out");
  require_address(call.x_in, "null x_in");
  for (const Samples& stored : call.stored) require_address(stored, "null store");
  for (const Samples& history : call.history) require_address(history, "null history");
  for (const Samples& output : call.output) require_address(output, "null output");
  for (int d = 0; d < call.draws; ++d) {
    require_address(call.draw[d], "null draw");
    if (!call.draw[d].present) require_noise(call.noise);
  }
}

void read(Arguments& arguments, NormalFill& call) {
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.out = arguments.samples();
  call.noise = arguments.noise();
  call.draw_number = static_cast<uint32_t>(arguments.integer());
  require_sizes(call.batch, call.elements);
  require(call.out.present, "no out");
}

Samples& slot(NormalFill&, int64_t) { refuse_slot(); }

void require_addresses(const NormalFill& call) {
  require_noise(call.noise);
  if (call.batch != 0 && call.elements != 0) require_address(call.out, "null out");
}

void read(Arguments& arguments, JvpDistillLoss& call) {
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.compute_f64 = arguments.integer() != 0;
  call.mean = arguments.integer() != 0;
  for (Samples* tensor : {&call.maps, &call.target, &call.gamma, &call.weights, &call.gradient})
    *tensor = arguments.samples();
  call.scratch = arguments.address();
  call.losses = arguments.address();
  call.total = arguments.address();
  require_sizes(call.batch, call.elements);
  require(call.maps.present && call.target.present && call.gamma.present,
          "no maps, target or gamma");
  require(!call.gradient.present || call.gradient.dtype == call.maps.dtype,
          "gradient of another dtype than maps");
  require(call.gamma.dtype <= DType::f64 && call.weights.dtype <= DType::f64,
          "gamma or weights of 16 bits");
}

Samples& slot(JvpDistillLoss&, int64_t) { refuse_slot(); }

void require_addresses(const JvpDistillLoss& call) {
  require_address(call.gamma, "null gamma");
  require_address(call.weights, "null weights");
  require(call.scratch != nullptr && call.losses != nullptr && call.total != nullptr,
          "null scratch, losses or total");
  if (call.batch == 0 || call.elements == 0) return;
  require_address(call.maps, "null maps");
  require_address(call.target, "null target");
  require_address(call.gradient, "null gradient");
}

void read(Arguments& arguments, SpectralFilter& call) {
  for (int64_t* size : {&call.batch, &call.channels, &call.height, &call.width})
    *size = arguments.integer();
  for (bool* flag : {&call.compute_f64, &call.wrapped, &call.keeps, &call.skips_forward,
                     &call.space_last, &call.shared_gain, &call.shared_space})
    *flag = arguments.integer() != 0;
  for (Samples* tensor : {&call.z, &call.out}) *tensor = arguments.samples();
  for (SpectralAxis* axis : {&call.rows[0], &call.rows[1], &call.columns[0], &call.columns[1]}) {
    axis->frequencies = arguments.integer();
    axis->matrix = arguments.address();
    axis->transposed = arguments.address();
  }
  for (const void** gain : {&call.gain[0][0], &call.gain[0][1], &call.gain[1][0], &call.gain[1][1]})
    *gain = arguments.address();
  call.space = arguments.address();
  call.noise = arguments.noise();
  call.draw_number = static_cast<uint32_t>(arguments.integer());
  require(call.batch >= 0 && call.channels >= 0, "negative batch or channels");
  require(call.height > 0 && call.width > 0, "an image of no rows or columns");
  require(call.out.present, "no out");
}

Samples& slot(SpectralFilter&, int64_t) { refuse_slot(); }

// As many frequencies of an axis as elements at most, all of them where the transform is skipped.
static void require_axis(const SpectralAxis& axis, int64_t elements, bool all) {
  require(0 <= axis.frequencies && axis.frequencies <= elements, "more frequencies than elements");
  require(!all || axis.frequencies == elements, "a skipped transform without all frequencies");
  require(axis.frequencies == 0 || (axis.matrix != nullptr && axis.transposed != nullptr),
          "null matrix");
}

void require_addresses(const SpectralFilter& call) {
  const int64_t n[] = {call.height, call.width};
  const SpectralAxis* axes[] = {call.rows, call.columns};
  for (int a = 0; a < 2; ++a) {
    const int64_t odd = (n[a] - call.wrapped) / 2;
    require_axis(axes[a][0], n[a] - odd, call.skips_forward);
    require_axis(axes[a][1], odd, call.skips_forward);
  }
  for (int p = 0; p < 2; ++p)
    for (int q = 0; q < 2; ++q)
      require(call.gain[p][q] != nullptr || call.rows[p].frequencies == 0 ||
                  call.columns[q].frequencies == 0,
              "null gain");
  if (!call.z.present) require_noise(call.noise);
  if (call.batch == 0 || call.channels == 0) return;
  require_address(call.z, "null z");
  require_address(call.out, "null out");
}

void read(Arguments& arguments, SumOfSquares& call) {
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.x = arguments.samples();
  call.partials = static_cast<double*>(arguments.address());
  call.out = static_cast<double*>(arguments.address());
  require_sizes(call.batch, call.elements);
  require(call.x.present, "no x");
}

Samples& slot(SumOfSquares&, int64_t) { refuse_slot(); }

void require_addresses(const SumOfSquares& call) {
  if (call.batch == 0) return;
  require(call.out != nullptr, "null out");
  if (call.elements == 0) return;
  require(call.partials != nullptr, "null partials");
  require_address(call.x, "null x");
}

}  // namespace genie
