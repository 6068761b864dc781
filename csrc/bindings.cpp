// The Python module genie_ext._C. It sees addresses and numbers only; genie_ext/ops/*/native.py
// flattens each call.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>

#include "common/isa.h"
#include "common/pages.h"
#include "cpu_dispatch.h"

namespace py = pybind11;

namespace genie {
namespace {

// The order in which the read_* functions read; genie_ext/_dispatch.py refuses a module of another
// one. Count up with every change of that order and with every new call.
constexpr int kCallLayout = 3;

// Reads a flat list of integers from front to back.
class Arguments {
 public:
  explicit Arguments(const py::list& values) : values_(values.ptr()) {}

  int64_t integer() {
    if (next_ >= PyList_GET_SIZE(values_))
      throw std::invalid_argument("arguments: too few integers for this call");
    const int64_t value = PyLong_AsLongLong(PyList_GET_ITEM(values_, next_++));
    if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return value;
  }
  void* address() { return reinterpret_cast<void*>(integer()); }
  int32_t count(const char* name, int32_t limit) {
    const int64_t value = integer();
    if (value >= 0 && value <= limit) return static_cast<int32_t>(value);
    throw std::invalid_argument(std::string(name) + ": " + std::to_string(value) + "; need 0 to " +
                                std::to_string(limit));
  }
  Samples samples() {
    Samples result;
    result.data = address();
    result.stride = integer();
    result.dtype = static_cast<DType>(count("dtype", static_cast<int32_t>(DType::bf16)));
    return result;
  }
  Noise noise() {
    Noise result;
    result.seed = static_cast<const int64_t*>(address());
    result.sample_ids = static_cast<const int64_t*>(address());
    result.stream = static_cast<uint32_t>(integer());
    return result;
  }
  void finish() const {
    if (next_ != PyList_GET_SIZE(values_))
      throw std::invalid_argument("arguments: too many integers for this call");
  }

 private:
  PyObject* values_;
  Py_ssize_t next_ = 0;
};

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("arguments: ") + what);
}

void require_sizes(int64_t batch, int64_t elements) {
  require(batch >= 0 && elements >= 0, "negative batch or elements");
}

void require_noise(const Noise& noise) {
  require(noise.seed != nullptr && noise.sample_ids != nullptr, "null noise");
}

// A tensor of no elements may have no address.
void require_addresses(const FusedStep& call) {
  if (call.batch == 0 || call.elements == 0) return;
  require(call.row != nullptr, "null row");
  require(call.x.data != nullptr, "null x");
  require(call.out.data != nullptr, "null out");
  for (int o = 0; o < call.outputs; ++o) require(call.output[o].data != nullptr, "null output");
  for (int k = 0; k < call.history; ++k) require(call.past[k].data != nullptr, "null history");
  for (int d = 0; d < call.draws; ++d) {
    if (call.draw[d].data == nullptr) require_noise(call.noise);
  }
}

FusedStep read_fused_step(const py::list& values) {
  Arguments arguments(values);
  FusedStep call;
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.compute_f64 = arguments.integer() != 0;
  call.row = arguments.address();
  call.row_stride = arguments.integer();
  call.nonfinite = static_cast<int32_t*>(arguments.address());
  call.noise = arguments.noise();
  call.outputs = arguments.count("outputs", kMaxOutputs);
  call.converted = arguments.count("converted", kMaxConverted);
  call.history = arguments.count("history", kMaxHistory);
  call.draws = arguments.count("draws", kMaxDraws);
  for (Samples* tensor : {&call.x, &call.aux, &call.out, &call.aux_out, &call.x_in})
    *tensor = arguments.samples();
  for (int h = 0; h < call.converted; ++h) call.stored[h] = arguments.samples();
  for (int o = 0; o < call.outputs; ++o) call.output[o] = arguments.samples();
  for (int k = 0; k < call.history; ++k) call.past[k] = arguments.samples();
  for (int d = 0; d < call.draws; ++d) {
    call.draw[d] = arguments.samples();
    call.draw_number[d] = static_cast<uint32_t>(arguments.integer());
  }
  arguments.finish();
  require_sizes(call.batch, call.elements);
  require_addresses(call);
  return call;
}

NormalFill read_normal_fill(const py::list& values) {
  Arguments arguments(values);
  NormalFill call;
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.out = arguments.samples();
  call.noise = arguments.noise();
  call.draw_number = static_cast<uint32_t>(arguments.integer());
  arguments.finish();
  require_sizes(call.batch, call.elements);
  require_noise(call.noise);
  const bool empty = call.batch == 0 || call.elements == 0;
  require(empty || call.out.data != nullptr, "null out");
  return call;
}

JvpDistillLoss read_jvp_distill_loss(const py::list& values) {
  Arguments arguments(values);
  JvpDistillLoss call;
  call.batch = arguments.integer();
  call.elements = arguments.integer();
  call.compute_f64 = arguments.integer() != 0;
  call.mean = arguments.integer() != 0;
  for (Samples* tensor : {&call.maps, &call.target, &call.gamma, &call.weights, &call.gradient})
    *tensor = arguments.samples();
  call.scratch = arguments.address();
  call.losses = arguments.address();
  call.total = arguments.address();
  arguments.finish();
  require_sizes(call.batch, call.elements);
  const bool empty = call.batch == 0 || call.elements == 0;
  require(empty || call.maps.data != nullptr, "null maps");
  require(empty || call.target.data != nullptr, "null target");
  require(call.gradient.data == nullptr || call.gradient.dtype == call.maps.dtype,
          "gradient of another dtype than maps");
  require(call.gamma.data != nullptr, "null gamma");
  require(call.gamma.dtype <= DType::f64 && call.weights.dtype <= DType::f64,
          "gamma or weights of 16 bits");
  require(call.scratch != nullptr && call.losses != nullptr && call.total != nullptr,
          "null scratch, losses or total");
  return call;
}

std::array<uint32_t, 4> philox4x32_10(const std::array<uint32_t, 4>& counter,
                                      const std::array<uint32_t, 2>& key) {
  std::array<uint32_t, 4> words;
  const uint64_t seed = (uint64_t{key[1]} << 32) | key[0];
  philox_block_cpu(counter.data(), static_cast<int64_t>(seed), words.data());
  return words;
}

bool built_with_cuda() {
#ifdef GENIE_EXT_CUDA
  return true;
#else
  return false;
#endif
}

// As the build was asked for them: "80-real,90-real,90-virtual"; empty without CUDA.
const char* cuda_archs() {
#ifdef GENIE_EXT_CUDA
  return GENIE_EXT_CUDA_ARCHS;
#else
  return "";
#endif
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native core of genie_ext: raw addresses, sizes, strides and a stream handle.";
  module.def("fused_step_cpu", [](const py::list& arguments, int threads) {
    const FusedStep call = read_fused_step(arguments);
    py::gil_scoped_release release;
    fused_step_cpu(call, threads);
  });
  module.def("normal_fill_cpu", [](const py::list& arguments, int threads) {
    const NormalFill call = read_normal_fill(arguments);
    py::gil_scoped_release release;
    normal_fill_cpu(call, threads);
  });
  module.def("jvp_distill_loss_cpu", [](const py::list& arguments, int threads) {
    const JvpDistillLoss call = read_jvp_distill_loss(arguments);
    py::gil_scoped_release release;
    jvp_distill_loss_cpu(call, threads);
  });
#ifdef GENIE_EXT_CUDA
  module.def("fused_step_cuda", [](const py::list& arguments, uintptr_t stream) {
    const FusedStep call = read_fused_step(arguments);
    py::gil_scoped_release release;
    fused_step_cuda(call, reinterpret_cast<void*>(stream));
  });
  module.def("normal_fill_cuda", [](const py::list& arguments, uintptr_t stream) {
    const NormalFill call = read_normal_fill(arguments);
    py::gil_scoped_release release;
    normal_fill_cuda(call, reinterpret_cast<void*>(stream));
  });
  module.def("jvp_distill_loss_cuda", [](const py::list& arguments, uintptr_t stream) {
    const JvpDistillLoss call = read_jvp_distill_loss(arguments);
    py::gil_scoped_release release;
    jvp_distill_loss_cuda(call, reinterpret_cast<void*>(stream));
  });
  module.def("cuda_problem", &cuda_problem);
#endif
  py::class_<Pages>(module, "Pages", py::buffer_protocol(), py::module_local())
      .def(py::init<size_t>())
      .def_buffer([](Pages& pages) {
        return py::buffer_info(static_cast<uint8_t*>(pages.data()),
                               static_cast<py::ssize_t>(pages.size()));
      });
  module.def("philox4x32_10", &philox4x32_10, py::arg("counter"), py::arg("key"));
  module.def("isa", [] { return isa_name(selected_isa()); });
  module.attr("CALL_LAYOUT") = kCallLayout;
  module.def("built_with_cuda", &built_with_cuda);
  module.def("cuda_archs", &cuda_archs);
}

}  // namespace genie
