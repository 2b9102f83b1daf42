// Runs the kernels of one instruction set without Python, so that they can run in an emulator:
// reads calls from a file, writes their results to another. test_emulated.py makes and judges them.
//
//     runner CALLS RESULTS
//
// A call: 12 int64 (T, B, I, H, P, projected, reverse, ragged, resets, bias, recompute, threads), then
// arrays of LSTMKIT_REAL: input, h0, c0, weight_ih, weight_hh, [bias_ih, bias_hh], [weight_hr], [lengths],
// [resets], d_output, d_h_n, d_c_n, and without recompute d_gates, d_cell. Its results: output, h_n,
// c_n, [gates, cell], d_input, d_h0, d_c0, d_weights as they were given; and in float, for float32,
// bfloat16 and int8 weights: h and c after T packed steps, and that h through a linear layer.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "kernels.h"
#include "plan.h"

using namespace lstmkit;

namespace lstmkit::LSTMKIT_ISA {
extern const Kernels table;
}

namespace {

using Real = LSTMKIT_REAL;  // float or double; packed steps are of float
using Array = std::vector<Real>;

Array read(FILE* file, int64_t count) {
    Array found(static_cast<size_t>(count));
    if (fread(found.data(), sizeof(Real), found.size(), file) != found.size()) found.clear();
    return found;
}

void write(FILE* file, const Array& x) {
    if (!x.empty()) fwrite(x.data(), sizeof(Real), x.size(), file);
}

Array fresh(int64_t count) { return Array(static_cast<size_t>(count), NAN); }

Real* at(Array& x) { return x.empty() ? nullptr : x.data(); }

// 64 bytes aligned, as packed weights want to be.
float* aligned(std::vector<float>& x) {
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(x.data()) + 63) / 64 * 64);
}

// A matrix as lstmkit.lowprecision rounds it: float32 numbers that the precision holds, and scales.
struct Lowered {
    std::vector<float> values, scale;

    Lowered(Precision precision, const std::vector<float>& matrix, int64_t rows) : values(matrix) {
        const size_t width = rows ? matrix.size() / static_cast<size_t>(rows) : 0;
        for (size_t r = 0; r < static_cast<size_t>(rows); r++) {
            float* row = values.data() + r * width;
            float largest = 0;
            for (size_t k = 0; k < width; k++) largest = std::fmax(largest, std::fabs(row[k]));
            scale.push_back(largest / 127.0f);
            const float inverse = 127.0f / largest;
            for (size_t k = 0; k < width; k++) {
                if (precision == Precision::int8) row[k] = std::nearbyintf(row[k] * inverse);
                if (precision != Precision::bfloat16) continue;
                uint32_t bits;
                memcpy(&bits, row + k, 4);
                bits = (bits + (0x7fff + (bits >> 16 & 1))) & 0xffff0000u;
                memcpy(row + k, &bits, 4);
            }
        }
    }
};

void steps(const Kernels& kernels, const Shape& shape, Precision precision,
           const Weights<const float>& weights, const Scales& scales,
           const std::vector<float>& input, std::vector<float>& h, std::vector<float>& c) {
    const int64_t widest = std::max({shape.I, shape.P, shape.H});
    const int64_t bytes = kernels.packed_bytes(shape, precision);
    std::vector<float> packed(static_cast<size_t>(bytes / 4) + 16, NAN);
    std::vector<float> panel(static_cast<size_t>(kernels.panel_floats(widest)) + 16, NAN);
    std::vector<float> scratch(static_cast<size_t>(kernels.scratch_floats(shape)) + 16, NAN);
    kernels.pack(shape, precision, weights, scales, aligned(packed), aligned(panel));
    for (int64_t t = 0; t < shape.T; t++)
        kernels.step({shape, precision, aligned(packed), aligned(scratch),
                      input.data() + t * shape.B * shape.I, h.data(), c.data(), h.data(),
                      c.data()});
}

// T steps, and the last h through a linear layer whose weights are those of h: (B, 4H).
std::vector<float> in_precision(const Kernels& kernels, const Shape& shape, Precision precision,
                                const Weights<const float>& w, const std::vector<float>& input,
                                std::vector<float>& h, std::vector<float>& c) {
    const int64_t G = 4 * shape.H;
    const auto array = [](const float* p, int64_t n) {
        return std::vector<float>(p, p + (p ? n : 0));
    };
    const Lowered ih(precision, array(w.ih, G * shape.I), G), hh(precision, array(w.hh, G * shape.P), G),
        hr(precision, array(w.hr, shape.P * shape.H), w.hr ? shape.P : 0);
    steps(kernels, shape, precision,
          {ih.values.data(), hh.values.data(), w.bias_ih, w.bias_hh,
           w.hr ? hr.values.data() : nullptr},
          {ih.scale.data(), hh.scale.data(), hr.scale.data()}, input, h, c);
    const LinearShape linear{shape.P, G, precision};
    std::vector<float> packed(static_cast<size_t>(kernels.linear_bytes(linear) / 4) + 16, NAN);
    std::vector<float> panel(static_cast<size_t>(kernels.panel_floats(shape.P)) + 16, NAN);
    std::vector<float> scratch(
        static_cast<size_t>(kernels.linear_scratch(linear, shape.B)) + 16, NAN);
    std::vector<float> y(static_cast<size_t>(shape.B * G), NAN);
    kernels.pack_linear(linear, {hh.values.data(), w.bias_hh, hh.scale.data()}, aligned(packed),
                        aligned(panel));
    kernels.linear({linear, aligned(packed), aligned(scratch), shape.B, h.data(), y.data()});
    return y;
}

template <class R>
bool one_call(FILE* in, FILE* out) {
    int64_t n[12];
    if (fread(n, sizeof n[0], 12, in) != 12) return false;
    const int64_t T = n[0], B = n[1], I = n[2], H = n[3], P = n[4];
    const bool projected = n[5], ragged = n[7], reset = n[8], bias = n[9], recompute = n[10];
    Array x = read(in, T * B * I), h0 = read(in, B * P), c0 = read(in, B * H);
    Array w_ih = read(in, 4 * H * I), w_hh = read(in, 4 * H * P);
    Array b_ih, b_hh, w_hr;
    if (bias) b_ih = read(in, 4 * H), b_hh = read(in, 4 * H);
    if (projected) w_hr = read(in, P * H);
    std::vector<int64_t> lengths;
    std::vector<uint8_t> resets;
    if (ragged)
        for (Real length : read(in, B)) lengths.push_back(static_cast<int64_t>(length));
    if (reset)
        for (Real flag : read(in, T * B)) resets.push_back(flag != 0);
    Array d_output = read(in, T * B * P), d_h_n = read(in, B * P), d_c_n = read(in, B * H);
    Array d_gates, d_cell;
    if (!recompute) d_gates = read(in, T * B * 4 * H), d_cell = read(in, T * B * H);

    const Kernels& kernels = LSTMKIT_ISA::table;
    Forward<R> f;
    f.shape = {T, B, I, H, P, projected, n[6] != 0};
    f.weights = {w_ih.data(), w_hh.data(), at(b_ih), at(b_hh), at(w_hr)};
    f.steps = {ragged ? lengths.data() : nullptr, reset ? resets.data() : nullptr};
    f.input = {x.data(), B * I, I};
    f.h0 = h0.data();
    f.c0 = c0.data();
    f.threads = static_cast<int>(n[11]);
    f.clear = true;
    Array output = fresh(T * B * P), h_n = fresh(B * P), c_n = fresh(B * H), gates, cell, cells;
    if (recompute)
        cells = fresh(checkpoint_count(f.shape, f.steps) * B * H);
    else
        gates = fresh(T * B * 4 * H), cell = fresh(T * B * H);
    f.output = output.data();
    f.h_n = h_n.data();
    f.c_n = c_n.data();
    f.gates = at(gates);
    f.cell = at(cell);
    f.checkpoints = at(cells);
    if constexpr (sizeof(R) == 4)
        kernels.forward_f32(f);
    else
        kernels.forward_f64(f);

    Backward<R> b;
    b.shape = f.shape;
    b.weights = f.weights;
    b.steps = f.steps;
    b.input = f.input;
    b.h0 = f.h0;
    b.c0 = f.c0;
    b.output = output.data();
    b.gates = at(gates);
    b.cell = at(cell);
    b.checkpoints = at(cells);
    b.d_output = {d_output.data(), B * P, P};
    b.d_h_n = d_h_n.data();
    b.d_c_n = d_c_n.data();
    b.d_gates = at(d_gates);
    b.d_cell = at(d_cell);
    b.threads = f.threads;
    Array d_x = fresh(T * B * I), d_h0 = fresh(B * P), d_c0 = fresh(B * H);
    Array d_ih = fresh(4 * H * I), d_hh = fresh(4 * H * P);
    Array d_b_ih = fresh(bias ? 4 * H : 0), d_b_hh = d_b_ih, d_hr = fresh(projected ? P * H : 0);
    b.d_input = d_x.data();
    b.d_h0 = d_h0.data();
    b.d_c0 = d_c0.data();
    b.d_weights = {d_ih.data(), d_hh.data(), at(d_b_ih), at(d_b_hh), at(d_hr)};
    if constexpr (sizeof(R) == 4)
        kernels.backward_f32(b);
    else
        kernels.backward_f64(b);

    for (const Array* r : {&output, &h_n, &c_n, &gates, &cell, &d_x, &d_h0, &d_c0, &d_ih, &d_hh,
                           &d_b_ih, &d_b_hh, &d_hr})
        write(out, *r);
    if constexpr (sizeof(R) == 4)
        for (Precision p : {Precision::float32, Precision::bfloat16, Precision::int8}) {
            Array h = h0, c = c0;
            const Array y = in_precision(kernels, f.shape, p, f.weights, x, h, c);
            for (const Array* r : std::initializer_list<const Array*>{&h, &c, &y}) write(out, *r);
        }
    return true;
}

}  // namespace

int main(int count, char** names) {
    if (count != 3) return 2;
    FILE* in = fopen(names[1], "rb");
    FILE* out = fopen(names[2], "wb");
    if (!in || !out) return 2;
    int calls = 0;
    while (one_call<Real>(in, out)) calls++;
    fclose(out);
    std::printf("%s: %d calls\n", LSTMKIT_ISA::table.name, calls);
    return 0;
}
