// The two products that an LSTM is made of, and the layouts that they want. See docs/kernels.md.
//
// Blocked rows ("A"): W columns side by side, then rows, then blocks of columns:
//     a[(k / W) * step + row * W + k % W],   step = capacity * W.
// A tile's rows are then at fixed distances from one pointer, whatever k is.
// Panels ("B"): PANEL columns side by side, then k: b[panel * b_panel + k * PANEL + column].
// Results ("C"): PANEL columns side by side, then rows: c[panel * c_panel + row * PANEL + column].
//
// Every result is one chain of multiply-adds in the order of k, whatever the tile it falls into:
// its bits depend neither on how many rows there are nor on which thread computes it.

#pragma once

#include "simd.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

constexpr int NV = REGISTERS == 32 ? 4 : 2;  // vectors of a panel
constexpr int MR = 6;                        // rows of a tile: MR * NV accumulators
template <class R>
constexpr int PANEL = NV * W<R>;
// Columns of A at a time: a piece of a panel (16 KiB, or 32 where the L1 cache has 48) stays there.
constexpr int64_t KC = BYTES == 64 ? 128 : 256;
constexpr int64_t A_BYTES = 192 << 10;  // of A, in the L2 cache

template <class R>
constexpr int LINES = PANEL<R> * int(sizeof(R)) / 64;  // cache lines of a panel's row

template <class R>
struct Product {
    const R* a;
    int64_t a_step;
    const R* b;
    int64_t b_panel;
    R* c;
    int64_t c_panel;
    const R* from;  // where C starts: C itself, a bias (from_row 0), or null: 0
    int64_t from_panel, from_row;
    int64_t k_blocks;
};

// ROWS rows and NP panels, all in registers. Meanwhile what is `ahead` of b is fetched into the L2
// cache: the weights of a wide layer come from further away at every step.
template <class R, int ROWS, int NP>
NOINLINE void tile(const R* a, int64_t a_step, const R* b, int64_t b_panel, int64_t ahead,
                   int64_t k_blocks, R* c, int64_t c_panel, const R* from, int64_t from_panel,
                   int64_t from_row) {
    Vec<R> sum[ROWS][NP * NV];
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < NP * NV; v++)
            sum[r][v] = from ? load(from + v / NV * from_panel + r * from_row + v % NV * W<R>)
                             : Vec<R>{};
    for (int64_t kb = 0; kb < k_blocks; kb++) {
        UNROLL for (int k = 0; k < W<R>; k++) {
            if constexpr (ROWS > 3)
                UNROLL for (int line = 0; line < LINES<R>; line++)
                    __builtin_prefetch(b + ahead + k * PANEL<R> + line * 64 / int(sizeof(R)), 0, 2);
            if constexpr (ROWS <= NP * NV) {
                Vec<R> x[ROWS];
                UNROLL for (int r = 0; r < ROWS; r++) x[r] = all(a[r * W<R> + k]);
                UNROLL for (int v = 0; v < NP * NV; v++) {
                    const Vec<R> w = load(b + v / NV * b_panel + k * PANEL<R> + v % NV * W<R>);
                    UNROLL for (int r = 0; r < ROWS; r++) sum[r][v] = fma(x[r], w, sum[r][v]);
                }
            } else {
                Vec<R> w[NP * NV];
                UNROLL for (int v = 0; v < NP * NV; v++)
                    w[v] = load(b + v / NV * b_panel + k * PANEL<R> + v % NV * W<R>);
                UNROLL for (int r = 0; r < ROWS; r++) {
                    const Vec<R> x = all(a[r * W<R> + k]);
                    UNROLL for (int v = 0; v < NP * NV; v++) sum[r][v] = fma(x, w[v], sum[r][v]);
                }
            }
        }
        a += a_step;
        b += W<R> * PANEL<R>;
    }
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < NP * NV; v++)
            store(c + v / NV * c_panel + r * PANEL<R> + v % NV * W<R>, sum[r][v]);
}

template <class R, int ROWS, int NP>
INLINE void tile_at(const Product<R>& p, int64_t row, int64_t panel, int64_t kb, int64_t count,
                    int64_t ahead) {
    R* c = p.c + panel * p.c_panel + row * PANEL<R>;
    const bool first = kb == 0;
    const R* from = first ? p.from : c;
    if (first && from) from += panel * p.from_panel + row * p.from_row;
    tile<R, ROWS, NP>(p.a + kb * p.a_step + row * W<R>, p.a_step,
                      p.b + panel * p.b_panel + kb * W<R> * PANEL<R>, p.b_panel, ahead, count, c,
                      p.c_panel, from, first ? p.from_panel : p.c_panel,
                      first ? p.from_row : PANEL<R>);
}

// Few rows: several panels at once keep enough chains going to hide the latency of an addition.
// `backwards` takes the panels from the last to the first: where weights are larger than a cache and
// are walked through at every step, to and fro finds half of a cache's worth where it was left.
template <class R, int ROWS>
INLINE void few_rows(const Product<R>& p, int64_t panels, bool backwards) {
    constexpr int NP = ROWS == 1 ? 8 / NV : 4 / NV < 1 ? 1 : (ROWS == 2 && NV == 4) ? 2 : 4 / NV;
    const int64_t groups = panels / NP;
    for (int64_t g = 0; g < groups; g++)
        tile_at<R, ROWS, NP>(p, 0, (backwards ? groups - 1 - g : g) * NP, 0, p.k_blocks, 0);
    for (int64_t n = groups * NP; n < panels; n++) tile_at<R, ROWS, 1>(p, 0, n, 0, p.k_blocks, 0);
}

template <class R>
INLINE void all_rows(const Product<R>& p, int64_t rows, int64_t n, int64_t kb, int64_t ahead) {
    const int64_t tiles = blocks(rows, MR), count = least(KC / W<R>, p.k_blocks - kb);
    int64_t row = 0;
    for (int64_t t = 0; t < tiles; t++) {  // as equal as they can be: none too thin
        const int64_t height = (rows - row) / (tiles - t);
        switch (height) {
            case 3: tile_at<R, 3, 1>(p, row, n, kb, count, ahead); break;
            case 4: tile_at<R, 4, 1>(p, row, n, kb, count, ahead); break;
            case 5: tile_at<R, 5, 1>(p, row, n, kb, count, ahead); break;
            default: tile_at<R, 6, 1>(p, row, n, kb, count, ahead); break;
        }
        row += height;
    }
}

// C = from + A B for rows [0, rows) and panels [0, panels).
template <class R>
NOINLINE void multiply(const Product<R>& p, int64_t rows, int64_t panels, bool backwards = false) {
    if (rows == 0) return;
    if (rows == 1) return few_rows<R, 1>(p, panels, backwards);
    if (rows == 2) return few_rows<R, 2>(p, panels, backwards);
    if (rows == 3) return few_rows<R, 3>(p, panels, backwards);
    // A piece of a panel meets all rows before the next. Where A is too large for the L2 cache all
    // panels meet one stretch of its columns before the next stretch.
    constexpr int64_t at_once = KC / W<R>;
    if (rows * p.k_blocks * W<R> * static_cast<int64_t>(sizeof(R)) <= A_BYTES) {
        for (int64_t n = 0; n < panels; n++)
            for (int64_t kb = 0; kb < p.k_blocks; kb += at_once)
                all_rows(p, rows, n, kb, KC * PANEL<R>);
    } else {
        for (int64_t kb = 0; kb < p.k_blocks; kb += at_once)
            for (int64_t n = 0; n < panels; n++) all_rows(p, rows, n, kb, p.b_panel);
    }
}

// --- sums over rows: gradients of weights ---------------------------------------------------------
// G[m][n] (+)= sum over rows of D[row][m] X[row][n], both blocked rows of the same capacity. The
// rows come in pieces of SUM_ROWS, each summed on its own and then added: better than one long sum.

constexpr int64_t SUM_ROWS = 256;
template <class R>
constexpr int TM = W<R> < 4 ? W<R> : (REGISTERS == 32 && W<R> >= 8 ? 8 : 4);  // divides W
template <class R>
constexpr int TN = TM<R> < 4 ? 6 : (REGISTERS == 32 ? 24 : 12) / TM<R>;  // vectors

// One vector of columns of X, and where its gradient goes.
template <class R>
struct Column {
    const R* x;     // (rows, W)
    R* into;        // column 0 of the gradient
    int64_t width;  // valid lanes
    int64_t stride;
};

template <class R, int N>
NOINLINE void sum_tile(const R* d, const Column<R>* columns, int64_t first, int64_t rows,
                       int64_t into_row, int64_t valid, bool add) {
    Vec<R> sum[TM<R>][N];
    UNROLL for (int m = 0; m < TM<R>; m++) UNROLL for (int v = 0; v < N; v++) sum[m][v] = Vec<R>{};
    const R* x[N];
    UNROLL for (int v = 0; v < N; v++) x[v] = columns[v].x + first * W<R>;
    UNROLL for (int m = 0; m < TM<R>; m++)  // the gradient is far away when it is added to
        if (m < valid)
            UNROLL for (int v = 0; v < N; v++)
                __builtin_prefetch(columns[v].into + (into_row + m) * columns[v].stride, 1, 3);
    for (int64_t k = 0; k < rows; k++) {
        Vec<R> w[N];
        UNROLL for (int v = 0; v < N; v++) w[v] = load(x[v] + k * W<R>);
        UNROLL for (int m = 0; m < TM<R>; m++) {
            const Vec<R> s = all(d[k * W<R> + m]);
            UNROLL for (int v = 0; v < N; v++) sum[m][v] = fma(s, w[v], sum[m][v]);
        }
    }
    UNROLL for (int m = 0; m < TM<R>; m++) {
        if (m >= valid) break;
        UNROLL for (int v = 0; v < N; v++) {
            R* to = columns[v].into + (into_row + m) * columns[v].stride;
            const int64_t n = columns[v].width;
            store(to, add ? load(to, n) + sum[m][v] : sum[m][v], n);
        }
    }
}

// Blocks [m0, m1) of D; `per_group` blocks make up `width` rows of G (a gate's units).
template <class R>
struct SumOver {
    const R* d;
    int64_t capacity, rows;
    int64_t per_group, width;
    const Column<R>* columns;
    int64_t column_count;
    bool add;
};

template <class R, int N>
NOINLINE void sum_columns(const SumOver<R>& s, const Column<R>* columns, int64_t first,
                          int64_t rows, int64_t m0, int64_t m1) {
    for (int64_t m = m0; m < m1; m++) {
        const int64_t unit = m % s.per_group * W<R>;
        for (int part = 0; part < W<R>; part += TM<R>) {
            const int64_t valid = s.width - unit - part;
            if (valid <= 0) break;
            sum_tile<R, N>(s.d + (m * s.capacity + first) * W<R> + part, columns, first, rows,
                           m / s.per_group * s.width + unit + part, valid, s.add || first > 0);
        }
    }
}

template <class R>
void sum_over_rows(const SumOver<R>& s, int64_t m0, int64_t m1) {
    static_assert(TN<R> <= 6, "the switch knows no wider tile");
    for (int64_t first = 0; first < s.rows; first += SUM_ROWS) {
        const int64_t rows = least(SUM_ROWS, s.rows - first);
        const int64_t groups = blocks(s.column_count, TN<R>);
        int64_t n = 0;
        for (int64_t g = 0; g < groups; g++) {  // as equal as they can be
            const int64_t count = (s.column_count - n) / (groups - g);
            const Column<R>* columns = s.columns + n;
            switch (count) {
                case 1: sum_columns<R, 1>(s, columns, first, rows, m0, m1); break;
                case 2: sum_columns<R, 2>(s, columns, first, rows, m0, m1); break;
                case 3: sum_columns<R, 3>(s, columns, first, rows, m0, m1); break;
                case 4: sum_columns<R, 4>(s, columns, first, rows, m0, m1); break;
                case 5: sum_columns<R, 5>(s, columns, first, rows, m0, m1); break;
                case 6: sum_columns<R, 6>(s, columns, first, rows, m0, m1); break;
                default: sum_columns<R, TN<R>>(s, columns, first, rows, m0, m1); break;
            }
            n += count;
        }
    }
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
