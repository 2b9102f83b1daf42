#include "machine.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "arrays.h"
#include "cpu.h"

namespace lstmkit {

namespace {

// The values of a run, what a kernel needs meanwhile, and what a sequence of steps needs besides.
struct Memory {
    Buffer arena, scratch, sequence;
};

Memory& memory() {
    thread_local Memory mine;
    return mine;
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
    for (const Instruction& i : code_) {
        const bool lengths = i.operation == Operation::lstm && i.in[3].offset >= 0;
        refuses_ = refuses_ || lengths || i.operation == Operation::embedding;
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
        case Operation::log_softmax: return log_softmax(n, B, in(0), out(0));
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

namespace {

// A step of B samples, but for its arrays.
Step step_of(const Kernels& kernels, const Packed& p, int64_t B) {
    Step call;
    call.shape = p.shape;
    call.shape.B = B;
    call.precision = p.precision;
    call.packed = p.memory();
    call.scratch = memory().scratch.take(kernels.scratch_floats(call.shape));
    return call;
}

}  // namespace

// numbers: which weights. in: x, h, c; out: h, c.
void Machine::perform_cell(const Instruction& i, int64_t B, float* arena) const {
    const Packed& p = *packed_[static_cast<size_t>(i.numbers[0])];
    Step call = step_of(kernels_, p, B);
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
    Step call = step_of(kernels_, p, B);
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
