// The Python module genie_ext._C. It sees addresses and numbers only; genie_ext/ops/*/native.py
// flattens each call.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "common/isa.h"
#include "common/pages.h"
#include "cpu_dispatch.h"
#include "fused_step/regular.h"
#include "fused_step/step_rows.h"
#include "read_calls.h"
#include "tensors.h"

namespace py = pybind11;

namespace genie {
namespace {

template <class Call>
Call read_call(const py::list& integers) {
  Arguments arguments(integers);
  Call call;
  read(arguments, call);
  arguments.finish();
  return call;
}

// A copy, so that two threads may run one call: its slots hold the tensors given, each as the
// number of the slot and what Arguments::samples reads.
template <class Call>
Call filled(Call call, const py::list& tensors) {
  Arguments arguments(tensors);
  while (!arguments.at_end()) {
    Samples& target = slot(call, arguments.integer());
    target = arguments.samples();
    require(target.present, "an absent tensor in a slot");
  }
  require_addresses(call);
  return call;
}

// A class that holds a call, to be run any number of times.
template <class Call>
py::class_<Call> define_call(const py::module_& module, const char* name,
                             void (*run)(const Call&, int threads)) {
  return py::class_<Call>(module, name, py::module_local())
      .def(py::init(&read_call<Call>))
      .def("run_cpu", [run](const Call& prepared, const py::list& tensors, int threads) {
        const Call call = filled(prepared, tensors);
        py::gil_scoped_release release;
        run(call, threads);
      });
}

#ifdef GENIE_EXT_CUDA
template <class Call>
void define_cuda(py::class_<Call>& type, void (*run)(const Call&, int device, void* cuda_stream)) {
  type.def("run_cuda",
           [run](const Call& prepared, const py::list& tensors, int device, uintptr_t cuda_stream) {
             const Call call = filled(prepared, tensors);
             py::gil_scoped_release release;
             run(call, device, reinterpret_cast<void*>(cuda_stream));
           });
}
#endif

// layout: int32 [rows, the integers of a RowLayout].
StepRows read_rows(const py::list& integers,
                   const py::array_t<int32_t, py::array::c_style>& layout) {
  constexpr auto kColumns = static_cast<py::ssize_t>(sizeof(RowLayout) / sizeof(int32_t));
  require(layout.ndim() == 2 && layout.shape(1) == kColumns, "layout of other columns");
  const auto* first = reinterpret_cast<const RowLayout*>(layout.data());
  Arguments arguments(integers);
  return StepRows(arguments, {first, first + layout.shape(0)});
}

// The row's call with these outputs and external draws, in order.
FusedStep filled(const StepRows& rows, int64_t number, const py::list& tensors) {
  FusedStep call = rows.row(number);
  Arguments arguments(tensors);
  for (int o = 0; o < call.outputs; ++o) call.output[o] = arguments.samples();
  for (int d = 0; d < call.draws; ++d) {
    if (call.draw[d].present) call.draw[d] = arguments.samples();
  }
  arguments.finish();
  require_addresses(call);
  return call;
}

// The same into other memory: that of x_in where the rows have one, else, from the state x, that of
// the state.
FusedStep moved(const StepRows& rows, int64_t number, uintptr_t x, uintptr_t made,
                const py::list& tensors) {
  FusedStep call = filled(rows, number, tensors);
  const bool fed = call.x_in.present;
  require(call.elements == 0 || (made != 0 && (fed || x != 0)), "no memory");
  if (!fed) call.x.data = reinterpret_cast<void*>(x);
  (fed ? call.x_in : call.out).data = reinterpret_cast<void*>(made);
  return call;
}

// The row from x into made with one output, where all are alike and nothing else is brought; false,
// and the call is of no use, where somebody has to look closer. made: dense, of the state's shape,
// device and dtype.
bool followed(const StepRows& rows, int64_t number, const Tensors& tensors, py::handle x,
              py::handle output, py::handle made, FusedStep& call) {
  TensorView before, brought, after;
  if (!tensors.view(x, before) || !tensors.view(output, brought) || !tensors.view(made, after))
    return false;
  if (!are_alike(before, after) || !are_alike(brought, after)) return false;
  call = rows.row(number);
  if (call.outputs != 1 || call.draws != 0 || call.x_in.present) return false;
  call.output[0] = {brought.data, call.elements, call.x.dtype, true};
  call.x.data = before.data;
  call.out.data = after.data;
  require_addresses(call);
  return true;
}

bool are_regular(const StepRows& rows) {
  for (int64_t number = 0; number < rows.count(); ++number) {
    if (!is_regular(rows.row(number))) return false;
  }
  return true;
}

void define_rows(const py::module_& module) {
  py::class_<StepRows>(module, "StepRows", py::module_local())
      .def(py::init(&read_rows))
      .def("are_regular", &are_regular)
#ifdef GENIE_EXT_CUDA
      .def("run_cuda",
           [](const StepRows& rows, int64_t number, const py::list& tensors, int device,
              uintptr_t cuda_stream) {
             const FusedStep call = filled(rows, number, tensors);
             py::gil_scoped_release release;
             fused_step_cuda(call, device, reinterpret_cast<void*>(cuda_stream));
           })
      .def("move_cuda",
           [](const StepRows& rows, int64_t number, uintptr_t x, uintptr_t made,
              const py::list& tensors, int device, uintptr_t cuda_stream) {
             const FusedStep call = moved(rows, number, x, made, tensors);
             py::gil_scoped_release release;
             fused_step_cuda(call, device, reinterpret_cast<void*>(cuda_stream));
           })
      .def("follow_cuda",
           [](const StepRows& rows, int64_t number, const Tensors& tensors, py::handle x,
              py::handle output, py::handle made, int device, uintptr_t cuda_stream) {
             FusedStep call;
             if (!followed(rows, number, tensors, x, output, made, call)) return false;
             py::gil_scoped_release release;
             fused_step_cuda(call, device, reinterpret_cast<void*>(cuda_stream));
             return true;
           })
#endif
      .def("follow_cpu",
           [](const StepRows& rows, int64_t number, const Tensors& tensors, py::handle x,
              py::handle output, py::handle made, int threads) {
             FusedStep call;
             if (!followed(rows, number, tensors, x, output, made, call)) return false;
             py::gil_scoped_release release;
             fused_step_cpu(call, threads);
             return true;
           })
      .def("move_cpu",
           [](const StepRows& rows, int64_t number, uintptr_t x, uintptr_t made,
              const py::list& tensors, int threads) {
             const FusedStep call = moved(rows, number, x, made, tensors);
             py::gil_scoped_release release;
             fused_step_cpu(call, threads);
           })
      .def("run_cpu",
           [](const StepRows& rows, int64_t number, const py::list& tensors, int threads) {
             const FusedStep call = filled(rows, number, tensors);
             py::gil_scoped_release release;
             fused_step_cpu(call, threads);
           });
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
  auto step = define_call<FusedStep>(module, "FusedStep", &fused_step_cpu);
  auto fill = define_call<NormalFill>(module, "NormalFill", &normal_fill_cpu);
  auto loss = define_call<JvpDistillLoss>(module, "JvpDistillLoss", &jvp_distill_loss_cpu);
  define_call<SpectralFilter>(module, "SpectralFilter", &spectral_filter_cpu);
  auto squares = define_call<SumOfSquares>(module, "SumOfSquares", &sum_of_squares_cpu);
  step.def("is_regular", [](const FusedStep& call) { return is_regular(call); });
  py::class_<Tensors>(module, "Tensors", py::module_local()).def(py::init<const py::type&>());
  define_rows(module);
#ifdef GENIE_EXT_CUDA
  define_cuda<FusedStep>(step, &fused_step_cuda);
  define_cuda<NormalFill>(fill, &normal_fill_cuda);
  define_cuda<JvpDistillLoss>(loss, &jvp_distill_loss_cuda);
  define_cuda<SumOfSquares>(squares, &sum_of_squares_cuda);
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
