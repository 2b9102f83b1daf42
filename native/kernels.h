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
    // Floats, 64 bytes aligned, that packed weights take, and the scratch of a step of B samples.
    int64_t (*packed_size)(const Shape&);
    int64_t (*scratch_size)(const Shape&);
    void (*pack)(const Shape&, const Weights<const float>&, float* packed);
    void (*step)(const Step<float>&);
    // The product that all of these are made of, for measuring: c (m, n) = a (m, k) b (k, n).
    void (*product)(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c);
    // Multiplies and adds as fast as this CPU can, without memory. Returns the operations.
    double (*peak)(int64_t rounds);
};

}  // namespace lstmkit
