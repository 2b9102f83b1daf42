"""Functions of vectors and matrices as C text: what BLAS would give elsewhere.

Texts are written for a model called `name`.
"""

from __future__ import annotations

RESTRICT = """#if defined(__GNUC__) || defined(_MSC_VER)
#define NAME_RESTRICT __restrict /* what is written through it is read through it alone */
#else
#define NAME_RESTRICT
#endif
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
    for (int half = 4; half > 0; half /= 2) {
        for (int r = 0; r < half; r++) {
            part[r] += part[r + half];
        }
    }
    return part[0];
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
    for (; k + 8 <= cols; k += 8, x += 8, w += 8 * rows) {
        const float *NAME_RESTRICT v = w + 4 * rows;
        for (int r = 0; r < rows; r++) {
            z[r] += (x[0] * w[r] + x[1] * w[r + rows] + x[2] * w[r + 2 * rows] +
                     x[3] * w[r + 3 * rows]) +
                    (x[4] * v[r] + x[5] * v[r + rows] + x[6] * v[r + 2 * rows] +
                     x[7] * v[r + 3 * rows]);
        }
    }
    for (; k < cols; k++, x++, w += rows) {
        for (int r = 0; r < rows; r++) {
            z[r] += x[0] * w[r];
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
    for (; k + 4 <= cols; k += 4, x += 4, w += 4 * rows) {
        for (int r = 0; r < rows; r++) {
            z[r] += (x[0] * name_wide(w[r]) + x[1] * name_wide(w[r + rows])) +
                    (x[2] * name_wide(w[r + 2 * rows]) + x[3] * name_wide(w[r + 3 * rows]));
        }
    }
    for (; k < cols; k++, x++, w += rows) {
        for (int r = 0; r < rows; r++) {
            z[r] += x[0] * name_wide(w[r]);
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
ALGEBRA: dict[str, tuple[tuple[str, ...], str]] = {
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
