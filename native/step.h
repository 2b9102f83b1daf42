// One step with weights packed once: what a stream runs. In float32 the same products in the same
// order as forward.h, so a stream has the bits of the whole sequence.

#pragma once

#include "forward.h"
#include "matrix.h"

namespace lstmkit {
namespace LSTMKIT_ISA {
namespace {

struct PackedCell {
    float* bias;
    Matrix ih, hh, hr;

    PackedCell(const Shape& s, Precision precision, void* memory)
        : PackedCell(Sizes<float>(s), s, precision, memory) {}
    PackedCell(const Sizes<float>& n, const Shape& s, Precision precision, void* memory)
        : bias(static_cast<float*>(memory)),
          ih(precision, s.I, n.z_panels, bias + n.z_panels * PANEL<float>),
          hh(precision, s.P, n.z_panels, ih.data + ih.bytes()),
          hr(precision, s.H, n.p_panels, hh.data + hh.bytes()) {}
    int64_t bytes(bool projected) const {
        return ih.panels * PANEL<float> * 4 + ih.bytes() + hh.bytes() + (projected ? hr.bytes() : 0);
    }
};

int64_t packed_bytes(const Shape& shape, Precision precision) {
    return PackedCell(shape, precision, nullptr).bytes(shape.projected);
}

// Floats that one panel takes while it is packed.
int64_t panel_floats(int64_t k) { return blocks(k, W<float>) * W<float> * PANEL<float>; }

void pack(const Shape& shape, Precision precision, const Weights<const float>& w,
          const Scales& scales, void* memory, float* panel) {
    const Sizes<float> n(shape);
    const PackedCell packed(shape, precision, memory);
    for (int64_t p = 0; p < n.z_panels; p++) {
        pack_gates(panel, w.ih, n.H, n.I, p);
        narrow(packed.ih, p, panel);
        pack_gates(panel, w.hh, n.H, n.P, p);
        narrow(packed.hh, p, panel);
        for (int c = 0; c < PANEL<float>; c++) {
            const int64_t unit = p / Z_PANELS * W<float> + c % W<float>;
            const int64_t k = (p % Z_PANELS * NV + c / W<float>)*n.H + unit;
            float b = 0;
            if (unit < n.H && w.bias_ih) b += w.bias_ih[k];
            if (unit < n.H && w.bias_hh) b += w.bias_hh[k];
            packed.bias[p * PANEL<float> + c] = b;
            if (precision != Precision::int8) continue;
            packed.ih.scale[p * PANEL<float> + c] = unit < n.H ? scales.ih[k] : 0;
            packed.hh.scale[p * PANEL<float> + c] = unit < n.H ? scales.hh[k] : 0;
        }
    }
    for (int64_t p = 0; shape.projected && p < n.p_panels; p++) {
        pack_rows(panel, w.hr, n.P, n.H, p);
        narrow(packed.hr, p, panel);
        for (int64_t c = p * PANEL<float>; c < (p + 1) * PANEL<float>; c++)
            if (precision == Precision::int8) packed.hr.scale[c] = c < n.P ? scales.hr[c] : 0;
    }
}

// Where a step keeps what.
struct StepScratch {
    float *z, *out;
    Rows x, h, m;
    int64_t floats;

    StepScratch(const Sizes<float>& n, int64_t B, bool projected, float* memory)
        : z(memory),
          out(z + B * n.z_panels * PANEL<float>),
          x(out + (projected ? B * n.p_panels * PANEL<float> : 0), B, n.I),
          h(x.blocked + blocks(Rows::floats(B, n.I), 16) * 16, B, n.P),
          m(h.blocked + blocks(Rows::floats(B, n.P), 16) * 16, B, n.H) {
        floats = m.blocked - memory + (projected ? Rows::floats(B, n.H) : 0);
    }
};

int64_t scratch_floats(const Shape& shape) {
    float* const nothing = nullptr;
    return StepScratch(Sizes<float>(shape), shape.B, shape.projected, nothing).floats;
}

// The cells of one block of units of sample b.
INLINE void step_block(const Step& call, const Sizes<float>& n, const StepScratch& s, int64_t u,
                       int64_t b) {
    const int64_t panel = call.shape.B * PANEL<float>, width = n.H - u * W<float>;
    const int64_t at = b * n.H + u * W<float>;
    const Cell<float> cell = cell_of<float>(s.z + u * Z_PANELS * panel + b * PANEL<float>, panel,
                                            load(call.c + at, width));
    store(call.new_c + at, cell.c, width);
    const Vec<float> h = shown<float>(cell.o, cell.c);
    if (call.shape.projected)
        store(s.m.blocked + u * s.m.step + b * W<float>, h);
    else
        store(call.new_h + at, h, width);
}

void step(const Step& call) {
    const Sizes<float> n(call.shape);
    const int64_t B = call.shape.B, panel = B * PANEL<float>;
    const PackedCell w(call.shape, call.precision, const_cast<void*>(call.packed));
    const StepScratch s(n, B, call.shape.projected, call.scratch);
    for (int64_t b = 0; b < B; b++) {
        put_row(s.x, call.precision, b, call.x + b * n.I, n.I);
        put_row(s.h, call.precision, b, call.h + b * n.P, n.P);
    }
    multiply(w.ih, s.x, B, {s.z, panel, w.bias, PANEL<float>, 0});
    multiply(w.hh, s.h, B, {s.z, panel, s.z, panel, PANEL<float>});
    for (int64_t u = 0; u < n.h_blocks; u++)
        for (int64_t b = 0; b < B; b++) step_block(call, n, s, u, b);
    if (!call.shape.projected) return;
    for (int64_t b = 0; b < B && call.precision == Precision::int8; b++)
        round_row(s.m, b, n.h_blocks);
    multiply(w.hr, s.m, B, {s.out, panel, nullptr, 0, 0});
    for (int64_t b = 0; b < B; b++)
        for (int64_t k = 0; k < n.P; k += W<float>)
            store(call.new_h + b * n.P + k,
                  load(s.out + k / PANEL<float> * panel + b * PANEL<float> + k % PANEL<float>),
                  n.P - k);
}

}  // namespace
}  // namespace LSTMKIT_ISA
}  // namespace lstmkit
