// exp, sigmoid and tanh of a vector, from one exponential.
//
// x = n ln2 + r with |r| <= ln2 / 2 (Cody & Waite 1980); expm1(r) = r + r^2 q(r), q interpolated at
// Chebyshev points (relative error of expm1: 2.5e-8 for float, 5e-19 for double). The error of
// either function is below 2 units in the last place in float (tests/contract/test_native.py), and
// tanh keeps its relative accuracy near 0. sigmoid reaches 0 and 1 exactly, tanh -1 and 1; NaN
// stays NaN. exp is at least 1e-38: never 0.

#pragma once

#include "simd.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

template <class R>
struct Exponential;

template <>
struct Exponential<float> {
    static constexpr float LOW = -87.0f, HIGH = 89.0f;  // 2^n is then normal, or infinite
    static constexpr float TANH_RANGE = 20.0f;          // of 2x: beyond, tanh rounds to 1
    static constexpr float LOG2E = 1.44269504088896341f;
    static constexpr float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440054690583e-4f;
    static constexpr float SHIFTER = 12582912.0f + 127.0f;  // 1.5 * 2^23: rounds to an integer
    static constexpr int MANTISSA = 23;
    static constexpr float Q[] = {0.5f, 0.16666576989698776f, 0.041666554617204574f,
                                  0.0083631790527225774f, 0.0013926183587713495f};
};

template <>
struct Exponential<double> {
    static constexpr double LOW = -708.0, HIGH = 709.9;
    static constexpr double TANH_RANGE = 80.0;
    static constexpr double LOG2E = 1.44269504088896341;
    static constexpr double LN2_HIGH = 0.6931471803691238, LN2_LOW = 1.9082149292705878161e-10;
    static constexpr double SHIFTER = 6755399441055744.0 + 1023.0;
    static constexpr int MANTISSA = 52;
    static constexpr double Q[] = {0.5,
                                   0.16666666666666670991,
                                   0.041666666666666669755,
                                   0.0083333333333261351258,
                                   0.0013888888888883748305,
                                   0.00019841269874820625271,
                                   0.000024801587325547741216,
                                   2.755725540020642443e-6,
                                   2.7557273643110295328e-7,
                                   2.5105217004720745164e-8,
                                   2.0914686968086877233e-9};
};

// exp(x) = scale * (1 + rest).
template <class R>
struct Parts {
    Vec<R> scale, rest;
};

template <class R>
INLINE Parts<R> split_exp(Vec<R> x) {
    using E = Exponential<R>;
    const Vec<R> shifted = fma(x, all(E::LOG2E), all(E::SHIFTER));
    const Vec<R> n = shifted - all(R(E::SHIFTER));
    Vec<R> r = fma(n, all(-E::LN2_HIGH), x);
    r = fma(n, all(-E::LN2_LOW), r);
    constexpr int degree = int(sizeof(E::Q) / sizeof(R)) - 1;
    Vec<R> q = all(E::Q[degree]);
    UNROLL for (int k = degree - 1; k >= 0; k--) q = fma(q, r, all(E::Q[k]));
    const Vec<R> scale = (Vec<R>)((typename Types<R>::I)shifted << E::MANTISSA);
    return {scale, fma(r * r, q, r)};
}

template <class R>
INLINE Vec<R> sigmoid(Vec<R> x) {
    using E = Exponential<R>;
    const Parts<R> e = split_exp<R>(bounded(-x, E::LOW, E::HIGH));
    return all(R(1)) / fma(e.scale, all(R(1)) + e.rest, all(R(1)));
}

template <class R>
INLINE Vec<R> exp(Vec<R> x) {
    using E = Exponential<R>;
    const Parts<R> e = split_exp<R>(bounded(x, E::LOW, E::HIGH));
    return fma(e.scale, e.rest, e.scale);
}

template <class R>
INLINE Vec<R> tanh(Vec<R> x) {
    using E = Exponential<R>;
    const Parts<R> e = split_exp<R>(bounded(x + x, -E::TANH_RANGE, E::TANH_RANGE));
    const Vec<R> minus_one = fma(e.scale, e.rest, e.scale - all(R(1)));  // exp(2x) - 1
    return minus_one / (minus_one + all(R(2)));
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
