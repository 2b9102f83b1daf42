#include "machine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>

#include "cpu.h"
#include "team.h"

namespace lstmkit {

namespace {

using Numbers = std::vector<int64_t>;
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

// The values of a run, what a kernel needs meanwhile, and what a sequence of steps needs besides.
struct Memory {
    Buffer arena, scratch, sequence;
};

Memory& memory() {
    thread_local Memory mine;
    return mine;
}

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

// --- ports ----------------------------------------------------------------------------------------

template <class T>
void widen(const void* from, float* to, int64_t n) {
    const T* x = static_cast<const T*>(from);
    for (int64_t k = 0; k < n; k++) to[k] = static_cast<float>(x[k]);
}

void read_port(const Port& port, const void* from, float* to, int64_t B) {
    const int64_t n = port.size * B;
    switch (port.element) {
        case Element::float32: memcpy(to, from, static_cast<size_t>(n) * sizeof(float)); return;
        case Element::int32: return widen<int32_t>(from, to, n);
        case Element::int64: return widen<int64_t>(from, to, n);
        case Element::boolean: return widen<uint8_t>(from, to, n);
    }
}

}  // namespace

// --- the machine ----------------------------------------------------------------------------------

namespace {

float* panel_for(const Kernels& kernels, Buffer& buffer, int64_t k) {
    return buffer.take(kernels.panel_floats(k));
}

}  // namespace

Packed::Packed(const Shape& s, Precision p, const Weights<const float>& weights,
               const Scales& scales)
    : shape(s), precision(p) {
    Buffer panel;
    float* room = panel_for(kernels(), panel, std::max({s.I, s.P, s.H}));
    memory_ = allocate(static_cast<size_t>(kernels().packed_bytes(s, p)));
    kernels().pack(s, p, weights, scales, memory_, room);
}

Packed::Packed(const LinearShape& s, const LinearWeights& weights)
    : precision(s.precision), linear(s) {
    Buffer panel;
    float* room = panel_for(kernels(), panel, s.K);
    memory_ = allocate(static_cast<size_t>(kernels().linear_bytes(s)));
    kernels().pack_linear(s, weights, memory_, room);
}

Packed::Packed(const float* table, int64_t size) {
    const size_t bytes = static_cast<size_t>(size) * sizeof(float);
    memory_ = allocate(bytes);
    memcpy(memory_, table, bytes);
}

Packed::~Packed() { release(memory_); }

double Packed::work() const {
    const Shape& s = shape;
    return double(linear.K * linear.N + 4 * s.H * (s.I + s.P) + (s.projected ? s.P * s.H : 0));
}

Machine::Machine(int64_t arena_size, std::vector<float> constants, std::vector<Instruction> code,
                 std::vector<std::shared_ptr<const Packed>> packed, std::vector<Port> inputs,
                 std::vector<Port> outputs, std::vector<SlotPlace> slots, int64_t state_size)
    : kernels_(kernels()),
      arena_size_(arena_size),
      state_size_(state_size),
      constants_(std::move(constants)),
      code_(std::move(code)),
      packed_(std::move(packed)),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)),
      slots_(std::move(slots)) {
    for (const Instruction& i : code_)
        switch (i.operation) {
            case Operation::linear:
            case Operation::lstm:
                work_ += packed_[static_cast<size_t>(i.numbers[0])]->work() * double(i.numbers[1]);
                break;
            case Operation::cell:
                work_ += packed_[static_cast<size_t>(i.numbers[0])]->work();
                break;
            default: break;
        }
}

void Machine::run(int64_t B, const void* const* inputs, float* const* states,
                  float* const* outputs) const {
    float* arena = memory().arena.take(arena_size_ * B);
    for (size_t k = 0; k < inputs_.size(); k++)
        read_port(inputs_[k], inputs[k], arena + inputs_[k].offset * B, B);
    for (const SlotPlace& s : slots_)
        for (int64_t b = 0; b < B && s.before >= 0; b++)
            memcpy(arena + s.before * B + b * s.size, states[b] + s.state,
                   static_cast<size_t>(s.size) * sizeof(float));
    execute(0, instructions(), B, arena);
    for (size_t k = 0; k < outputs_.size(); k++)
        memcpy(outputs[k], arena + outputs_[k].offset * B,
               static_cast<size_t>(outputs_[k].size * B) * sizeof(float));
    for (const SlotPlace& s : slots_)
        for (int64_t b = 0; b < B && s.after >= 0; b++)
            memcpy(states[b] + s.state, arena + s.after * B + b * s.size,
                   static_cast<size_t>(s.size) * sizeof(float));
}

void Machine::execute(int64_t first, int64_t last, int64_t B, float* arena) const {
    for (int64_t k = first; k < last; k++) perform(code_[static_cast<size_t>(k)], B, arena);
}

void Machine::perform(const Instruction& i, int64_t B, float* arena) const {
    const auto in = [&](size_t k) { return at(i.in[k], B, arena); };
    const auto out = [&](size_t k) { return arena + i.out[k].offset * B; };
    const int64_t* n = i.numbers.data();
    switch (i.operation) {
        case Operation::copy: return copy(n, B, in(0), out(0));
        case Operation::binary: return binary(n, B, in(0), in(1), out(0));
        case Operation::where: return where(n, B, in(0), in(1), in(2), out(0));
        case Operation::unary: return unary(kernels_, i, B, in(0), out(0));
        case Operation::reduce: return reduce(n, B, in(0), out(0));
        case Operation::softmax: return softmax(n, B, in(0), out(0));
        case Operation::sort: return sort(n, B, in(0), out(0), memory().scratch);
        case Operation::layer_norm: return layer_norm(i, B, in(0), in(1), in(2), out(0));
        case Operation::instance_norm:
            return instance_norm(i, B, in(0), in(1), out(0), out(1), out(2));
        case Operation::embedding: {
            const void* table = packed_[static_cast<size_t>(n[0])]->memory();
            return embedding(n, B, in(0), static_cast<const float*>(table), out(0));
        }
        case Operation::linear: {
            const Packed& p = *packed_[static_cast<size_t>(n[0])];
            const int64_t rows = n[1] * B;
            float* scratch = memory().scratch.take(kernels_.linear_scratch(p.linear, rows));
            return kernels_.linear({p.linear, p.memory(), scratch, rows, in(0), out(0)});
        }
        case Operation::cell: return perform_cell(i, B, arena);
        case Operation::lstm: return perform_lstm(i, B, arena);
        case Operation::count: return;
    }
}

// numbers: which weights. in: x, h, c; out: h, c.
void Machine::perform_cell(const Instruction& i, int64_t B, float* arena) const {
    const Packed& p = *packed_[static_cast<size_t>(i.numbers[0])];
    Step call;
    call.shape = p.shape;
    call.shape.B = B;
    call.precision = p.precision;
    call.packed = p.memory();
    call.scratch = memory().scratch.take(kernels_.scratch_floats(call.shape));
    call.x = at(i.in[0], B, arena);
    call.h = at(i.in[1], B, arena);
    call.c = at(i.in[2], B, arena);
    call.new_h = arena + i.out[0].offset * B;
    call.new_c = arena + i.out[1].offset * B;
    kernels_.step(call);
}

// numbers: which weights, T. in: x (T, I), h0, c0, lengths, resets (T); out: y (T, P), h, c.
// Step by step, as the packed weights are there already; a sample beyond its length is left out of
// the step by running it and taking back its old state.
void Machine::perform_lstm(const Instruction& i, int64_t B, float* arena) const {
    const Packed& p = *packed_[static_cast<size_t>(i.numbers[0])];
    const int64_t T = i.numbers[1], I = p.shape.I, H = p.shape.H, P = p.shape.P;
    const float *x = at(i.in[0], B, arena), *lengths = at(i.in[3], B, arena);
    const float* resets = at(i.in[4], B, arena);
    float *y = arena + i.out[0].offset * B, *h = arena + i.out[1].offset * B,
          *c = arena + i.out[2].offset * B;
    const auto begin = [&](const Place& from, float* to, int64_t size) {
        if (from.offset < 0)
            std::fill(to, to + B * size, 0.0f);
        else
            memcpy(to, at(from, B, arena), static_cast<size_t>(B * size) * sizeof(float));
    };
    for (int64_t b = 0; b < B && lengths; b++)
        if (!(lengths[b] >= 0 && lengths[b] <= static_cast<float>(T)))
            throw std::invalid_argument("a length is outside the sequence");
    begin(i.in[1], h, P);
    begin(i.in[2], c, H);
    Step call;
    call.shape = p.shape;
    call.shape.B = B;
    call.precision = p.precision;
    call.packed = p.memory();
    call.scratch = memory().scratch.take(kernels_.scratch_floats(call.shape));
    float* rows = memory().sequence.take(B * (I + P + H));
    float *old_h = rows + B * I, *old_c = old_h + B * P;
    call.x = rows;
    call.h = call.new_h = h;
    call.c = call.new_c = c;
    const auto cut = [&](int64_t t) {
        for (int64_t b = 0; b < B && resets; b++)
            if (resets[b * T + t] != 0 && (!lengths || t < static_cast<int64_t>(lengths[b]))) {
                std::fill(h + b * P, h + (b + 1) * P, 0.0f);
                std::fill(c + b * H, c + (b + 1) * H, 0.0f);
            }
    };
    for (int64_t s = 0; s < T; s++) {
        const int64_t t = p.shape.reverse ? T - 1 - s : s;
        if (!p.shape.reverse) cut(t);
        for (int64_t b = 0; b < B; b++)
            memcpy(rows + b * I, x + (b * T + t) * I, static_cast<size_t>(I) * sizeof(float));
        if (lengths) {
            memcpy(old_h, h, static_cast<size_t>(B * P) * sizeof(float));
            memcpy(old_c, c, static_cast<size_t>(B * H) * sizeof(float));
        }
        kernels_.step(call);
        for (int64_t b = 0; b < B; b++) {
            float* to = y + (b * T + t) * P;
            if (!lengths || t < static_cast<int64_t>(lengths[b])) {
                memcpy(to, h + b * P, static_cast<size_t>(P) * sizeof(float));
                continue;
            }
            std::fill(to, to + P, 0.0f);
            memcpy(h + b * P, old_h + b * P, static_cast<size_t>(P) * sizeof(float));
            memcpy(c + b * H, old_c + b * H, static_cast<size_t>(H) * sizeof(float));
        }
        if (p.shape.reverse) cut(t);
    }
}

}  // namespace lstmkit
