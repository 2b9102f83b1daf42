// The vector alphabet of one instruction set. Compiled once for each, with its own LSTMKIT_ISA (a
// namespace) and LSTMKIT_VECTOR_BYTES; everything lives in an anonymous namespace, and no header
// with inline code is included: nothing compiled for a wide CPU can be linked into baseline code.
//
// Vectors are GCC's and Clang's vector extensions. A multiply-add is written as such (fma), and
// contraction is off, so a sum has the same bits wherever it is inlined.

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 32")

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

constexpr int BYTES = LSTMKIT_VECTOR_BYTES;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif

template <class R>
struct Types;
template <>
struct Types<float> {
    typedef float V __attribute__((vector_size(BYTES)));
    typedef float Loose __attribute__((vector_size(BYTES), aligned(4), may_alias));
    typedef int32_t I __attribute__((vector_size(BYTES)));
};
template <>
struct Types<double> {
    typedef double V __attribute__((vector_size(BYTES)));
    typedef double Loose __attribute__((vector_size(BYTES), aligned(8), may_alias));
    typedef int64_t I __attribute__((vector_size(BYTES)));
};

template <class R>
using Vec = typename Types<R>::V;
template <class R>
constexpr int W = BYTES / int(sizeof(R));  // lanes

template <class R>
INLINE Vec<R> load(const R* p) {
    return *reinterpret_cast<const typename Types<R>::Loose*>(p);
}

template <class R>
INLINE void store(R* p, Vec<R> v) {
    *reinterpret_cast<typename Types<R>::Loose*>(p) = v;
}

// The first n lanes; the others are 0.
template <class R>
INLINE Vec<R> load(const R* p, int64_t n) {
    if (n >= W<R>) return load(p);
    Vec<R> v = {};
    for (int64_t k = 0; k < n; k++) v[k] = p[k];
    return v;
}

template <class R>
INLINE void store(R* p, Vec<R> v, int64_t n) {
    if (n >= W<R>) return store(p, v);
    for (int64_t k = 0; k < n; k++) p[k] = v[k];
}

template <class R>
INLINE Vec<R> all(R x) {
    return x - Vec<R>{};  // x - 0 is x, whatever its sign: a broadcast
}

INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

// x within bounds; NaN stays. (x86: of two operands one of which is NaN, the second.)
INLINE Vec<float> bounded(Vec<float> x, float low, float high) {
#if defined(__AVX512F__)
    const __m512 above = _mm512_max_ps((__m512)all(low), (__m512)x);
    return (Vec<float>)_mm512_min_ps((__m512)all(high), above);
#elif defined(__AVX2__)
    const __m256 above = _mm256_max_ps((__m256)all(low), (__m256)x);
    return (Vec<float>)_mm256_min_ps((__m256)all(high), above);
#else
    x = all(low) > x ? all(low) : x;
    return all(high) < x ? all(high) : x;
#endif
}

INLINE Vec<double> bounded(Vec<double> x, double low, double high) {
    x = all(low) > x ? all(low) : x;  // comparisons with NaN are false
    return all(high) < x ? all(high) : x;
}

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
