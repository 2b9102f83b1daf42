// From PyTorch's layouts to those of gemm.h. What lies beyond a width is 0.

#pragma once

#include "gemm.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

// A panel of the transpose: column c of the panel is row c of `rows` (null: 0), k runs along it.
template <class R>
void pack_transposed(R* panel, const R* const* rows, int64_t width) {
    constexpr int L = W<R>;
    const int64_t padded = blocks(width, L) * L;
    for (int64_t k0 = 0; k0 < padded; k0 += L) {
        R square[PANEL<R>][L];
        const int64_t n = least(L, width - k0);
        for (int c = 0; c < PANEL<R>; c++)
            store(square[c], rows[c] ? load(rows[c] + k0, n) : Vec<R>{});
        for (int k = 0; k < L; k++) {
            R* to = panel + (k0 + k) * PANEL<R>;
            for (int c = 0; c < PANEL<R>; c++) to[c] = square[c][k];
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
