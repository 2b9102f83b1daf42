// Matrices of weights packed once, in one of three precisions, and their products with few rows.
// float32 and bfloat16 are multiplied in float32, in the order of gemm.h: bfloat16 weights give the
// bits of the float32 numbers that they stand for. int8 weights meet rows rounded to int8, each by
// its own scale; the sums are of 32-bit integers, exact, the same with every instruction set.
//
// float32 has the layout of gemm.h's panels. bfloat16 has two numbers of k in one word, the earlier in
// the lower half, int8 four of them; and the panels that one row meets at once lie side by side, so
// that it walks through all of the weights in one line, which caches foresee across short panels.

#pragma once

#include "pack.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

typedef uint32_t Words __attribute__((vector_size(BYTES)));
typedef uint32_t LooseWords __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef int32_t Sums __attribute__((vector_size(BYTES)));
typedef int16_t Halves __attribute__((vector_size(BYTES)));
typedef float Floats __attribute__((vector_size(BYTES)));

INLINE Words load_words(const uint32_t* p) { return *reinterpret_cast<const LooseWords*>(p); }

// Sums of the products of neighbouring 16-bit numbers.
INLINE Sums multiply_pairs(Halves a, Halves b) {
#if defined(__AVX512BW__)
    return (Sums)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (Sums)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (Sums)__builtin_ia32_pmaddwd128((short __attribute__((vector_size(16))))a,
                                           (short __attribute__((vector_size(16))))b);
#elif defined(__aarch64__)
    const int16x8_t p = (int16x8_t)a, q = (int16x8_t)b;
    return (Sums)vpaddq_s32(vmull_s16(vget_low_s16(p), vget_low_s16(q)), vmull_high_s16(p, q));
#else
    const Sums p = (Sums)a, q = (Sums)b;
    return (p << 16 >> 16) * (q << 16 >> 16) + (p >> 16) * (q >> 16);
#endif
}

// Four int8 numbers of a row, in the two words that `four_products` wants.
INLINE void four_numbers(int32_t* to, const Sums& q, int j) {
#if defined(__AVX2__) && !defined(__AVX512F__)  // as they are; without their signs
    uint32_t numbers = 0, sizes = 0;
    for (int k = 0; k < 4; k++) {
        numbers |= (uint32_t(q[j + k]) & 0xff) << 8 * k;
        sizes |= (uint32_t(q[j + k] < 0 ? -q[j + k] : q[j + k])) << 8 * k;
    }
    to[0] = int32_t(numbers);
    to[1] = int32_t(sizes);
#else  // numbers 0 and 2, 1 and 3, 16 bits wide
    to[0] = (q[j] & 0xffff) | int32_t(uint32_t(q[j + 2]) << 16);
    to[1] = (q[j + 1] & 0xffff) | int32_t(uint32_t(q[j + 3]) << 16);
#endif
}

// Sums of four products each: of the int8 numbers in a word of weights, and a row's in x0 and x1.
INLINE Sums four_products(Words w, Sums x0, Sums x1) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    // |x| * (w with x's sign): two products of at most 127 * 127 stay within 16 bits.
    const __m256i turned = _mm256_sign_epi8((__m256i)w, (__m256i)x0);
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)x1, turned);
    return (Sums)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    const Halves h = (Halves)w;
    return multiply_pairs(h << 8 >> 8, (Halves)x0) + multiply_pairs(h >> 8, (Halves)x1);
#endif
}

// --- layout ---------------------------------------------------------------------------------------

constexpr int64_t LINE = 64;
constexpr int64_t AHEAD = 2048;    // bytes
constexpr int64_t GROUP = 8 / NV;  // panels that one row meets at once: chains that hide a latency

struct Matrix {
    Precision precision;
    int64_t k_blocks, panels;
    char* data;    // panels of k_blocks * W * PANEL numbers
    float* scale;  // of each column, by panels; int8 only

    Matrix(Precision precision, int64_t k, int64_t panels, void* memory)
        : precision(precision), k_blocks(blocks(k, W<float>)), panels(panels) {
        data = static_cast<char*>(memory);
        scale = reinterpret_cast<float*>(data + panels * panel_bytes());
    }
    int64_t numbers() const { return k_blocks * W<float> * PANEL<float>; }
    int64_t panel_bytes() const { return numbers() * WIDTH[static_cast<int>(precision)]; }
    int64_t bytes() const {
        const int64_t scales = precision == Precision::int8 ? panels * PANEL<float> * 4 : 0;
        return blocks(panels * panel_bytes() + scales, LINE) * LINE;
    }
    // Below float32: where a panel begins, and how far it is from one word of k to the next.
    int64_t group_size(int64_t panel) const {
        return least(GROUP, panels - panel / GROUP * GROUP);
    }
    uint32_t* words(int64_t panel) const {
        return reinterpret_cast<uint32_t*>(data + panel / GROUP * GROUP * panel_bytes()) +
               panel % GROUP * PANEL<float>;
    }
    int64_t stride(int64_t panel) const { return group_size(panel) * PANEL<float>; }
    static constexpr int64_t WIDTH[] = {4, 2, 1};
};

// One panel of float32 numbers, whole ones for int8, into the matrix's precision.
inline void narrow(const Matrix& m, int64_t panel, const float* from) {
    if (m.precision == Precision::float32) {
        memcpy(m.data + panel * m.panel_bytes(), from, static_cast<size_t>(m.panel_bytes()));
        return;
    }
    const int per_word = m.precision == Precision::bfloat16 ? 2 : 4;
    uint32_t* words = m.words(panel);
    const int64_t stride = m.stride(panel);
    for (int64_t k = 0; k < m.k_blocks * W<float>;
         k += per_word, from += per_word * PANEL<float>, words += stride)
        for (int c = 0; c < PANEL<float>; c++) {
            uint32_t word = 0;
            for (int j = 0; j < per_word; j++) {
                const float x = from[j * PANEL<float> + c];
                uint32_t bits;
                memcpy(&bits, &x, 4);
                word |= per_word == 2 ? bits >> 16 << 16 * j
                                      : uint32_t(uint8_t(int8_t(x))) << 8 * j;
            }
            words[c] = word;
        }
}

// --- rows -----------------------------------------------------------------------------------------

// Rows as a matrix of some precision meets them: blocked rows of float32, or rounded to int8 with a
// scale each, four numbers in two words.
struct Rows {
    float* blocked;
    int64_t step;  // from block to block
    int32_t* rounded;
    float* scale;

    static int64_t floats(int64_t rows, int64_t k) {
        const int64_t padded = blocks(k, W<float>) * W<float>;
        return rows * (padded + padded / 2 + 1) + 16;
    }
    Rows(float* memory, int64_t rows, int64_t k) : blocked(memory), step(rows * W<float>) {
        const int64_t padded = blocks(k, W<float>) * W<float>;
        rounded = reinterpret_cast<int32_t*>(memory + rows * padded);
        scale = memory + rows * (padded + padded / 2);
    }
};

// Nearest, ties to even, of |x| < 2^22.
INLINE Vec<float> nearest(Vec<float> x) {
    const Vec<float> shift = all(12582912.0f);
    return (x + shift) - shift;
}

// A blocked row to whole numbers -127 .. 127. What is not finite makes the scale NaN.
NOINLINE void round_row(const Rows& rows, int64_t row, int64_t k_blocks) {
    const float* x = rows.blocked + row * W<float>;
    Vec<float> largest = {}, spoilt = {};
    for (int64_t k = 0; k < k_blocks; k++) {
        const Vec<float> v = load(x + k * rows.step);
        const Vec<float> size = (Vec<float>)((Sums)v & 0x7fffffff);
        largest = (Vec<float>)(((Sums)largest & ~(size > largest)) | ((Sums)size & (size > largest)));
        spoilt += v * all(0.0f);
    }
    float top = 0, bad = 0;
    for (int k = 0; k < W<float>; k++) {
        top = largest[k] > top ? largest[k] : top;
        bad += spoilt[k];
    }
    rows.scale[row] = top / 127.0f + bad;
    const float inverse = top > 0 && bad == 0 ? 127.0f / top : 0;
    int32_t* to = rows.rounded + row * k_blocks * W<float> / 2;
    for (int64_t k = 0; k < k_blocks; k++) {
        const Sums q = __builtin_convertvector(
            bad == 0 ? nearest(load(x + k * rows.step) * all(inverse)) : Vec<float>{}, Sums);
        for (int j = 0; j < W<float>; j += 4, to += 2) four_numbers(to, q, j);
    }
}

// Row `row` of x (width) into `rows`, for a product with m.
INLINE void put_row(const Rows& rows, Precision precision, int64_t row, const float* x,
                    int64_t width) {
    put_row(rows.blocked + row * W<float>, rows.step, x, width);
    if (precision == Precision::int8) round_row(rows, row, blocks(width, W<float>));
}

// --- products -------------------------------------------------------------------------------------

// Where a product begins and ends: see gemm.h's Product.
struct Target {
    float* c;
    int64_t c_panel;
    const float* from;
    int64_t from_panel, from_row;

    Target at(int64_t row, int64_t panel) const {
        return {c + panel * c_panel + row * PANEL<float>, c_panel,
                from ? from + panel * from_panel + row * from_row : nullptr, from_panel, from_row};
    }
    INLINE Vec<float> begin(int r, int v) const {
        return from ? load(from + v / NV * from_panel + r * from_row + v % NV * W<float>)
                    : Vec<float>{};
    }
    INLINE void end(int r, int v, Vec<float> sum) const {
        store(c + v / NV * c_panel + r * PANEL<float> + v % NV * W<float>, sum);
    }
};

// One row reads each weight once: the lines that it comes to next are fetched meanwhile, beyond the
// ends of pages, where the CPU's own foresight stops.
template <int NP>
INLINE void look_ahead(const uint32_t* b) {
    UNROLL for (int word = 0; word < NP * PANEL<float>; word += LINE / 4)
        __builtin_prefetch(b + AHEAD / 4 + word, 0, 3);
}

template <int ROWS, int NP>
NOINLINE void tile_bfloat16(const Matrix& m, int64_t panel, const Rows& rows, int64_t row,
                            const Target& to) {
    Vec<float> sum[ROWS][NP * NV];
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < NP * NV; v++) sum[r][v] = to.begin(r, v);
    const float* a = rows.blocked + row * W<float>;
    const uint32_t* b = m.words(panel);
    const int64_t stride = m.stride(panel);
    for (int64_t kb = 0; kb < m.k_blocks; kb++, a += rows.step)
        UNROLL for (int k = 0; k < W<float>; k += 2, b += stride) {
            if constexpr (ROWS == 1) look_ahead<NP>(b);
            Vec<float> x[2][ROWS];
            UNROLL for (int r = 0; r < ROWS; r++) {
                x[0][r] = all(a[r * W<float> + k]);
                x[1][r] = all(a[r * W<float> + k + 1]);
            }
            UNROLL for (int v = 0; v < NP * NV; v++) {
                const Words w = load_words(b + v * W<float>);
                const Vec<float> early = (Vec<float>)(w << 16);
                const Vec<float> late = (Vec<float>)(w & 0xffff0000u);
                UNROLL for (int r = 0; r < ROWS; r++) {
                    sum[r][v] = fma(x[0][r], early, sum[r][v]);
                    sum[r][v] = fma(x[1][r], late, sum[r][v]);
                }
            }
        }
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < NP * NV; v++) to.end(r, v, sum[r][v]);
}

template <int ROWS, int NP>
NOINLINE void tile_int8(const Matrix& m, int64_t panel, const Rows& rows, int64_t row,
                        const Target& to) {
    Sums sum[ROWS][NP * NV];
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < NP * NV; v++) sum[r][v] = Sums{};
    const int64_t words = m.k_blocks * W<float> / 4, stride = m.stride(panel);
    const int32_t* a = rows.rounded + row * 2 * words;
    const uint32_t* b = m.words(panel);
    for (int64_t k = 0; k < words; k++, a += 2, b += stride) {
        if constexpr (ROWS == 1) look_ahead<NP>(b);
        Sums x[2][ROWS];
        UNROLL for (int r = 0; r < ROWS; r++) {
            x[0][r] = Sums{} + a[r * 2 * words];
            x[1][r] = Sums{} + a[r * 2 * words + 1];
        }
        UNROLL for (int v = 0; v < NP * NV; v++) {
            const Words w = load_words(b + v * W<float>);
            UNROLL for (int r = 0; r < ROWS; r++) sum[r][v] += four_products(w, x[0][r], x[1][r]);
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < NP * NV; v++) {
            const float* scale = m.scale + panel * PANEL<float> + v * W<float>;
            to.end(r, v, fma(__builtin_convertvector(sum[r][v], Floats),
                             load(scale) * all(rows.scale[row + r]), to.begin(r, v)));
        }
}

template <int ROWS, int NP>
INLINE void tile_of(const Matrix& m, int64_t panel, const Rows& rows, int64_t row,
                    const Target& to) {
    if (m.precision == Precision::bfloat16)
        tile_bfloat16<ROWS, NP>(m, panel, rows, row, to.at(row, panel));
    else
        tile_int8<ROWS, NP>(m, panel, rows, row, to.at(row, panel));
}

// C = from + rows times m.
NOINLINE void multiply(const Matrix& m, const Rows& rows, int64_t count, const Target& to) {
    if (m.precision == Precision::float32) {
        const auto* b = reinterpret_cast<const float*>(m.data);
        multiply(Product<float>{rows.blocked, rows.step, b, m.numbers(), to.c, to.c_panel, to.from,
                                to.from_panel, to.from_row, m.k_blocks},
                 count, m.panels);
        return;
    }
    if (count == 1) {
        int64_t n = 0;
        for (; n + GROUP <= m.panels; n += GROUP) tile_of<1, GROUP>(m, n, rows, 0, to);
        for (; n < m.panels; n++) tile_of<1, 1>(m, n, rows, 0, to);
        return;
    }
    for (int64_t n = 0; n < m.panels; n++) {
        int64_t row = 0;
        for (; row + 4 <= count; row += 4) tile_of<4, 1>(m, n, rows, row, to);
        for (; row + 2 <= count; row += 2) tile_of<2, 1>(m, n, rows, row, to);
        for (; row < count; row++) tile_of<1, 1>(m, n, rows, row, to);
    }
}

// --- linear ---------------------------------------------------------------------------------------

constexpr int64_t LINEAR_ROWS = 48;  // at a time

struct PackedLinear {
    float* bias;
    Matrix weight;

    PackedLinear(const LinearShape& s, void* memory)
        : bias(static_cast<float*>(memory)),
          weight(s.precision, s.K, blocks(s.N, PANEL<float>),
                 bias + blocks(s.N, PANEL<float>) * PANEL<float>) {}
    int64_t bytes() const { return weight.panels * PANEL<float> * 4 + weight.bytes(); }
};

int64_t linear_bytes(const LinearShape& shape) { return PackedLinear(shape, nullptr).bytes(); }

int64_t linear_scratch(const LinearShape& s, int64_t rows) {
    const int64_t n = least(rows, LINEAR_ROWS);
    return blocks(Rows::floats(n, s.K), 16) * 16 + n * blocks(s.N, PANEL<float>) * PANEL<float>;
}

void pack_linear(const LinearShape& s, const LinearWeights& w, void* memory, float* panel) {
    const PackedLinear packed(s, memory);
    for (int64_t n = 0; n < packed.weight.panels; n++) {
        pack_rows(panel, w.weight, s.N, s.K, n);
        narrow(packed.weight, n, panel);
        for (int64_t c = n * PANEL<float>; c < (n + 1) * PANEL<float>; c++) {
            packed.bias[c] = w.bias && c < s.N ? w.bias[c] : 0;
            if (s.precision == Precision::int8)
                packed.weight.scale[c] = c < s.N ? w.scale[c] : 0;
        }
    }
}

void linear(const Linear& call) {
    const LinearShape& s = call.shape;
    const PackedLinear packed(s, const_cast<void*>(call.packed));
    for (int64_t first = 0; first < call.rows; first += LINEAR_ROWS) {
        const int64_t count = least(LINEAR_ROWS, call.rows - first);
        const Rows rows(call.scratch, count, s.K);
        for (int64_t r = 0; r < count; r++)
            put_row(rows, s.precision, r, call.x + (first + r) * s.K, s.K);
        float* c = call.scratch + blocks(Rows::floats(count, s.K), 16) * 16;
        const int64_t c_panel = count * PANEL<float>;
        multiply(packed.weight, rows, count,
                 {c, c_panel, packed.bias, PANEL<float>, 0});
        for (int64_t r = 0; r < count; r++)
            for (int64_t k = 0; k < s.N; k += W<float>)
                store(call.y + (first + r) * s.N + k,
                      load(c + k / PANEL<float> * c_panel + r * PANEL<float> + k % PANEL<float>),
                      s.N - k);
    }
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
