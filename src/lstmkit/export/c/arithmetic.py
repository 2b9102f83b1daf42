"""The arithmetic of the generated header as C text: what libm or BLAS would give elsewhere.

x = n ln2 + r with |r| <= ln2 / 2 (Cody & Waite 1980), exp(r) = 1 + r + r^2 q(r) with the q of
native/activations.h. Exponentials are branch-free, so that a compiler makes vectors of the loops
around them without -ffast-math.

Texts are written for a model called `name`; `helpers` puts its real name there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

RESTRICT = """#if defined(__GNUC__) || defined(_MSC_VER)
#define NAME_RESTRICT __restrict /* what is written through it is read through it alone */
#else
#define NAME_RESTRICT
#endif
"""

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

_SUM = """
/* x[0] + x[stride] + ... of n numbers, in eight partial sums. */
static inline float name_sum(const float *x, int n, int stride) {
    float part[8] = {0.0f};
    int k = 0;
    for (; k + 8 <= n; k += 8) {
        for (int r = 0; r < 8; r++) {
            part[r] += x[(k + r) * stride];
        }
    }
    for (; k < n; k++) {
        part[0] += x[k * stride];
    }
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}
"""

_NORMALISE = """
/* x with mean 0 and variance 1, in place; square is working memory of n numbers. */
static inline void name_normalise(float *x, float *square, int n, float eps) {
    const float mean = name_sum(x, n, 1) / (float)n;
    float deviation;
    for (int r = 0; r < n; r++) {
        x[r] -= mean;
        square[r] = x[r] * x[r];
    }
    deviation = name_sqrt(name_sum(square, n, 1) / (float)n + eps);
    for (int r = 0; r < n; r++) {
        x[r] /= deviation;
    }
}
"""

_SORT = """
/* Ascending, NaN last, in place (Shell 1959, gaps of Ciura 2001). */
static inline void name_sort(float *x, int n, int stride) {
    static const int gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (int g = 0; g < 9; g++) {
        for (int i = gaps[g]; i < n; i++) {
            const float moved = x[i * stride];
            int k = i;
            while (k >= gaps[g]) {
                const float before = x[(k - gaps[g]) * stride];
                if (!(before > moved || (before != before && moved == moved))) {
                    break;
                }
                x[k * stride] = before;
                k -= gaps[g];
            }
            x[k * stride] = moved;
        }
    }
}
"""

_PRODUCT = """
/* z (rows) += W x; w is W transposed, (cols, rows). Eight columns at once: z stays near. */
static inline void name_product(
    float *NAME_RESTRICT z, const float *NAME_RESTRICT w, const float *NAME_RESTRICT x, int rows,
    int cols) {
    int k = 0;
    for (; k + 8 <= cols; k += 8) {
        const float *NAME_RESTRICT a = w + k * rows;
        const float *NAME_RESTRICT b = a + 4 * rows;
        const float *NAME_RESTRICT v = x + k;
        for (int r = 0; r < rows; r++) {
            z[r] += (v[0] * a[r] + v[1] * a[r + rows] + v[2] * a[r + 2 * rows] +
                     v[3] * a[r + 3 * rows]) +
                    (v[4] * b[r] + v[5] * b[r + rows] + v[6] * b[r + 2 * rows] +
                     v[7] * b[r + 3 * rows]);
        }
    }
    for (; k < cols; k++) {
        for (int r = 0; r < rows; r++) {
            z[r] += x[k] * w[k * rows + r];
        }
    }
}
"""

_WIDE = """
/* A bfloat16 number: the upper half of a float. */
static inline float name_wide(uint16_t word) {
    return name_number((uint32_t)word << 16);
}
"""

_PRODUCT_BFLOAT16 = """
/* z (rows) += W x; w is W transposed, (cols, rows), in bfloat16. */
static inline void name_product_bfloat16(
    float *NAME_RESTRICT z, const uint16_t *NAME_RESTRICT w, const float *NAME_RESTRICT x, int rows,
    int cols) {
    int k = 0;
    for (; k + 4 <= cols; k += 4) {
        const uint16_t *NAME_RESTRICT a = w + k * rows;
        const float *NAME_RESTRICT v = x + k;
        for (int r = 0; r < rows; r++) {
            z[r] += (v[0] * name_wide(a[r]) + v[1] * name_wide(a[r + rows])) +
                    (v[2] * name_wide(a[r + 2 * rows]) + v[3] * name_wide(a[r + 3 * rows]));
        }
    }
    for (; k < cols; k++) {
        for (int r = 0; r < rows; r++) {
            z[r] += x[k] * name_wide(w[k * rows + r]);
        }
    }
}
"""

_PRODUCT_ROWS = """
/* z (rows) += W x; w is W as it is, (rows, cols). */
static inline void name_product_rows(
    float *NAME_RESTRICT z, const float *NAME_RESTRICT w, const float *NAME_RESTRICT x, int rows,
    int cols) {
    for (int r = 0; r < rows; r++) {
        float part[8] = {0.0f};
        int k = 0;
        for (; k + 8 <= cols; k += 8) {
            for (int i = 0; i < 8; i++) {
                part[i] += w[r * cols + k + i] * x[k + i];
            }
        }
        for (; k < cols; k++) {
            part[0] += w[r * cols + k] * x[k];
        }
        z[r] += name_sum(part, 8, 1);
    }
}
"""

_QUANTISE = """
/* x (cols) as whole numbers -127 .. 127 and their scale, NaN where x is not finite. */
static inline float name_quantise(const float *x, int8_t *q, int cols) {
    float largest = 0.0f, poison = 0.0f, inverse;
    for (int k = 0; k < cols; k++) {
        const float size = x[k] < 0.0f ? -x[k] : x[k];
        largest = size > largest ? size : largest;
        poison += x[k] - x[k]; /* 0, or NaN for good */
    }
    inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (int k = 0; k < cols; k++) {
        const float scaled = x[k] * inverse;
        const float sure = scaled > -128.0f && scaled < 128.0f ? scaled : 0.0f;
        q[k] = (int8_t)(int32_t)(name_bits(sure + 12582912.0f) - 0x4b400000u);
    }
    return largest / 127.0f + poison;
}
"""

_PRODUCT_INT8 = """
/* z (rows) += W x; row r of W is scale[r] * w[r], (rows, cols); x is rounded to int8 in q. */
static inline void name_product_int8(
    float *NAME_RESTRICT z, const int8_t *NAME_RESTRICT w, const float *NAME_RESTRICT scale,
    const float *NAME_RESTRICT x, int8_t *NAME_RESTRICT q, int rows, int cols) {
    const float step = name_quantise(x, q, cols);
    for (int r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (int k = 0; k < cols; k++) {
            sum += (int32_t)w[r * cols + k] * (int32_t)q[k];
        }
        z[r] += (float)sum * (step * scale[r]);
    }
}
"""

# name -> what it needs, and its text; in the order in which they are written.
HELPERS: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": ((), _BITS),
    "number": ((), _NUMBER),
    "limit": (("bits", "number"), _LIMIT),
    "split": (("bits",), _SPLIT),
    "two_to": (("number",), _TWO_TO),
    "exp": (("limit", "split", "two_to"), _EXP),
    "sigmoid": (("limit", "split", "two_to"), _SIGMOID),
    "tanh": (("limit", "split", "two_to"), _TANH),
    "softplus": (("exp",), _SOFTPLUS),
    "sqrt": (("bits", "number"), _SQRT),
    "maximum": ((), _MAXIMUM),
    "minimum": ((), _MINIMUM),
    "sum": ((), _SUM),
    "normalise": (("sum", "sqrt"), _NORMALISE),
    "sort": ((), _SORT),
    "product": ((), _PRODUCT),
    "wide": (("number",), _WIDE),
    "product_bfloat16": (("wide",), _PRODUCT_BFLOAT16),
    "product_rows": (("sum",), _PRODUCT_ROWS),
    "quantise": (("bits",), _QUANTISE),
    "product_int8": (("quantise",), _PRODUCT_INT8),
}


def helpers(wanted: Iterable[str], name: str) -> str:
    """The C text of the helpers `wanted` and of all that they need, for a model called `name`."""
    found = _closed(wanted)
    text = "".join(body for helper, (_, body) in HELPERS.items() if helper in found)
    return renamed(text, name)


def renamed(text: str, name: str) -> str:
    """C text written for `name`, for a model of another name."""
    text = re.sub(r"\bname_", f"{name}_", text)
    return re.sub(r"\bNAME_", f"{name.upper()}_", text)


def _closed(wanted: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        helper = waiting.pop()
        found.add(helper)
        waiting += HELPERS[helper][0]
    return found
