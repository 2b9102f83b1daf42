// All steps of one layer in one direction.
//
// A worker has a range of positions (samples) and a range of unit blocks. For each chunk of steps
// it projects the inputs of its positions in one product, then goes step by step: the recurrent
// product is added to the projection, block of units by block of units, and the cells of a block
// follow while its pre-activations are in the L1 cache.

#pragma once

#include "activations.h"
#include "pack.h"
#include "plan.h"
#include "team.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

// Sizes in blocks and panels, shared by forward, backward and step.
template <class R>
struct Sizes {
    int64_t I, H, P, i_blocks, h_blocks, p_blocks;
    int64_t z_panels;  // of pre-activations: 4 / NV for each block of units
    int64_t i_panels, h_panels, p_panels;
    explicit Sizes(const Shape& s)
        : I(s.I),
          H(s.H),
          P(s.P),
          i_blocks(blocks(s.I, W<R>)),
          h_blocks(blocks(s.H, W<R>)),
          p_blocks(blocks(s.P, W<R>)),
          z_panels(h_blocks * (4 / NV)),
          i_panels(blocks(i_blocks, NV)),
          h_panels(blocks(h_blocks, NV)),
          p_panels(blocks(p_blocks, NV)) {}
};

constexpr int Z_PANELS = 4 / NV;  // of one block of units

template <class R>
R* take(Scratch& scratch, int64_t count) {
    return static_cast<R*>(scratch.take(sizeof(R) * static_cast<size_t>(count)));
}

// What the weights become before the first step.
template <class R>
struct PackedForward {
    R *ih, *hh, *bias, *hr;
    int64_t ih_panel, hh_panel, hr_panel;  // distances

    PackedForward(const Sizes<R>& n, bool projected, R* memory) {
        ih_panel = n.i_blocks * W<R> * PANEL<R>;
        hh_panel = n.p_blocks * W<R> * PANEL<R>;
        hr_panel = n.h_blocks * W<R> * PANEL<R>;
        ih = memory;
        hh = ih + n.z_panels * ih_panel;
        bias = hh + n.z_panels * hh_panel;
        hr = bias + n.z_panels * PANEL<R>;
        (void)projected;
    }
    static int64_t count(const Sizes<R>& n, bool projected) {
        return n.z_panels * (n.i_blocks + n.p_blocks) * W<R> * PANEL<R> + n.z_panels * PANEL<R> +
               (projected ? n.p_panels * n.h_blocks * W<R> * PANEL<R> : 0);
    }
    // Worker `worker` of `workers` packs its share.
    void pack(const Sizes<R>& n, const Weights<const R>& w, int64_t worker, int64_t workers) {
        for (int64_t p = worker; p < n.z_panels; p += workers) {
            pack_gates(ih + p * ih_panel, w.ih, n.H, n.I, p);
            pack_gates(hh + p * hh_panel, w.hh, n.H, n.P, p);
            for (int c = 0; c < PANEL<R>; c++) {
                const int64_t gate = p % Z_PANELS * NV + c / W<R>;
                const int64_t unit = p / Z_PANELS * W<R> + c % W<R>;
                const int64_t k = gate * n.H + unit;
                R b = 0;
                if (unit < n.H && w.bias_ih) b += w.bias_ih[k];
                if (unit < n.H && w.bias_hh) b += w.bias_hh[k];
                bias[p * PANEL<R> + c] = b;
            }
        }
        if (w.hr)
            for (int64_t p = worker; p < n.p_panels; p += workers)
                pack_rows(hr + p * hr_panel, w.hr, n.P, n.H, p);
    }
};

// The gates and cell of one block of units of one sample.
template <class R>
struct Cell {
    Vec<R> i, f, g, o, c;
};

// z: the first of the block's panels at the sample's row. m is left to `shown`: with its tanh
// behind the others a CPU would wait for one result at a time, apart it has many to work at.
template <class R>
INLINE Cell<R> cell_of(const R* z, int64_t z_panel, Vec<R> c) {
    Vec<R> gate[4];
    UNROLL for (int q = 0; q < 4; q++) gate[q] = load(z + q / NV * z_panel + q % NV * W<R>);
    Cell<R> cell;
    cell.i = sigmoid<R>(gate[0]);
    cell.f = sigmoid<R>(gate[1]);
    cell.g = tanh<R>(gate[2]);
    cell.o = sigmoid<R>(gate[3]);
    cell.c = fma(cell.f, c, cell.i * cell.g);
    return cell;
}

template <class R>
INLINE Vec<R> shown(Vec<R> o, Vec<R> c) {
    return o * tanh<R>(c);
}

template <class R>
struct ForwardJob {
    const Forward<R>& call;
    Sizes<R> n;
    Plan plan;
    PackedForward<R> packed;
    int threads;
    int64_t capacity;        // positions of the states' blocked rows
    R *h[2], *c, *m;         // states; m is the unprojected output
    int64_t rows;            // capacity of x and z
    R *x, *z, *out;          // scratch of each worker
    int64_t x_size, z_size, out_size;
    int64_t* checkpoint_at;  // (T): which checkpoint the step is, or -1
    Barrier *everyone, **group;
};

// Steps of one worker: positions [lo, hi), panels of units [h0, h1), of outputs [p0, p1).
template <class R>
struct Share {
    int worker, group;
    int64_t lo, hi, u0, u1, p0, p1;
    R *x, *z, *out;
};

template <class R>
INLINE int64_t frame(const ForwardJob<R>& job, int64_t t, int64_t p) {
    return t * job.call.shape.B + job.plan.order[p];
}

template <class R, bool KEEP, bool PROJECTED, bool FULL>
NOINLINE void cells(const ForwardJob<R>& job, int64_t t, int64_t u, int64_t lo, int64_t count,
                    R* z, R* h_next) {
    const Forward<R>& call = job.call;
    const int64_t H = job.n.H, first = u * W<R>, width = FULL ? W<R> : H - first;
    const int64_t z_panel = job.rows * PANEL<R>;
    R* c = job.c + (u * job.capacity + lo) * W<R>;
    R* m = (PROJECTED ? job.m : h_next) + (u * job.capacity + lo) * W<R>;
    for (int64_t r = 0; r < count; r++) {
        const Cell<R> cell = cell_of<R>(z + r * PANEL<R>, z_panel, load(c + r * W<R>));
        store(c + r * W<R>, cell.c);
        store(z + r * PANEL<R>, cell.o);
        if constexpr (KEEP) {
            const int64_t row = frame(job, t, lo + r);
            R* gates = call.gates + row * 4 * H + first;
            store(gates, cell.i, width);
            store(gates + H, cell.f, width);
            store(gates + 2 * H, cell.g, width);
            store(gates + 3 * H, cell.o, width);
            store(call.cell + row * H + first, cell.c, width);
        }
    }
    for (int64_t r = 0; r < count; r++) {
        const Vec<R> h = shown<R>(load(z + r * PANEL<R>), load(c + r * W<R>));
        store(m + r * W<R>, h);
        if constexpr (!PROJECTED) store(call.output + frame(job, t, lo + r) * H + first, h, width);
    }
}

// The worker's inputs of a chunk, step by step, position by position. Returns how many.
template <class R>
int64_t gather_inputs(const ForwardJob<R>& job, const Share<R>& s, const Chunk& chunk) {
    int64_t row = 0;
    for (int64_t step = chunk.first; step < chunk.last; step++) {
        const int64_t count = job.plan.count(step, s.lo, s.hi), t = job.plan.time(step);
        for (int64_t r = 0; r < count; r++, row++)
            put_row(s.x + row * W<R>, job.rows * W<R>,
                    job.call.input.row(t, job.plan.order[s.lo + r]), job.n.I);
    }
    return row;
}

// z = W_ih x + b for `rows` gathered inputs and `units` blocks of units from u on.
template <class R>
void project_inputs(const ForwardJob<R>& job, const Share<R>& s, int64_t rows, int64_t u,
                    int64_t units, R* z) {
    const PackedForward<R>& w = job.packed;
    const int64_t first = u * Z_PANELS;
    const Product<R> product{s.x, job.rows * W<R>, w.ih + first * w.ih_panel, w.ih_panel, z,
                             job.rows * PANEL<R>, w.bias + first * PANEL<R>, PANEL<R>, 0,
                             job.n.i_blocks};
    multiply(product, rows, units * Z_PANELS);
}

// One step of the worker's units. Its inputs are projected already, and their z is at row `row`;
// or (row < 0) they are projected here, block by block, and z never leaves the L1 cache.
template <class R, bool KEEP, bool PROJECTED>
void step_units(const ForwardJob<R>& job, const Share<R>& s, int64_t step, int64_t count,
                int64_t row) {
    const R* h = job.h[step % 2] + s.lo * W<R>;
    R* next = job.h[(step + 1) % 2];
    const int64_t t = job.plan.time(step), z_panel = job.rows * PANEL<R>;
    const int64_t at_once = count == 1 && Z_PANELS == 2 ? 2 : 1;  // blocks of units
    const bool backwards = count <= 3 && step % 2 == 1;  // see few_rows
    const int64_t parts = blocks(s.u1 - s.u0, at_once);
    for (int64_t k = 0; k < parts; k++) {
        const int64_t u = s.u0 + (backwards ? parts - 1 - k : k) * at_once;
        const int64_t units = least(at_once, s.u1 - u), panel = u * Z_PANELS;
        R* z = row < 0 ? s.z : s.z + (u - s.u0) * Z_PANELS * z_panel + row * PANEL<R>;
        if (row < 0) project_inputs(job, s, count, u, units, z);
        multiply(Product<R>{h, job.capacity * W<R>, job.packed.hh + panel * job.packed.hh_panel,
                            job.packed.hh_panel, z, z_panel, z, z_panel, PANEL<R>,
                            job.n.p_blocks},
                 count, units * Z_PANELS);
        for (int64_t j = 0; j < units; j++) {
            R* z_unit = z + j * Z_PANELS * z_panel;
            if ((u + j + 1) * W<R> <= job.n.H)
                cells<R, KEEP, PROJECTED, true>(job, t, u + j, s.lo, count, z_unit, next);
            else
                cells<R, KEEP, PROJECTED, false>(job, t, u + j, s.lo, count, z_unit, next);
        }
    }
}

// h = W_hr m, for the worker's part of h.
template <class R>
void project_outputs(const ForwardJob<R>& job, const Share<R>& s, int64_t step, int64_t count) {
    const int64_t panels = s.p1 - s.p0, c_panel = job.capacity * PANEL<R>;
    multiply(Product<R>{job.m + s.lo * W<R>, job.capacity * W<R>,
                        job.packed.hr + s.p0 * job.packed.hr_panel, job.packed.hr_panel, s.out,
                        c_panel, nullptr, 0, 0, job.n.h_blocks},
             count, panels);
    R* next = job.h[(step + 1) % 2];
    const int64_t t = job.plan.time(step);
    for (int64_t b = s.p0 * NV; b < least(s.p1 * NV, job.n.p_blocks); b++)
        for (int64_t r = 0; r < count; r++) {
            const Vec<R> v = load(s.out + (b / NV - s.p0) * c_panel + r * PANEL<R> + b % NV * W<R>);
            store(next + (b * job.capacity + s.lo + r) * W<R>, v);
            store(job.call.output + frame(job, t, s.lo + r) * job.n.P + b * W<R>, v,
                  job.n.P - b * W<R>);
        }
}

// Zeroes the worker's part of the state where a segment starts with the next step.
template <class R, bool PROJECTED>
void reset(const ForwardJob<R>& job, const Share<R>& s, int64_t step) {
    const uint8_t* resets = job.call.steps.resets;
    const int64_t t = job.plan.time(step), B = job.call.shape.B;
    const bool reverse = job.call.shape.reverse;
    if (!reverse && step + 1 == job.plan.T) return;
    const int64_t count = job.plan.count(reverse ? step : step + 1, s.lo, s.hi);
    const uint8_t* row = resets + (reverse ? t : t + 1) * B;
    R* next = job.h[(step + 1) % 2];
    for (int64_t p = s.lo; p < s.lo + count; p++) {
        if (!row[job.plan.order[p]]) continue;
        for (int64_t u = s.u0; u < s.u1; u++)
            store(job.c + (u * job.capacity + p) * W<R>, Vec<R>{});
        const int64_t b0 = PROJECTED ? s.p0 * NV : s.u0;
        const int64_t b1 = PROJECTED ? least(s.p1 * NV, job.n.p_blocks) : s.u1;
        for (int64_t b = b0; b < b1; b++)
            store(next + (b * job.capacity + p) * W<R>, Vec<R>{});
    }
}

template <class R>
void checkpoint(const ForwardJob<R>& job, const Share<R>& s, int64_t step, int64_t count) {
    const Forward<R>& call = job.call;
    if (!job.checkpoint_at || job.checkpoint_at[step] < 0) return;
    R* into = call.checkpoints + job.checkpoint_at[step] * call.shape.B * job.n.H;
    for (int64_t p = s.lo; p < s.lo + count; p++)
        for (int64_t u = s.u0; u < s.u1; u++)
            store(into + job.plan.order[p] * job.n.H + u * W<R>,
                  load(job.c + (u * job.capacity + p) * W<R>), job.n.H - u * W<R>);
}

template <class R, bool KEEP, bool PROJECTED>
void run_chunk(const ForwardJob<R>& job, const Share<R>& s, const Chunk& chunk) {
    const int64_t rows = gather_inputs(job, s, chunk);
    const bool ahead = chunk.last - chunk.first > 1;
    if (ahead) project_inputs(job, s, rows, s.u0, s.u1 - s.u0, s.z);
    int64_t row = 0;
    for (int64_t step = chunk.first; step < chunk.last; step++) {
        const int64_t count = job.plan.count(step, s.lo, s.hi);
        if (count == 0) continue;
        checkpoint(job, s, step, count);
        step_units<R, KEEP, PROJECTED>(job, s, step, count, ahead ? row : -1);
        if constexpr (PROJECTED) {
            meet(job.group[s.group]);
            project_outputs(job, s, step, count);
        }
        if (job.call.steps.resets) reset<R, PROJECTED>(job, s, step);
        meet(job.group[s.group]);
        row += count;
    }
}

template <class R>
void load_states(const ForwardJob<R>& job, int64_t lo, int64_t hi) {
    const Forward<R>& call = job.call;
    const uint8_t* resets = call.shape.reverse ? nullptr : call.steps.resets;
    for (int64_t p = lo; p < hi; p++) {
        const int64_t b = job.plan.order[p];
        const bool zero = resets && resets[b] && p < job.plan.active[0];
        for (int k = 0; k < 2; k++)
            put_row(job.h[k] + p * W<R>, job.capacity * W<R>,
                    zero ? nullptr : call.h0 + b * job.n.P, job.n.P);
        put_row(job.c + p * W<R>, job.capacity * W<R>, zero ? nullptr : call.c0 + b * job.n.H,
                job.n.H);
    }
}

template <class R>
void store_states(const ForwardJob<R>& job, int64_t lo, int64_t hi) {
    const Forward<R>& call = job.call;
    const int64_t P = job.n.P, size = static_cast<int64_t>(sizeof(R)) * P;
    for (int64_t p = lo; p < hi; p++) {
        const int64_t b = job.plan.order[p];
        const int64_t length = call.steps.lengths ? call.steps.lengths[b] : call.shape.T;
        const R* h = call.h0 + b * P;
        const bool reverse = call.shape.reverse;
        const bool zero = length > 0 && reverse && call.steps.resets && call.steps.resets[b];
        if (length > 0)
            h = call.output + ((reverse ? 0 : length - 1) * call.shape.B + b) * P;
        if (zero)
            memset(call.h_n + b * P, 0, static_cast<size_t>(size));
        else
            memcpy(call.h_n + b * P, h, static_cast<size_t>(size));
        get_row(call.c_n + b * job.n.H, job.c + p * W<R>, job.capacity * W<R>, job.n.H);
    }
}

// Zeroes rows of a (T, B, width) tensor beyond the lengths.
template <class R>
void clear_padding(const Shape& shape, const int64_t* lengths, R* data, int64_t width,
                   int64_t worker, int64_t workers) {
    if (!data || !lengths) return;
    for (int64_t t = worker; t < shape.T; t += workers)
        for (int64_t b = 0; b < shape.B; b++)
            if (t >= lengths[b])
                memset(data + (t * shape.B + b) * width, 0,
                       sizeof(R) * static_cast<size_t>(width));
}

template <class R, bool KEEP, bool PROJECTED>
void forward_work(void* context, int worker) {
    auto& job = *static_cast<ForwardJob<R>*>(context);
    const Forward<R>& call = job.call;
    const int64_t B = call.shape.B, workers = job.threads;
    job.packed.pack(job.n, call.weights, worker, workers);
    load_states(job, B * worker / workers, B * (worker + 1) / workers);
    clear_padding(call.shape, call.steps.lengths, call.output, job.n.P, worker, workers);
    if (call.clear) {
        clear_padding(call.shape, call.steps.lengths, call.gates, 4 * job.n.H, worker, workers);
        clear_padding(call.shape, call.steps.lengths, call.cell, job.n.H, worker, workers);
    }
    meet(job.everyone);
    const int splits = job.plan.splits, group = worker / splits, part = worker % splits;
    const bool works = group < job.plan.groups;
    Share<R> s{worker, group, 0, 0, 0, 0, 0, 0, nullptr, nullptr, nullptr};
    if (works) {
        s.u0 = job.n.h_panels * part / splits * NV;
        s.u1 = least(job.n.h_panels * (part + 1) / splits * NV, job.n.h_blocks);
        s.p0 = job.n.p_panels * part / splits;
        s.p1 = job.n.p_panels * (part + 1) / splits;
        s.x = job.x + worker * job.x_size;
        s.z = job.z + worker * job.z_size;
        s.out = job.out + worker * job.out_size;
    }
    for (int64_t k = 0; k < job.plan.chunk_count; k++) {
        if (works) {
            s.lo = job.plan.bound(k, group);
            s.hi = job.plan.bound(k, group + 1);
            run_chunk<R, KEEP, PROJECTED>(job, s, job.plan.chunks[k]);
        }
        if (job.plan.moving) meet(job.everyone);
    }
    meet(job.everyone);
    store_states(job, B * worker / workers, B * (worker + 1) / workers);
}

template <class R>
int useful_threads(const Shape& shape, int wanted) {
    constexpr int64_t SMALL = 1 << 19;  // multiplications: below, waking a thread costs more
    const int64_t work = shape.T * shape.B * 4 * shape.H * (shape.I + shape.P);
    return work < SMALL ? 1 : team_size(wanted);
}

// Which steps the backward pass will start its chunks with.
template <class R>
int64_t* checkpoint_steps(const Forward<R>& call, Scratch& scratch) {
    const Plan later = make_plan(call.shape, call.steps, 1, backward_rows(call.shape), 1, 0, scratch);
    auto* at = take<int64_t>(scratch, call.shape.T);
    for (int64_t s = 0; s < call.shape.T; s++) at[s] = -1;
    for (int64_t k = 0; k < later.chunk_count; k++) at[later.chunks[k].first] = k;
    return at;
}

template <class R>
bool run_forward(const Forward<R>& call, int threads) {
    // Inputs of few rows are projected together; rows of one step that are more, within the step.
    // Weights that overflow the L2 cache should meet more rows whenever they come.
    constexpr int64_t FEW = 24, MANY = 120, L2 = 256 << 10;
    Scratch scratch;
    const Sizes<R> n(call.shape);
    const int64_t ih_bytes = 4 * n.H * n.I * static_cast<int64_t>(sizeof(R));
    const int64_t target = (ih_bytes > L2 ? MANY : FEW) * threads;
    const int64_t step_work = 4 * n.H * (n.P + (call.shape.projected ? n.P / 4 : 0));
    Plan plan = make_plan(call.shape, call.steps, threads, target, n.h_panels, step_work, scratch);
    R* packed = take<R>(scratch, PackedForward<R>::count(n, call.shape.projected));
    ForwardJob<R> job{call, n, plan, PackedForward<R>(n, call.shape.projected, packed), threads,
                      blocks(call.shape.B, 2) * 2 + 2,
                      {nullptr, nullptr}, nullptr, nullptr, 0, nullptr, nullptr, nullptr, 0, 0, 0,
                      nullptr, nullptr, nullptr};
    if (call.checkpoints) job.checkpoint_at = checkpoint_steps(call, scratch);
    for (R*& h : job.h) h = take<R>(scratch, n.p_blocks * job.capacity * W<R>);
    job.c = take<R>(scratch, n.h_blocks * job.capacity * W<R>);
    job.rows = plan.most_rows + 2;
    job.x_size = n.i_blocks * job.rows * W<R> + 16;
    job.z_size = blocks(n.h_panels, plan.splits) * NV * Z_PANELS * job.rows * PANEL<R> + 16;
    job.x = take<R>(scratch, job.x_size * threads);
    job.z = take<R>(scratch, job.z_size * threads);
    if (call.shape.projected) {
        job.m = take<R>(scratch, n.h_blocks * job.capacity * W<R>);
        job.out_size = n.p_panels * job.capacity * PANEL<R> + 16;
        job.out = take<R>(scratch, job.out_size * threads);
    }
    job.everyone = make_barrier(scratch.take(barrier_bytes()), threads);
    job.group = static_cast<Barrier**>(scratch.take(sizeof(Barrier*) * plan.groups));
    for (int g = 0; g < plan.groups; g++)
        job.group[g] = make_barrier(scratch.take(barrier_bytes()), plan.splits);
    void (*work)(void*, int);
    if (call.gates)
        work = call.shape.projected ? forward_work<R, true, true> : forward_work<R, true, false>;
    else
        work = call.shape.projected ? forward_work<R, false, true> : forward_work<R, false, false>;
    return run_team(threads, work, &job);
}

template <class R>
void forward(const Forward<R>& call) {
    if (!run_forward(call, useful_threads<R>(call.shape, call.threads))) run_forward(call, 1);
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
