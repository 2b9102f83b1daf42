// The kernels as each instruction set implements them.

#pragma once

#include "contract.h"

namespace lstmkit {

struct Kernels {
    const char* name;
    void (*forward_f32)(const Forward<float>&);
    void (*forward_f64)(const Forward<double>&);
    void (*backward_f32)(const Backward<float>&);
    void (*backward_f64)(const Backward<double>&);
    // Bytes that packed weights take; floats, 64 bytes aligned, of the scratch of B samples' step.
    int64_t (*packed_bytes)(const Shape&, Precision);
    int64_t (*scratch_floats)(const Shape&);
    void (*step)(const Step&);
    int64_t (*linear_bytes)(const LinearShape&);
    int64_t (*linear_scratch)(const LinearShape&, int64_t rows);
    void (*linear)(const Linear&);
    // Packing takes panel_floats(widest k), 64 bytes aligned, for itself.
    int64_t (*panel_floats)(int64_t k);
    void (*pack)(const Shape&, Precision, const Weights<const float>&, const Scales&, void* packed,
                 float* panel);
    void (*pack_linear)(const LinearShape&, const LinearWeights&, void* packed, float* panel);
    void (*tanh)(const float* x, float* y, int64_t n);
    void (*sigmoid)(const float* x, float* y, int64_t n);
    // y = exp((x - shift) * scale), at least 1e-38.
    void (*exponentials)(const float* x, float shift, float scale, float* y, int64_t n);
    // The product that all of these are made of, for measuring: c (m, n) = a (m, k) b (k, n).
    void (*product)(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c);
    // Multiplies and adds as fast as this CPU can, without memory. Returns the operations.
    double (*peak)(int64_t rounds);
};

}  // namespace lstmkit
