// A thread's four consecutive elements in memory: 128-bit instructions (two for double, one of 64
// bits for the 16-bit types) where the addresses allow it, else scalar ones.
#pragma once

#include <cstring>
#include <type_traits>

#include "common/address.h"
#include "common/dtype.h"
#include "common/launch.cuh"

namespace genie::inline GENIE_ISA {

template <class T>
struct Quad {
  T v[kQuad];
};

// vector: every quad of every tensor of the call is whole and aligned. scalar: anything else.
enum class Access { vector, scalar };

// One sample of a tensor; aligned so that one instruction reads it from shared memory.
struct alignas(16) SampleView {
  char* data;  // nullptr: absent
  int log2_size;
  DType dtype;
};

HOST_DEVICE SampleView sample_of(const Samples& samples, int64_t sample) {
  void* data = samples.present ? address_of(samples, sample) : nullptr;
  return {static_cast<char*>(data), log2_size(samples.dtype), samples.dtype};
}

// Whether Access::vector can take these samples under the compute type T; an absent tensor agrees
// with anything. A double output under a float state is not worth its registers: it is wider than
// the Raw below.
template <class T>
bool is_vectorizable(const Samples& samples, int64_t batch) {
  if (!samples.present) return true;
  const int64_t size = int64_t{1} << log2_size(samples.dtype);
  const int64_t vector = std::min<int64_t>(kQuad * size, 16);
  const bool aligned = reinterpret_cast<uintptr_t>(samples.data) % vector == 0;
  return size <= int64_t{sizeof(T)} && aligned &&
         (batch == 1 || samples.stride * size % vector == 0);
}

// body(Element{}) for the element type that dtype names; the same branch for the whole grid.
template <class Body>
__device__ __forceinline__ auto with_element(DType dtype, Body body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::bf16) return body(BFloat16{});
  if (dtype == DType::f16) return body(Half{});
  return body(double{});
}

// The memory of a quad before it is converted to T: several can be in flight before the first is
// waited for.
template <class T>
struct Raw {
  uint4 part[sizeof(T) / 4];
};

template <class T>
inline constexpr DType kDTypeOf = sizeof(T) == 8 ? DType::f64 : DType::f32;

// Inputs are read once per step: evict first. Not through the read-only path (__ldg): an input may
// be the output. Two predicated loads instead of a branch, which would end in copies and so in a
// wait for this load before the next.
template <class T>
__device__ __forceinline__ Raw<T> fetch_vector(const SampleView& from, int64_t element) {
  Raw<T> raw = {};
  const char* address = from.data + (element << from.log2_size);
  const bool half = from.log2_size == 1;
  if (!half) raw.part[0] = __ldcs(reinterpret_cast<const uint4*>(address));
  if (half) {
    const uint2 low = __ldcs(reinterpret_cast<const uint2*>(address));
    raw.part[0].x = low.x;
    raw.part[0].y = low.y;
  }
  if constexpr (sizeof(T) == 8) {
    if (from.log2_size == 3) raw.part[1] = __ldcs(reinterpret_cast<const uint4*>(address) + 1);
  }
  return raw;
}

template <class T>
__device__ __forceinline__ Quad<T> decode_vector(const Raw<T>& raw, DType dtype) {
  return with_element(dtype, [&](auto element) {
    using Element = decltype(element);
    Quad<T> value = {};
    if constexpr (sizeof(Element) <= sizeof(T)) {  // is_vectorizable refuses what is wider
      Quad<Element> stored;
      memcpy(&stored, raw.part, sizeof(stored));
#pragma unroll
      for (int i = 0; i < kQuad; ++i) value.v[i] = to<T>(stored.v[i]);
    }
    return value;
  });
}

// Converted at once: the scalar path is for correctness, not for speed.
template <class T>
__device__ __forceinline__ Raw<T> fetch_scalar(const SampleView& from, int64_t element,
                                               int64_t elements) {
  return with_element(from.dtype, [&](auto tag) {
    const auto* address = reinterpret_cast<const decltype(tag)*>(from.data) + element;
    Quad<T> value = {};
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      if (element + i < elements) value.v[i] = to<T>(address[i]);
    }
    Raw<T> raw;
    memcpy(&raw, &value, sizeof(raw));
    return raw;
  });
}

template <class T, Access kAccess>
__device__ __forceinline__ Raw<T> fetch(const SampleView& from, int64_t element, int64_t elements) {
  if constexpr (kAccess == Access::vector) {
    return fetch_vector<T>(from, element);
  } else {
    return fetch_scalar<T>(from, element, elements);
  }
}

// Widened to the compute type T (or rounded to it: a double output under a float state).
template <class T, Access kAccess>
__device__ __forceinline__ Quad<T> decode(const Raw<T>& raw, DType dtype) {
  return decode_vector(raw, kAccess == Access::vector ? dtype : kDTypeOf<T>);
}

// keep: read again soon, the normal cache policy. evict_first: not read again before something as
// large as a network evaluation has passed through the L2 cache, so it should not displace what is.
enum class Cache { keep, evict_first };

template <Cache kCache, class Element>
__device__ __forceinline__ void store_vector(Element* to, const Quad<Element>& quad) {
  using Vector = std::conditional_t<sizeof(Element) == 2, uint2, uint4>;
  constexpr int kParts = sizeof(quad) / sizeof(Vector);
  Vector part[kParts];
  memcpy(part, &quad, sizeof(quad));
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    Vector* address = reinterpret_cast<Vector*>(to) + i;
    if constexpr (kCache == Cache::evict_first) {
      __stcs(address, part[i]);
    } else {
      *address = part[i];
    }
  }
}

// Rounded once to the storage type; whether everything that was stored is finite.
template <Access kAccess, Cache kCache, class T>
__device__ __forceinline__ bool store(const SampleView& into, int64_t element, int64_t elements,
                                      const Quad<T>& value) {
  return with_element(into.dtype, [&](auto tag) {
    using Element = decltype(tag);
    Element* address = reinterpret_cast<Element*>(into.data) + element;
    Quad<Element> stored;
    bool finite = true;
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      stored.v[i] = to<Element>(value.v[i]);
      const bool exists = kAccess == Access::vector || element + i < elements;
      finite = finite && (!exists || is_finite(stored.v[i]));
      if (kAccess == Access::scalar && exists) address[i] = stored.v[i];
    }
    if constexpr (kAccess == Access::vector) store_vector<kCache>(address, stored);
    return finite;
  });
}

}  // namespace genie::inline GENIE_ISA
