// Gradients, by the derivation in lstmkit/kernels/reference/backward.py.
//
// Chunks of steps go from the last to the first. In each, the workers first walk back through time,
// which leaves d_z, the gradient of the pre-activations, of every row; then all threads together
// multiply it by W_ih (d_input) and sum it over the chunk's rows against inputs and hidden states
// (gradients of weights), while it is in cache. Memory beyond the results is that of one chunk.

#pragma once

#include "forward.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

constexpr int64_t INPUT_ROWS = 48;  // of d_input at a time

template <class R>
struct PackedBackward {
    R *hh, *ih, *hr;  // W_hh over P, W_ih over I, W_hr over H
    int64_t gate_panel, hr_panel;

    PackedBackward(const Sizes<R>& n, bool projected, bool input, Scratch& scratch) {
        gate_panel = 4 * n.h_blocks * W<R> * PANEL<R>;
        hr_panel = n.p_blocks * W<R> * PANEL<R>;
        hh = take<R>(scratch, n.p_panels * gate_panel);
        ih = input ? take<R>(scratch, n.i_panels * gate_panel) : nullptr;
        hr = projected ? take<R>(scratch, n.h_panels * hr_panel) : nullptr;
    }
    void pack(const Sizes<R>& n, const Weights<const R>& w, int64_t worker, int64_t workers) {
        for (int64_t p = worker; p < n.p_panels; p += workers)
            pack_columns(hh + p * gate_panel, w.hh, 4, n.H, n.P, p);
        for (int64_t p = worker; ih && p < n.i_panels; p += workers)
            pack_columns(ih + p * gate_panel, w.ih, 4, n.H, n.I, p);
        for (int64_t p = worker; hr && p < n.h_panels; p += workers)
            pack_columns(hr + p * hr_panel, w.hr, 1, n.P, n.H, p);
    }
};

template <class R>
struct BackwardJob {
    const Backward<R>& call;
    Sizes<R> n;
    Plan plan;
    PackedBackward<R> packed;
    PackedForward<R>* again;  // where gates are computed again
    int threads;
    // Of one chunk, blocked rows of capacity `rows`:
    int64_t rows;
    R* d_z;           // (4 * h_blocks): gates i f g o, units within
    R* xh;            // (i_blocks + p_blocks): input, and the hidden state that the step met
    R *d_h, *m;       // with projection: (p_blocks), (h_blocks)
    int64_t* frames;  // (rows): t * B + b
    R *gates, *cell;  // computed again: (rows, 4, H), (rows, H)
    // Carried: gradient of h as C panels over positions, of c as blocked rows.
    int64_t capacity;
    R *carry_h, *carry_c;
    R* bias;  // (4 * h_blocks, W)
    R* own;   // scratch of each worker
    int64_t own_size;
    // What the rows of d_z (columns) and of d_h (projection) are summed against.
    Column<R> *columns, *projection;
    int64_t column_count;
    Barrier *everyone, **group;
};

template <class R>
struct BackwardShare {
    int group, part;
    int64_t lo, hi, u0, u1, h0, h1, p0, p1;  // positions, units, panels of units, panels of P
    R* own;
    int64_t chunk, first;  // the chunk, and its first step
};

// What a step met: the frame row of the step before it, or one of these.
constexpr int64_t ZERO = -1, INITIAL = -2;

template <class R>
INLINE int64_t before(const BackwardJob<R>& job, int64_t t, int64_t b) {
    const Shape& shape = job.call.shape;
    const uint8_t* resets = job.call.steps.resets;
    if (!shape.reverse) {
        if (resets && resets[t * shape.B + b]) return ZERO;
        return t == 0 ? INITIAL : (t - 1) * shape.B + b;
    }
    const int64_t last = (job.call.steps.lengths ? job.call.steps.lengths[b] : shape.T) - 1;
    if (t == last) return INITIAL;
    if (resets && resets[(t + 1) * shape.B + b]) return ZERO;
    return (t + 1) * shape.B + b;
}

// The cell that step `step` of position p met; null: 0.
template <class R>
INLINE const R* cell_before(const BackwardJob<R>& job, const BackwardShare<R>& s, int64_t step,
                            int64_t t, int64_t p) {
    const int64_t b = job.plan.order[p], row = before(job, t, b), H = job.n.H;
    if (row == ZERO) return nullptr;
    if (row == INITIAL) return job.call.c0 + b * H;
    if (!job.again) return job.call.cell + row * H;
    if (step == s.first) return job.call.checkpoints + (s.chunk * job.call.shape.B + b) * H;
    return job.cell + (job.plan.offset[step - 1] + p) * H;
}

// Inputs and hidden states of the chunk's rows, shared out among the workers of a group.
template <class R>
void gather(const BackwardJob<R>& job, const BackwardShare<R>& s, const Chunk& chunk) {
    const Backward<R>& call = job.call;
    const int64_t step_x = job.rows * W<R>;
    for (int64_t step = chunk.first; step < chunk.last; step++) {
        const int64_t count = job.plan.count(step, s.lo, s.hi), t = job.plan.time(step);
        for (int64_t p = s.lo + s.part; p < s.lo + count; p += job.plan.splits) {
            const int64_t row = job.plan.offset[step] + p, b = job.plan.order[p];
            job.frames[row] = t * call.shape.B + b;
            if (!job.xh) continue;
            put_row(job.xh + row * W<R>, step_x, call.input.row(t, b), job.n.I);
            const int64_t from = before(job, t, b);
            const R* h = from == ZERO      ? nullptr
                         : from == INITIAL ? call.h0 + b * job.n.P
                                           : call.output + from * job.n.P;
            put_row(job.xh + (job.n.i_blocks * job.rows + row) * W<R>, step_x, h, job.n.P);
        }
    }
}

// Gates and cells of the chunk once more: the same products in the same order, so the same bits.
template <class R>
void compute_again(const BackwardJob<R>& job, const BackwardShare<R>& s, const Chunk& chunk) {
    const int64_t panel = s.u0 * Z_PANELS, panels = (s.u1 - s.u0) * Z_PANELS;
    const int64_t z_panel = job.capacity * PANEL<R>, H = job.n.H;
    const PackedForward<R>& w = *job.again;
    for (int64_t step = chunk.first; step < chunk.last; step++) {
        const int64_t count = job.plan.count(step, s.lo, s.hi), t = job.plan.time(step);
        const int64_t row = job.plan.offset[step] + s.lo;
        const R* x = job.xh + row * W<R>;
        Product<R> product{x, job.rows * W<R>, w.ih + panel * w.ih_panel, w.ih_panel, s.own,
                           z_panel, w.bias + panel * PANEL<R>, PANEL<R>, 0, job.n.i_blocks};
        multiply(product, count, panels);
        product = {x + job.n.i_blocks * job.rows * W<R>, job.rows * W<R>,
                   w.hh + panel * w.hh_panel, w.hh_panel, s.own, z_panel, s.own, z_panel, PANEL<R>,
                   job.n.p_blocks};
        multiply(product, count, panels);
        for (int64_t u = s.u0; u < s.u1; u++)
            for (int64_t r = 0; r < count; r++) {
                const R* z = s.own + (u - s.u0) * Z_PANELS * z_panel + r * PANEL<R>;
                const R* c = cell_before(job, s, step, t, s.lo + r);
                const int64_t first = u * W<R>, width = H - first;
                const Cell<R> cell =
                    cell_of<R>(z, z_panel, c ? load(c + first, width) : Vec<R>{});
                R* gates = job.gates + (row + r) * 4 * H + first;
                store(gates, cell.i, width);
                store(gates + H, cell.f, width);
                store(gates + 2 * H, cell.g, width);
                store(gates + 3 * H, cell.o, width);
                store(job.cell + (row + r) * H + first, cell.c, width);
            }
    }
}

// d_z of one block of units at one step, and the gradient of the cell before it.
template <class R, bool PROJECTED, bool TRACE, bool FULL>
NOINLINE void d_cells(const BackwardJob<R>& job, const BackwardShare<R>& s, int64_t step,
                      int64_t u, int64_t count, const R* d_m) {
    const Backward<R>& call = job.call;
    const int64_t H = job.n.H, first = u * W<R>, width = FULL ? W<R> : H - first;
    const int64_t t = job.plan.time(step), row = job.plan.offset[step] + s.lo;
    R* carry_c = job.carry_c + (u * job.capacity + s.lo) * W<R>;
    R* d_z = job.d_z + (u * job.rows + row) * W<R>;
    const int64_t gate = job.n.h_blocks * job.rows * W<R>;
    const Vec<R> one = all(R(1));
    for (int64_t r = 0; r < count; r++) {  // apart from the rest: many at a time, as in forward.h
        const R* cell = job.again ? job.cell + (row + r) * H
                                  : call.cell + (t * call.shape.B + job.plan.order[s.lo + r]) * H;
        store(d_z + 3 * gate + r * W<R>, tanh<R>(load(cell + first, width)));
    }
    for (int64_t r = 0; r < count; r++, carry_c += W<R>, d_z += W<R>, d_m += PANEL<R>) {
        const int64_t b = job.plan.order[s.lo + r], in = t * call.shape.B + b;
        const R* gates = job.again ? job.gates + (row + r) * 4 * H : call.gates + in * 4 * H;
        gates += first;
        const Vec<R> i = load(gates, width), f = load(gates + H, width);
        const Vec<R> g = load(gates + 2 * H, width), o = load(gates + 3 * H, width);
        const R* met = cell_before(job, s, step, t, s.lo + r);
        const Vec<R> c_prev = met ? load(met + first, width) : Vec<R>{};
        const Vec<R> shown = load(d_z + 3 * gate);

        Vec<R> d_h = load(d_m);
        if constexpr (!PROJECTED)
            if (call.d_output.data) d_h = d_h + load(call.d_output.row(t, b) + first, width);
        Vec<R> d_c = fma(d_h * o, one - shown * shown, load(carry_c));
        if constexpr (TRACE)
            if (call.d_cell) d_c = d_c + load(call.d_cell + in * H + first, width);
        Vec<R> d_i = d_c * g, d_f = d_c * c_prev, d_g = d_c * i, d_o = d_h * shown;
        if constexpr (TRACE)
            if (call.d_gates) {
                const R* more = call.d_gates + in * 4 * H + first;
                d_i = d_i + load(more, width);
                d_f = d_f + load(more + H, width);
                d_g = d_g + load(more + 2 * H, width);
                d_o = d_o + load(more + 3 * H, width);
            }
        store(carry_c, d_c * f);
        store(d_z, d_i * i * (one - i));
        store(d_z + gate, d_f * f * (one - f));
        store(d_z + 2 * gate, d_g * (one - g * g));
        store(d_z + 3 * gate, d_o * o * (one - o));
        if constexpr (PROJECTED)
            store(job.m + (u * job.rows + row + r) * W<R>, o * shown);
    }
}

// With projection: d_h of the step into the chunk, and d_m = d_h W_hr into the worker's scratch.
template <class R>
void d_projection(const BackwardJob<R>& job, const BackwardShare<R>& s, int64_t step,
                  int64_t count) {
    const int64_t row = job.plan.offset[step] + s.lo, t = job.plan.time(step);
    for (int64_t b = s.p0 * NV; b < least(s.p1 * NV, job.n.p_blocks); b++)
        for (int64_t r = 0; r < count; r++) {
            Vec<R> d = load(job.carry_h + ((b / NV) * job.capacity + s.lo + r) * PANEL<R> +
                            b % NV * W<R>);
            if (job.call.d_output.data)
                d = d + load(job.call.d_output.row(t, job.plan.order[s.lo + r]) + b * W<R>,
                             job.n.P - b * W<R>);
            store(job.d_h + (b * job.rows + row + r) * W<R>, d);
        }
    meet(job.group[s.group]);
    multiply(Product<R>{job.d_h + row * W<R>, job.rows * W<R>,
                        job.packed.hr + s.h0 * job.packed.hr_panel, job.packed.hr_panel, s.own,
                        job.capacity * PANEL<R>, nullptr, 0, 0, job.n.p_blocks},
             count, s.h1 - s.h0);
}

// Zeroes what the worker carries for samples whose segment starts at step t.
template <class R>
void cut(const BackwardJob<R>& job, const BackwardShare<R>& s, int64_t t, int64_t count) {
    const uint8_t* resets = job.call.steps.resets + t * job.call.shape.B;
    for (int64_t p = s.lo; p < s.lo + count; p++) {
        if (!resets[job.plan.order[p]]) continue;
        for (int64_t u = s.u0; u < s.u1; u++)
            store(job.carry_c + (u * job.capacity + p) * W<R>, Vec<R>{});
        for (int64_t n = s.p0; n < s.p1; n++)
            UNROLL for (int v = 0; v < NV; v++)
                store(job.carry_h + (n * job.capacity + p) * PANEL<R> + v * W<R>, Vec<R>{});
    }
}

template <class R, bool PROJECTED, bool TRACE>
void d_step(const BackwardJob<R>& job, const BackwardShare<R>& s, int64_t step) {
    const int64_t count = job.plan.count(step, s.lo, s.hi), t = job.plan.time(step);
    if (count == 0) return;
    const bool resets = job.call.steps.resets != nullptr, reverse = job.call.shape.reverse;
    const int64_t c_panel = job.capacity * PANEL<R>;
    if (resets && reverse) cut(job, s, t, count);
    if constexpr (PROJECTED) d_projection(job, s, step, count);
    for (int64_t u = s.u0; u < s.u1; u++) {
        const R* d_m = PROJECTED ? s.own + (u / NV - s.h0) * c_panel
                                 : job.carry_h + u / NV * c_panel + s.lo * PANEL<R>;
        d_m += u % NV * W<R>;
        if ((u + 1) * W<R> <= job.n.H)
            d_cells<R, PROJECTED, TRACE, true>(job, s, step, u, count, d_m);
        else
            d_cells<R, PROJECTED, TRACE, false>(job, s, step, u, count, d_m);
    }
    meet(job.group[s.group]);
    multiply(Product<R>{job.d_z + (job.plan.offset[step] + s.lo) * W<R>, job.rows * W<R>,
                        job.packed.hh + s.p0 * job.packed.gate_panel, job.packed.gate_panel,
                        job.carry_h + s.p0 * c_panel + s.lo * PANEL<R>, c_panel, nullptr, 0, 0,
                        4 * job.n.h_blocks},
             count, s.p1 - s.p0, step % 2 == 1);
    if (resets && !reverse) cut(job, s, t, count);
}

// d_input of rows [first, last) of the chunk.
template <class R>
void d_inputs(const BackwardJob<R>& job, int64_t first, int64_t last, R* own) {
    const int64_t c_panel = INPUT_ROWS * PANEL<R>, I = job.n.I;
    for (int64_t row = first; row < last; row += INPUT_ROWS) {
        const int64_t count = least(INPUT_ROWS, last - row);
        multiply(Product<R>{job.d_z + row * W<R>, job.rows * W<R>, job.packed.ih,
                            job.packed.gate_panel, own, c_panel, nullptr, 0, 0,
                            4 * job.n.h_blocks},
                 count, job.n.i_panels);
        for (int64_t r = 0; r < count; r++) {
            R* to = job.call.d_input + job.frames[row + r] * I;
            for (int64_t k = 0; k < I; k += W<R>)
                store(to + k,
                      load(own + k / PANEL<R> * c_panel + r * PANEL<R> + k % PANEL<R>), I - k);
        }
    }
}

template <class R>
void d_bias(const BackwardJob<R>& job, int64_t rows, int64_t m0, int64_t m1, bool add) {
    for (int64_t m = m0; m < m1; m++) {
        Vec<R> sum = {};
        const R* d_z = job.d_z + m * job.rows * W<R>;
        for (int64_t r = 0; r < rows; r++) sum = sum + load(d_z + r * W<R>);
        R* to = job.bias + m * W<R>;
        store(to, add ? load(to) + sum : sum);
    }
}

// Columns of gradients, one a block: of W_ih over inputs and of W_hh over hidden states, or of W_hr.
template <class R>
int64_t columns_of(const BackwardJob<R>& job, bool projection, Column<R>* into) {
    const Weights<R>& d = job.call.d_weights;
    int64_t count = 0;
    const auto add = [&](const R* x, R* to, int64_t width) {
        for (int64_t k = 0; to && k < width; k += W<R>, x += job.rows * W<R>)
            into[count++] = {x, to + k, least(W<R>, width - k), width};
    };
    if (projection) {
        add(job.m, d.hr, job.n.H);
    } else {
        add(job.xh, d.ih, job.n.I);
        add(job.xh + job.n.i_blocks * job.rows * W<R>, d.hh, job.n.P);
    }
    return count;
}

// Gradients of weights from one chunk: the worker's share of their rows.
template <class R>
void d_weights(const BackwardJob<R>& job, int64_t rows, bool add, int64_t worker) {
    const int64_t all_rows = 4 * job.n.h_blocks, workers = job.threads;
    const int64_t m0 = all_rows * worker / workers, m1 = all_rows * (worker + 1) / workers;
    sum_over_rows(SumOver<R>{job.d_z, job.rows, rows, job.n.h_blocks, job.n.H, job.columns,
                             job.column_count, add},
                  m0, m1);
    if (job.bias) d_bias(job, rows, m0, m1, add);
    if (job.call.d_weights.hr)
        sum_over_rows(SumOver<R>{job.d_h, job.rows, rows, job.n.p_blocks, job.n.P, job.projection,
                                 job.n.h_blocks, add},
                      job.n.p_blocks * worker / workers, job.n.p_blocks * (worker + 1) / workers);
}

template <class R>
void load_carried(const BackwardJob<R>& job, int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; p++) {
        const int64_t b = job.plan.order[p];
        const R* h = job.call.d_h_n ? job.call.d_h_n + b * job.n.P : nullptr;
        for (int64_t k = 0; k < job.n.p_panels * PANEL<R>; k += W<R>)
            store(job.carry_h + (k / PANEL<R> * job.capacity + p) * PANEL<R> + k % PANEL<R>,
                  h && k < job.n.P ? load(h + k, job.n.P - k) : Vec<R>{});
        put_row(job.carry_c + p * W<R>, job.capacity * W<R>,
                job.call.d_c_n ? job.call.d_c_n + b * job.n.H : nullptr, job.n.H);
    }
}

template <class R>
void store_carried(const BackwardJob<R>& job, int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; p++) {
        const int64_t b = job.plan.order[p];
        for (int64_t k = 0; job.call.d_h0 && k < job.n.P; k += W<R>)
            store(job.call.d_h0 + b * job.n.P + k,
                  load(job.carry_h + (k / PANEL<R> * job.capacity + p) * PANEL<R> + k % PANEL<R>),
                  job.n.P - k);
        if (job.call.d_c0)
            get_row(job.call.d_c0 + b * job.n.H, job.carry_c + p * W<R>, job.capacity * W<R>,
                    job.n.H);
    }
}

template <class R>
void zero(R* data, int64_t count) {
    if (data) memset(data, 0, sizeof(R) * static_cast<size_t>(count));
}

// Biases, which were summed in blocks; and zeros where there was no row at all.
template <class R>
void finish_weights(const BackwardJob<R>& job, bool any) {
    const Weights<R>& d = job.call.d_weights;
    const int64_t H = job.n.H;
    if (!any) {
        zero(d.ih, 4 * H * job.n.I);
        zero(d.hh, 4 * H * job.n.P);
        zero(d.hr, job.n.P * H);
        zero(job.bias, job.bias ? 4 * job.n.h_blocks * W<R> : 0);
    }
    R* const biases[] = {d.bias_ih, d.bias_hh};
    for (R* to : biases)
        for (int64_t gate = 0; to && gate < 4; gate++)
            memcpy(to + gate * H, job.bias + gate * job.n.h_blocks * W<R>,
                   sizeof(R) * static_cast<size_t>(H));
}

template <class R, bool PROJECTED, bool TRACE>
void backward_work(void* context, int worker) {
    auto& job = *static_cast<BackwardJob<R>*>(context);
    const Backward<R>& call = job.call;
    const int64_t B = call.shape.B, workers = job.threads;
    job.packed.pack(job.n, call.weights, worker, workers);
    if (job.again) {
        Weights<const R> weights = call.weights;
        weights.hr = nullptr;  // hidden states are known
        job.again->pack(job.n, weights, worker, workers);
    }
    load_carried(job, B * worker / workers, B * (worker + 1) / workers);
    clear_padding(call.shape, call.steps.lengths, call.d_input, job.n.I, worker, workers);
    const int splits = job.plan.splits, group = worker / splits, part = worker % splits;
    const bool works = group < job.plan.groups;
    BackwardShare<R> s{group, part, 0, 0, 0, 0, 0, 0, 0, 0, job.own + worker * job.own_size, 0, 0};
    s.h0 = job.n.h_panels * part / splits;
    s.h1 = job.n.h_panels * (part + 1) / splits;
    s.u0 = s.h0 * NV;
    s.u1 = least(s.h1 * NV, job.n.h_blocks);
    s.p0 = job.n.p_panels * part / splits;
    s.p1 = job.n.p_panels * (part + 1) / splits;
    bool any = false;
    meet(job.everyone);
    for (int64_t k = job.plan.chunk_count - 1; k >= 0; k--) {
        const Chunk& chunk = job.plan.chunks[k];
        if (chunk.rows == 0) continue;
        if (works) {
            s.lo = job.plan.bound(k, group);
            s.hi = job.plan.bound(k, group + 1);
            s.chunk = k;
            s.first = chunk.first;
            gather(job, s, chunk);
            if (job.again) {
                meet(job.group[group]);
                compute_again(job, s, chunk);
            }
            for (int64_t step = chunk.last - 1; step >= chunk.first; step--)
                d_step<R, PROJECTED, TRACE>(job, s, step);
        }
        meet(job.everyone);
        if (call.d_input)
            d_inputs(job, chunk.rows * worker / workers, chunk.rows * (worker + 1) / workers,
                     s.own);
        d_weights(job, chunk.rows, any, worker);
        any = true;
        meet(job.everyone);
    }
    store_carried(job, B * worker / workers, B * (worker + 1) / workers);
    if (worker == 0) finish_weights(job, any);
}

template <class R>
bool run_backward(const Backward<R>& call, int threads) {
    Scratch scratch;
    const Sizes<R> n(call.shape);
    const bool projected = call.shape.projected, again = call.checkpoints != nullptr;
    const Weights<R>& d = call.d_weights;
    const int64_t step_work = 4 * n.H * (n.P + (projected ? n.P / 4 : 0));
    Plan plan = make_plan(call.shape, call.steps, threads, backward_rows(call.shape), n.h_panels,
                          step_work, scratch);
    BackwardJob<R> job{call, n, plan,
                       PackedBackward<R>(n, projected, call.d_input != nullptr, scratch), nullptr,
                       threads, plan.most_rows + (plan.most_rows % 2) + 2,
                       nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                       blocks(call.shape.B, 2) * 2 + 2, nullptr, nullptr, nullptr, nullptr, 0,
                       nullptr, nullptr, 0, nullptr, nullptr};
    PackedForward<R> forward_weights(
        n, projected, again ? take<R>(scratch, PackedForward<R>::count(n, false)) : nullptr);
    if (again) {
        job.again = &forward_weights;
        job.gates = take<R>(scratch, job.rows * 4 * n.H);
        job.cell = take<R>(scratch, job.rows * n.H);
    }
    job.d_z = take<R>(scratch, 4 * n.h_blocks * job.rows * W<R>);
    if (again || d.ih || d.hh)
        job.xh = take<R>(scratch, (n.i_blocks + n.p_blocks) * job.rows * W<R>);
    if (projected) {
        job.d_h = take<R>(scratch, n.p_blocks * job.rows * W<R>);
        job.m = take<R>(scratch, n.h_blocks * job.rows * W<R>);
    }
    job.frames = take<int64_t>(scratch, job.rows);
    job.carry_h = take<R>(scratch, n.p_panels * job.capacity * PANEL<R>);
    job.carry_c = take<R>(scratch, n.h_blocks * job.capacity * W<R>);
    if (d.bias_ih || d.bias_hh) job.bias = take<R>(scratch, 4 * n.h_blocks * W<R>);
    const int64_t per_position = most(again ? n.z_panels : 0, projected ? n.h_panels : 0);
    job.own_size = most(per_position * job.capacity, n.i_panels * INPUT_ROWS) * PANEL<R> + 16;
    job.own = take<R>(scratch, job.own_size * threads);
    job.columns = take<Column<R>>(scratch, n.i_blocks + n.p_blocks + n.h_blocks);
    job.column_count = columns_of(job, false, job.columns);
    job.projection = job.columns + job.column_count;
    columns_of(job, true, job.projection);
    job.everyone = make_barrier(scratch.take(barrier_bytes()), threads);
    job.group = static_cast<Barrier**>(scratch.take(sizeof(Barrier*) * plan.groups));
    for (int g = 0; g < plan.groups; g++)
        job.group[g] = make_barrier(scratch.take(barrier_bytes()), plan.splits);
    const bool trace = call.d_gates || call.d_cell;
    void (*work)(void*, int);
    if (projected)
        work = trace ? backward_work<R, true, true> : backward_work<R, true, false>;
    else
        work = trace ? backward_work<R, false, true> : backward_work<R, false, false>;
    return run_team(threads, work, &job);
}

template <class R>
void backward(const Backward<R>& call) {
    if (!run_backward(call, useful_threads<R>(call.shape, call.threads))) run_backward(call, 1);
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
