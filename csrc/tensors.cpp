#include "tensors.h"

#include <stdexcept>

namespace genie {
namespace {

namespace py = pybind11;

// DLPackExchangeAPI; the functions that are not called here are left without their arguments.
struct Exchange {
  uint32_t major, minor;
  const Exchange* previous;
  void (*allocate)();
  void (*export_managed)();
  void (*import_managed)();
  int (*describe)(void* py_object, TensorView* view);
  void (*current_stream)();
};

constexpr uint32_t kMajor = 1;
constexpr uint8_t kFloat = 2, kBFloat = 4;
constexpr uintptr_t kAligned = 7;  // the bits that an address of every dtype lacks

bool is_float(const TensorView& tensor) {
  const int bits = tensor.dtype_bits;
  if (tensor.dtype_lanes != 1) return false;
  return tensor.dtype_code == kFloat ? bits == 16 || bits == 32 || bits == 64
                                     : tensor.dtype_code == kBFloat && bits == 16;
}

bool is_dense(const TensorView& tensor) {
  int64_t expected = 1;
  for (int axis = tensor.ndim - 1; axis >= 0; --axis) {
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected) return false;
    expected *= tensor.shape[axis];
  }
  return true;
}

bool is_placed(const TensorView& tensor) {
  return tensor.data != nullptr && tensor.byte_offset == 0 &&
         (reinterpret_cast<uintptr_t>(tensor.data) & kAligned) == 0;
}

}  // namespace

bool are_alike(const TensorView& a, const TensorView& b) {
  if (a.dtype_code != b.dtype_code || a.dtype_bits != b.dtype_bits || !is_float(a) || !is_float(b))
    return false;
  if (a.device_type != b.device_type || a.device_id != b.device_id || a.ndim != b.ndim)
    return false;
  for (int axis = 0; axis < a.ndim; ++axis)
    if (a.shape[axis] != b.shape[axis]) return false;
  return is_placed(a) && is_placed(b) && is_dense(a) && is_dense(b);
}

Tensors::Tensors(const py::type& type) : type_(reinterpret_cast<PyTypeObject*>(type.ptr())) {
  const py::object capsule = py::getattr(type, "__dlpack_c_exchange_api__");
  auto* exchange =
      static_cast<const Exchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (exchange == nullptr) throw py::error_already_set();
  while (exchange != nullptr && exchange->major != kMajor) exchange = exchange->previous;
  if (exchange == nullptr || exchange->describe == nullptr)
    throw std::invalid_argument("type: no exchange interface of DLPack 1");
  describe_ = exchange->describe;
}

bool Tensors::view(py::handle tensor, TensorView& view) const {
  if (Py_TYPE(tensor.ptr()) != type_) return false;
  if (describe_(tensor.ptr(), &view) == 0) return true;
  PyErr_Clear();  // whoever looks closer says what is wrong
  return false;
}

}  // namespace genie
