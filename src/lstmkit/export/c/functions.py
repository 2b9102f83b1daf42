"""Functions of one or two numbers as C text: what libm would give elsewhere.

x = n ln2 + r with |r| <= ln2 / 2 (Cody & Waite 1980), exp(r) = 1 + r + r^2 q(r) with the q of
native/activations.h. Exponentials are branch-free, so that a compiler makes vectors of the loops
around them without -ffast-math. Texts are written for a model called `name`.
"""

from __future__ import annotations

_BITS = """
static inline uint32_t name_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
"""

_NUMBER = """
static inline float name_number(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
"""

_LIMIT = """
/* x within low .. high; NaN stays NaN. Masks, where ?: would become a branch. */
static inline float name_limit(float x, float low, float high) {
    const uint32_t below = 0u - (uint32_t)(x < low), above = 0u - (uint32_t)(x > high);
    const uint32_t bits = name_bits(x) & ~(below | above);
    return name_number(bits | (name_bits(low) & below) | (name_bits(high) & above));
}
"""

_SPLIT = """
/* exp(x) = 2^n (1 + rest): gives rest, and n by pointer. */
static inline float name_split(float x, int32_t *n) {
    const float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    const int32_t whole = (int32_t)(name_bits(shifted) - 0x4b400000u);
    const float r = (x - (float)whole * 0.693359375f) + (float)whole * 2.12194440e-4f;
    float q = 1.39261836e-3f;
    q = q * r + 8.36317905e-3f;
    q = q * r + 4.16665546e-2f;
    q = q * r + 1.66665770e-1f;
    q = q * r + 0.5f;
    *n = whole;
    return r * r * q + r;
}
"""

_TWO_TO = """
/* 2^n for -127 < n < 128; 2^-127 is 0, 2^128 infinite. */
static inline float name_two_to(int32_t n) {
    return name_number(((uint32_t)n + 127u) << 23);
}
"""

_EXP = """
static inline float name_exp(float x) {
    int32_t n;
    const float rest = name_split(name_limit(x, -104.0f, 89.0f), &n);
    const int32_t half = n / 2; /* in two parts: results down to the smallest, up to infinity */
    return (1.0f + rest) * name_two_to(half) * name_two_to(n - half);
}
"""

_SIGMOID = """
static inline float name_sigmoid(float x) {
    int32_t n;
    const float rest = name_split(name_limit(-x, -87.0f, 89.0f), &n);
    return 1.0f / (1.0f + (1.0f + rest) * name_two_to(n));
}
"""

_TANH = """
static inline float name_tanh(float x) {
    int32_t n;
    const float rest = name_split(name_limit(x + x, -20.0f, 20.0f), &n);
    const float scale = name_two_to(n);
    const float minus_one = scale * rest + (scale - 1.0f); /* exp(2x) - 1 */
    return minus_one / (minus_one + 2.0f);
}
"""

_SOFTPLUS = """
/* max(x, 0) + log1p(u), u = exp(-|x|); log1p(u) = 2 artanh(s), s = u / (2 + u) <= 1/3. */
static inline float name_softplus(float x) {
    const float u = name_exp(x < 0.0f ? x : -x);
    const float s = u / (2.0f + u), t = s * s;
    float q = 1.0f / 15.0f;
    q = q * t + 1.0f / 13.0f;
    q = q * t + 1.0f / 11.0f;
    q = q * t + 1.0f / 9.0f;
    q = q * t + 1.0f / 7.0f;
    q = q * t + 1.0f / 5.0f;
    q = q * t + 1.0f / 3.0f;
    return (x > 0.0f ? x : 0.0f) + 2.0f * (s + s * t * q);
}
"""

_LOG = """
/* Of x >= 1: n ln2 + log(m), m between the roots of 1/2 and 2; log(m) = 2 artanh(s). */
static inline float name_log(float x) {
    const int32_t n = (int32_t)((name_bits(x) - 0x3f3504f3u) >> 23);
    const float m = name_number(name_bits(x) - ((uint32_t)n << 23));
    const float s = (m - 1.0f) / (m + 1.0f), t = s * s;
    float q = 1.0f / 9.0f;
    q = q * t + 1.0f / 7.0f;
    q = q * t + 1.0f / 5.0f;
    q = q * t + 1.0f / 3.0f;
    if (!(x <= 3.402823466e38f)) {
        return x;
    }
    return (float)n * 0.693359375f + (2.0f * (s + s * t * q) - (float)n * 2.12194440e-4f);
}
"""

_SQRT = """
/* A first guess of 1/sqrt from the exponent, two steps of Newton for it, one of Heron. */
static inline float name_sqrt(float x) {
    const float a = x < 1e-30f ? x * 18446744073709551616.0f : x; /* 2^64: above the denormal */
    float y = name_number(0x5f375a86u - (name_bits(a) >> 1));
    if (!(x > 0.0f) || x > 3.402823466e38f) {
        return x < 0.0f ? name_number(0x7fc00000u) : x;
    }
    y = y * (1.5f - 0.5f * a * y * y);
    y = y * (1.5f - 0.5f * a * y * y);
    y = a * y;
    y = 0.5f * (y + a / y);
    return x < 1e-30f ? y * 2.328306437e-10f : y; /* 2^-32 */
}
"""

_MAXIMUM = """
static inline float name_maximum(float x, float y) {
    return x > y || x != x ? x : y;
}
"""

_MINIMUM = """
static inline float name_minimum(float x, float y) {
    return x < y || x != x ? x : y;
}
"""

# name -> what it needs, and its text; in the order in which they are written.
FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": ((), _BITS),
    "number": ((), _NUMBER),
    "limit": (("bits", "number"), _LIMIT),
    "split": (("bits",), _SPLIT),
    "two_to": (("number",), _TWO_TO),
    "exp": (("limit", "split", "two_to"), _EXP),
    "sigmoid": (("limit", "split", "two_to"), _SIGMOID),
    "tanh": (("limit", "split", "two_to"), _TANH),
    "softplus": (("exp",), _SOFTPLUS),
    "log": (("bits", "number"), _LOG),
    "sqrt": (("bits", "number"), _SQRT),
    "maximum": ((), _MAXIMUM),
    "minimum": ((), _MINIMUM),
}
