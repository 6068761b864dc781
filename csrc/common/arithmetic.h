// Arithmetic with exactly one IEEE rounding per operation, the same bits on the CPU and in CUDA.
//
// CUDA: the intrinsics are never contracted to an fma. CPU: plain operators, compiled with
// -ffp-contract=off.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE inline __attribute__((always_inline))
#endif

// Sources that are compiled once per instruction set put everything in a namespace of its own: were
// an inline function shared between the objects, the linker might keep the AVX-512 copy for a
// machine that has no AVX-512.
#ifndef GENIE_ISA
#ifdef __CUDACC__
#define GENIE_ISA gpu
#else
#define GENIE_ISA baseline
#endif
#endif

namespace genie::inline GENIE_ISA {

#ifdef __CUDA_ARCH__

HOST_DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
HOST_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
HOST_DEVICE float sub(float a, float b) { return __fsub_rn(a, b); }
HOST_DEVICE double mul(double a, double b) { return __dmul_rn(a, b); }
HOST_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
HOST_DEVICE double sub(double a, double b) { return __dsub_rn(a, b); }
HOST_DEVICE float square_root(float a) { return __fsqrt_rn(a); }
HOST_DEVICE float to_float(int32_t a) { return __int2float_rn(a); }
HOST_DEVICE float to_float(double a) { return __double2float_rn(a); }
HOST_DEVICE int32_t as_int(float a) { return __float_as_int(a); }
HOST_DEVICE float as_float(int32_t a) { return __int_as_float(a); }
HOST_DEVICE uint32_t multiply_high(uint32_t a, uint32_t b) { return __umulhi(a, b); }

#else

HOST_DEVICE float mul(float a, float b) { return a * b; }
HOST_DEVICE float add(float a, float b) { return a + b; }
HOST_DEVICE float sub(float a, float b) { return a - b; }
HOST_DEVICE double mul(double a, double b) { return a * b; }
HOST_DEVICE double add(double a, double b) { return a + b; }
HOST_DEVICE double sub(double a, double b) { return a - b; }
HOST_DEVICE float square_root(float a) { return __builtin_sqrtf(a); }
HOST_DEVICE float to_float(int32_t a) { return static_cast<float>(a); }
HOST_DEVICE float to_float(double a) { return static_cast<float>(a); }
HOST_DEVICE int32_t as_int(float a) { return __builtin_bit_cast(int32_t, a); }
HOST_DEVICE float as_float(int32_t a) { return __builtin_bit_cast(float, a); }
HOST_DEVICE uint32_t multiply_high(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

#endif

HOST_DEVICE float as_float(uint32_t a) { return as_float(static_cast<int32_t>(a)); }

}  // namespace genie::inline GENIE_ISA
