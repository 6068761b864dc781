// Tensors of torch as it describes them itself, in one call: the C exchange interface of DLPack 1
// (dmlc.github.io/dlpack), which torch.Tensor publishes. Of its structures those that are read
// here.
#pragma once

#include <pybind11/pybind11.h>

#include "common/tensor.h"

namespace genie {

// DLTensor, which the tensor owns.
struct TensorView {
  void* data;
  int32_t device_type, device_id;
  int32_t ndim;
  uint8_t dtype_code, dtype_bits;
  uint16_t dtype_lanes;
  const int64_t* shape;
  const int64_t* strides;
  uint64_t byte_offset;
};

// Whether both are dense tensors of one shape, device and float dtype, on addresses that suit all.
bool are_alike(const TensorView& a, const TensorView& b);

class Tensors {
 public:
  // type: torch.Tensor. Raises where it has no such interface, or one of another major version.
  explicit Tensors(const pybind11::type& type);

  // False for an object of another type, such as a subclass, and for a tensor without memory.
  bool view(pybind11::handle tensor, TensorView& view) const;

 private:
  PyTypeObject* type_;
  int (*describe_)(void* py_object, TensorView* view);
};

}  // namespace genie
