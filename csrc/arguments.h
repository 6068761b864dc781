// How a call crosses from Python: a flat list of integers, in the order in which genie_ext/ops
// flattens it.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "common/tensor.h"

namespace genie {

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("arguments: ") + what);
}

// Reads the list from front to back.
class Arguments {
 public:
  explicit Arguments(const pybind11::list& values) : values_(values.ptr()) {}

  bool at_end() const { return next_ == PyList_GET_SIZE(values_); }
  int64_t integer() {
    require(!at_end(), "too few integers for this call");
    const int64_t value = PyLong_AsLongLong(PyList_GET_ITEM(values_, next_++));
    if (value == -1 && PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
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
    constexpr int64_t kAbsent = -1;  // in place of the dtype
    Samples result;
    result.data = address();
    result.stride = integer();
    const int64_t dtype = integer();
    if (dtype == kAbsent) return {};
    require(dtype >= 0 && dtype <= static_cast<int64_t>(DType::bf16), "unknown dtype");
    result.dtype = static_cast<DType>(dtype);
    result.present = true;
    return result;
  }
  Noise noise() {
    Noise result;
    result.seed = static_cast<const int64_t*>(address());
    result.sample_ids = static_cast<const int64_t*>(address());
    result.stream = static_cast<uint32_t>(integer());
    return result;
  }
  void finish() const { require(at_end(), "too many integers for this call"); }

 private:
  PyObject* values_;
  Py_ssize_t next_ = 0;
};

}  // namespace genie
