// From PyTorch's layouts to those of gemm.h. What lies beyond a width is 0.

#pragma once

#include "gemm.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

// The upper or lower halves of two vectors, lane by lane in turn.
template <class R>
INLINE Vec<R> interleave(Vec<R> a, Vec<R> b, bool upper) {
    if constexpr (W<R> == 2)
        return upper ? __builtin_shufflevector(a, b, 1, 3) : __builtin_shufflevector(a, b, 0, 2);
    else if constexpr (W<R> == 4)
        return upper ? __builtin_shufflevector(a, b, 2, 6, 3, 7)
                     : __builtin_shufflevector(a, b, 0, 4, 1, 5);
    else if constexpr (W<R> == 8)
        return upper ? __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
                     : __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    else
        return upper ? __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                               14, 30, 15, 31)
                     : __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                               22, 7, 23);
}

// W vectors as a matrix, transposed: log2(W) perfect shuffles.
template <class R>
INLINE void transpose(Vec<R>* square) {
    constexpr int L = W<R>;
    UNROLL for (int size = 1; size < L; size *= 2) {
        Vec<R> next[L];
        UNROLL for (int k = 0; k < L / 2; k++) {
            next[2 * k] = interleave<R>(square[k], square[k + L / 2], false);
            next[2 * k + 1] = interleave<R>(square[k], square[k + L / 2], true);
        }
        UNROLL for (int k = 0; k < L; k++) square[k] = next[k];
    }
}

// A panel of the transpose: column c of the panel is row c of `rows` (null: 0), k runs along it.
template <class R>
void pack_transposed(R* panel, const R* const* rows, int64_t width) {
    constexpr int L = W<R>;
    const int64_t padded = blocks(width, L) * L;
    for (int64_t k0 = 0; k0 < padded; k0 += L) {
        const int64_t n = width - k0;
        for (int v = 0; v < NV; v++) {
            Vec<R> square[L];
            UNROLL for (int c = 0; c < L; c++) {
                const R* row = rows[v * L + c];
                square[c] = row ? load(row + k0, n) : Vec<R>{};
            }
            transpose<R>(square);
            UNROLL for (int k = 0; k < L; k++)
                store(panel + (k0 + k) * PANEL<R> + v * L, square[k]);
        }
    }
}

// Panel `n` of weights (4H, width) as multiplied from the left by a row of states: the gates of one
// block of units come together, NV of them in a panel.
template <class R>
void pack_gates(R* panel, const R* weights, int64_t H, int64_t width, int64_t n) {
    constexpr int per_block = 4 / NV;
    const R* rows[PANEL<R>];
    for (int c = 0; c < PANEL<R>; c++) {
        const int64_t gate = n % per_block * NV + c / W<R>;
        const int64_t unit = n / per_block * W<R> + c % W<R>;
        rows[c] = unit < H ? weights + (gate * H + unit) * width : nullptr;
    }
    pack_transposed(panel, rows, width);
}

// Panel `n` of weights (height, width), their rows being the columns of the product.
template <class R>
void pack_rows(R* panel, const R* weights, int64_t height, int64_t width, int64_t n) {
    const R* rows[PANEL<R>];
    for (int c = 0; c < PANEL<R>; c++) {
        const int64_t row = n * PANEL<R> + c;
        rows[c] = row < height ? weights + row * width : nullptr;
    }
    pack_transposed(panel, rows, width);
}

// Panel `n` of weights (groups * height, width) as they are: k runs over the rows, each group's
// padded to whole blocks.
template <class R>
void pack_columns(R* panel, const R* weights, int64_t groups, int64_t height, int64_t width,
                  int64_t n) {
    const int64_t padded = blocks(height, W<R>) * W<R>, first = n * PANEL<R>;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t k = 0; k < padded; k++, panel += PANEL<R>)
            UNROLL for (int v = 0; v < NV; v++) {
                const int64_t at = first + v * W<R>, left = width - at;
                const R* from = weights + (g * height + k) * width + at;
                store(panel + v * W<R>, k < height && left > 0 ? load(from, left) : Vec<R>{});
            }
}

// One row into blocked rows; a null row is 0.
template <class R>
INLINE void put_row(R* to, int64_t step, const R* row, int64_t width) {
    for (int64_t k = 0; k < width; k += W<R>, to += step)
        store(to, row ? load(row + k, width - k) : Vec<R>{});
}

template <class R>
INLINE void get_row(R* row, const R* from, int64_t step, int64_t width) {
    for (int64_t k = 0; k < width; k += W<R>, from += step) store(row + k, load(from), width - k);
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
