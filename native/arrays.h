// What the machine does to arrays beside products: elementwise, by strides, along an axis. `numbers`
// are an instruction's; B samples stand one after the other.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>

#include "machine.h"
#include "team.h"

namespace lstmkit {
namespace {

constexpr int MOST_AXES = 16;

// Memory of a thread that grows to what it needs and stays.
struct Buffer {
    char* memory = nullptr;
    size_t capacity = 0;
    float* take(int64_t floats) {
        const size_t bytes = static_cast<size_t>(std::max<int64_t>(floats, 1)) * sizeof(float);
        if (bytes > capacity) {
            release(memory);
            memory = nullptr;
            capacity = 0;
            memory = allocate(bytes);
            capacity = bytes;
        }
        return reinterpret_cast<float*>(memory);
    }
    ~Buffer() { release(memory); }
};

// --- elementwise ----------------------------------------------------------------------------------

// The axes of a strided operation: the batch, then those of a sample. Operand k moves by
// stride[k][a] along axis a.
template <int N>
struct Axes {
    int count;
    int64_t size[MOST_AXES + 1];
    int64_t stride[N][MOST_AXES + 1];

    // numbers: axes, sizes, then for each operand its strides, the batch's first.
    Axes(const int64_t* numbers, int64_t B)
        : count(static_cast<int>(numbers[0]) + 1), size{}, stride{} {
        size[0] = B;
        const int64_t* next = numbers + 1;
        for (int a = 1; a < count; a++) size[a] = *next++;
        for (int k = 0; k < N; k++)
            for (int a = 0; a < count; a++) stride[k][a] = *next++;
        while (count > 1 && joins()) {
            size[0] *= size[1];
            for (int k = 0; k < N; k++) stride[k][0] = stride[k][1];
            for (int a = 1; a + 1 < count; a++) {
                size[a] = size[a + 1];
                for (int k = 0; k < N; k++) stride[k][a] = stride[k][a + 1];
            }
            count--;
        }
    }
    // Whether the first two axes are one for every operand.
    bool joins() const {
        for (int k = 0; k < N; k++)
            if (stride[k][0] != stride[k][1] * size[1]) return false;
        return true;
    }
    // row(offset of each operand) for every position but along the last axis.
    template <class Row>
    void each_row(Row row) const {
        int64_t at[N] = {}, index[MOST_AXES + 1] = {};
        for (int a = 0; a < count; a++)
            if (size[a] == 0) return;
        for (;;) {
            row(at);
            int a = count - 2;
            for (; a >= 0; a--) {
                for (int k = 0; k < N; k++) at[k] += stride[k][a];
                if (++index[a] < size[a]) break;
                for (int k = 0; k < N; k++) at[k] -= stride[k][a] * size[a];
                index[a] = 0;
            }
            if (a < 0) return;
        }
    }
    int64_t length() const { return size[count - 1]; }
    int64_t step(int k) const { return stride[k][count - 1]; }
};

// numbers: where the first sample's copy begins in x and in out, then Axes of x, out.
void copy(const int64_t* numbers, int64_t B, const float* x, float* out) {
    const Axes<2> axes(numbers + 2, B);
    x += numbers[0];
    out += numbers[1];
    const int64_t n = axes.length(), sx = axes.step(0), so = axes.step(1);
    axes.each_row([&](const int64_t* at) {
        const float* from = x + at[0];
        float* to = out + at[1];
        if (sx == 1 && so == 1)
            memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
        else
            for (int64_t k = 0; k < n; k++) to[k * so] = from[k * sx];
    });
}

template <class F>
void binary_with(const int64_t* numbers, int64_t B, const float* x, const float* y, float* out,
                 F f) {
    const Axes<3> axes(numbers, B);
    const int64_t n = axes.length(), sx = axes.step(0), sy = axes.step(1);
    axes.each_row([&](const int64_t* at) {
        const float *p = x + at[0], *q = y + at[1];
        float* to = out + at[2];
        if (sx == 1 && sy == 1)
            for (int64_t k = 0; k < n; k++) to[k] = f(p[k], q[k]);
        else
            for (int64_t k = 0; k < n; k++) to[k] = f(p[k * sx], q[k * sy]);
    });
}

bool is_nan(float x) { return x != x; }
float greater(float a, float b) { return a >= b || is_nan(a) ? a : b; }
float smaller(float a, float b) { return a <= b || is_nan(a) ? a : b; }

// numbers: kind, then Axes of x, y, out.
void binary(const int64_t* n, int64_t B, const float* x, const float* y, float* out) {
    switch (static_cast<Binary>(n[0])) {
        case Binary::add: return binary_with(n + 1, B, x, y, out, std::plus<float>());
        case Binary::subtract: return binary_with(n + 1, B, x, y, out, std::minus<float>());
        case Binary::multiply: return binary_with(n + 1, B, x, y, out, std::multiplies<float>());
        case Binary::divide: return binary_with(n + 1, B, x, y, out, std::divides<float>());
        case Binary::maximum: return binary_with(n + 1, B, x, y, out, greater);
        case Binary::minimum: return binary_with(n + 1, B, x, y, out, smaller);
        case Binary::count: return;
    }
}

void where(const int64_t* numbers, int64_t B, const float* w, const float* x, const float* y,
           float* out) {
    const Axes<4> axes(numbers, B);
    const int64_t n = axes.length();
    const int64_t sw = axes.step(0), sx = axes.step(1), sy = axes.step(2);
    axes.each_row([&](const int64_t* at) {
        for (int64_t k = 0; k < n; k++)
            out[at[3] + k] = w[at[0] + k * sw] != 0 ? x[at[1] + k * sx] : y[at[2] + k * sy];
    });
}

template <class F>
void each(const float* x, float* out, int64_t n, F f) {
    for (int64_t k = 0; k < n; k++) out[k] = f(x[k]);
}

float softplus(float x) { return greater(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))); }

// numbers: kind, size; factors of affine: scale, shift.
void unary(const Kernels& kernels, const Instruction& i, int64_t B, const float* x, float* out) {
    const int64_t n = i.numbers[1] * B;
    switch (static_cast<Unary>(i.numbers[0])) {
        case Unary::tanh: return kernels.tanh(x, out, n);
        case Unary::sigmoid: return kernels.sigmoid(x, out, n);
        case Unary::relu: return each(x, out, n, [](float v) { return greater(v, 0.0f); });
        case Unary::softplus: return each(x, out, n, softplus);
        case Unary::exp: return each(x, out, n, [](float v) { return std::exp(v); });
        case Unary::abs: return each(x, out, n, [](float v) { return std::fabs(v); });
        case Unary::sqrt: return each(x, out, n, [](float v) { return std::sqrt(v); });
        case Unary::affine: {
            const float scale = i.factors[0], shift = i.factors[1];
            return each(x, out, n, [=](float v) { return v * scale + shift; });
        }
        case Unary::count: return;
    }
}

// --- along an axis --------------------------------------------------------------------------------

// numbers: kind, outer, length, inner; x (outer, length, inner), out (outer, inner).
void reduce(const int64_t* n, int64_t B, const float* x, float* out) {
    const int64_t outer = n[1] * B, length = n[2], inner = n[3];
    const float scale = static_cast<Reduce>(n[0]) == Reduce::mean ? 1.0f / float(length) : 1.0f;
    for (int64_t o = 0; o < outer; o++, x += length * inner, out += inner)
        for (int64_t k = 0; k < inner; k++) {
            double sum = 0;
            for (int64_t j = 0; j < length; j++) sum += x[j * inner + k];
            out[k] = static_cast<float>(sum) * scale;
        }
}

// numbers: outer, length, inner.
void softmax(const int64_t* n, int64_t B, const float* x, float* out) {
    const int64_t outer = n[0] * B, length = n[1], inner = n[2];
    for (int64_t o = 0; o < outer; o++, x += length * inner, out += length * inner)
        for (int64_t k = 0; k < inner; k++) {
            float top = x[k];
            for (int64_t j = 1; j < length; j++) top = greater(top, x[j * inner + k]);
            float sum = 0;
            for (int64_t j = 0; j < length; j++)
                sum += out[j * inner + k] = std::exp(x[j * inner + k] - top);
            for (int64_t j = 0; j < length; j++) out[j * inner + k] /= sum;
        }
}

// numbers: outer, length, inner.
void log_softmax(const int64_t* n, int64_t B, const float* x, float* out) {
    const int64_t outer = n[0] * B, length = n[1], inner = n[2];
    for (int64_t o = 0; o < outer; o++, x += length * inner, out += length * inner)
        for (int64_t k = 0; k < inner; k++) {
            float top = x[k];
            for (int64_t j = 1; j < length; j++) top = greater(top, x[j * inner + k]);
            double sum = 0;
            for (int64_t j = 0; j < length; j++) sum += std::exp(x[j * inner + k] - top);
            const auto whole = static_cast<float>(std::log(sum));
            for (int64_t j = 0; j < length; j++)
                out[j * inner + k] = x[j * inner + k] - top - whole;
        }
}

// numbers: outer, length, inner.
void sort(const int64_t* n, int64_t B, const float* x, float* out, Buffer& buffer) {
    const int64_t outer = n[0] * B, length = n[1], inner = n[2];
    float* row = buffer.take(length);
    for (int64_t o = 0; o < outer; o++, x += length * inner, out += length * inner)
        for (int64_t k = 0; k < inner; k++) {
            for (int64_t j = 0; j < length; j++) row[j] = x[j * inner + k];
            std::sort(row, row + length,
                      [](float a, float b) { return a < b || (is_nan(b) && !is_nan(a)); });
            for (int64_t j = 0; j < length; j++) out[j * inner + k] = row[j];
        }
}

// numbers: rows, length; factors: eps.
void layer_norm(const Instruction& i, int64_t B, const float* x, const float* weight,
                const float* bias, float* out) {
    const int64_t rows = i.numbers[0] * B, n = i.numbers[1];
    for (int64_t r = 0; r < rows; r++, x += n, out += n) {
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < n; k++) sum += x[k];
        const auto mean = static_cast<float>(sum / double(n));
        for (int64_t k = 0; k < n; k++) squares += double(x[k] - mean) * double(x[k] - mean);
        const auto scale = static_cast<float>(1.0 / std::sqrt(squares / double(n) + i.factors[0]));
        for (int64_t k = 0; k < n; k++)
            out[k] = (x[k] - mean) * scale * (weight ? weight[k] : 1.0f) + (bias ? bias[k] : 0.0f);
    }
}

// numbers: length; factors: eps. scale = sqrt(variance + eps^2).
void instance_norm(const Instruction& i, int64_t B, const float* x, const float* mask, float* out,
                   float* mean, float* scale) {
    const int64_t n = i.numbers[0];
    const double eps = i.factors[0];
    for (int64_t b = 0; b < B; b++, x += n, mask += n, out += n) {
        double count = 0, sum = 0, squares = 0;
        for (int64_t k = 0; k < n; k++) {
            count += mask[k];
            if (mask[k] != 0) sum += double(x[k]) * mask[k];
        }
        count = std::max(count, 1.0);
        mean[b] = static_cast<float>(sum / count);
        for (int64_t k = 0; k < n; k++) {
            const float value = mask[k] != 0 ? x[k] : 0.0f;  // what is not observed may be NaN
            out[k] = (value - mean[b]) * mask[k];
            squares += double(out[k]) * out[k];
        }
        scale[b] = static_cast<float>(std::sqrt(squares / count + eps * eps));
        for (int64_t k = 0; k < n; k++) out[k] /= scale[b];
    }
}

// numbers: which table, indices of a sample, rows, width.
void embedding(const int64_t* n, int64_t B, const float* indices, const float* table, float* out) {
    const int64_t count = n[1] * B, rows = n[2], width = n[3];
    for (int64_t k = 0; k < count; k++) {
        if (!(indices[k] >= 0 && indices[k] < static_cast<float>(rows)))
            throw std::invalid_argument("an index is outside the embedding");
        memcpy(out + k * width, table + static_cast<int64_t>(indices[k]) * width,
               static_cast<size_t>(width) * sizeof(float));
    }
}

}  // namespace
}  // namespace lstmkit
