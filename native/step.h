// One step with weights packed once: what a stream runs. The same products in the same order as
// forward.h, so a stream has the bits of the whole sequence.

#pragma once

#include "forward.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

template <class R>
int64_t packed_size(const Shape& shape) {
    return PackedForward<R>::count(Sizes<R>(shape), shape.projected);
}

template <class R>
void pack(const Shape& shape, const Weights<const R>& weights, R* packed) {
    const Sizes<R> n(shape);
    PackedForward<R>(n, shape.projected, packed).pack(n, weights, 0, 1);
}

template <class R>
int64_t scratch_size(const Shape& shape) {
    const Sizes<R> n(shape);
    const int64_t blocked = (n.i_blocks + n.p_blocks + n.h_blocks) * W<R>;
    return shape.B * (blocked + (n.z_panels + n.p_panels) * PANEL<R>);
}

template <class R>
void step(const Step<R>& call) {
    const Sizes<R> n(call.shape);
    const int64_t B = call.shape.B, block = B * W<R>, panel = B * PANEL<R>;
    const PackedForward<R> w(n, call.shape.projected, const_cast<R*>(call.packed));
    R* x = call.scratch;
    R* h = x + n.i_blocks * block;
    R* m = h + n.p_blocks * block;
    R* z = m + n.h_blocks * block;
    R* out = z + n.z_panels * panel;
    for (int64_t b = 0; b < B; b++) {
        put_row(x + b * W<R>, block, call.x + b * n.I, n.I);
        put_row(h + b * W<R>, block, call.h + b * n.P, n.P);
    }
    multiply(Product<R>{x, block, w.ih, w.ih_panel, z, panel, w.bias, PANEL<R>, 0, n.i_blocks}, B,
             n.z_panels);
    multiply(Product<R>{h, block, w.hh, w.hh_panel, z, panel, z, panel, PANEL<R>, n.p_blocks}, B,
             n.z_panels);
    for (int64_t u = 0; u < n.h_blocks; u++)
        for (int64_t b = 0; b < B; b++) {
            R* c = call.c + b * n.H + u * W<R>;
            const int64_t width = n.H - u * W<R>;
            const Cell<R> cell =
                cell_of<R>(z + u * Z_PANELS * panel + b * PANEL<R>, panel, load(c, width));
            store(c, cell.c, width);
            const Vec<R> h_new = shown<R>(cell.o, cell.c);
            if (call.shape.projected)
                store(m + (u * B + b) * W<R>, h_new);
            else
                store(call.h + b * n.H + u * W<R>, h_new, width);
        }
    if (!call.shape.projected) return;
    multiply(Product<R>{m, block, w.hr, w.hr_panel, out, panel, nullptr, 0, 0, n.h_blocks}, B,
             n.p_panels);
    for (int64_t b = 0; b < B; b++)
        for (int64_t k = 0; k < n.P; k += W<R>)
            store(call.h + b * n.P + k,
                  load(out + k / PANEL<R> * panel + b * PANEL<R> + k % PANEL<R>), n.P - k);
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
