// Everything once for one instruction set: CMakeLists.txt compiles this file for each, with its
// flags, LSTMKIT_ISA and LSTMKIT_VECTOR_BYTES. The table below is all that the linker sees of it.

#include "backward.h"
#include "forward.h"
#include "kernels.h"
#include "step.h"

#if defined(__aarch64__)
#define KEEP_IN_REGISTER(v) asm volatile("" : "+w"(v))
#elif defined(__x86_64__)
#define KEEP_IN_REGISTER(v) asm volatile("" : "+v"(v))
#else
#define KEEP_IN_REGISTER(v)
#endif
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

// The product alone, as gemm.h does it, packing included: for measuring.
void product(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c) {
    using R = float;
    constexpr int64_t ROWS = 48;
    Scratch scratch;
    const int64_t panels = blocks(n, PANEL<R>), k_blocks = blocks(k, W<R>);
    const int64_t b_panel = k_blocks * W<R> * PANEL<R>;
    R* packed = take<R>(scratch, panels * b_panel);
    R* left = take<R>(scratch, k_blocks * ROWS * W<R>);
    R* out = take<R>(scratch, panels * ROWS * PANEL<R>);
    for (int64_t p = 0; p < panels; p++) pack_columns(packed + p * b_panel, b, 1, k, n, p);
    for (int64_t row = 0; row < m; row += ROWS) {
        const int64_t count = least(ROWS, m - row);
        for (int64_t r = 0; r < count; r++)
            put_row(left + r * W<R>, ROWS * W<R>, a + (row + r) * k, k);
        multiply(Product<R>{left, ROWS * W<R>, packed, b_panel, out, ROWS * PANEL<R>, nullptr, 0,
                            0, k_blocks},
                 count, panels);
        for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < n; j += W<R>)
                store(c + (row + r) * n + j,
                      load(out + (j / PANEL<R> * ROWS + r) * PANEL<R> + j % PANEL<R>), n - j);
    }
}

// Chains of multiply-adds, enough of them to hide their latency.
double peak(int64_t rounds) {
    constexpr int CHAINS = 12;
    Vec<float> sum[CHAINS] = {};
    const Vec<float> a = all(0.999f), b = all(0.001f);
    for (int64_t k = 0; k < rounds; k++) UNROLL for (int c = 0; c < CHAINS; c++) {
        sum[c] = fma(sum[c], a, b);
        KEEP_IN_REGISTER(sum[c]);  // as it stands
    }
    return 2.0 * W<float> * CHAINS * static_cast<double>(rounds);
}

void tanh_of(const float* x, float* y, int64_t n) {
    for (int64_t k = 0; k < n; k += W<float>)
        store(y + k, tanh<float>(load(x + k, n - k)), n - k);
}

void sigmoid_of(const float* x, float* y, int64_t n) {
    for (int64_t k = 0; k < n; k += W<float>)
        store(y + k, sigmoid<float>(load(x + k, n - k)), n - k);
}

void exponentials(const float* x, float shift, float scale, float* y, int64_t n) {
    for (int64_t k = 0; k < n; k += W<float>)
        store(y + k, exp<float>((load(x + k, n - k) - all(shift)) * all(scale)), n - k);
}

}  // namespace

extern const Kernels table;
const Kernels table = {TEXT(LSTMKIT_ISA),
                       forward<float>,
                       forward<double>,
                       backward<float>,
                       backward<double>,
                       packed_bytes,
                       scratch_floats,
                       step,
                       linear_bytes,
                       linear_scratch,
                       linear,
                       panel_floats,
                       pack,
                       pack_linear,
                       tanh_of,
                       sigmoid_of,
                       exponentials,
                       product,
                       peak};

}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
