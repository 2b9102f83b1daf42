// THE sequence operation of one layer in one direction, as lstmkit/kernels/contract.py states it:
// what the kernels read, what they write, and who owns it.
//
// Letters: T steps, B samples, I inputs, H cells, P hidden units (H without projection). Gate order
// i f g o. All memory belongs to the caller. Results alias neither an argument nor each other.
// Pointers need the alignment of their element only. Unless a Frame says otherwise, arrays are
// contiguous, last index fastest. All sizes are 64 bits wide.

#pragma once

#include <cstdint>

namespace lstmkit {

struct Shape {
    int64_t T, B, I, H, P;
    bool projected;  // weight_hr is there; otherwise P == H
    bool reverse;    // from the last valid step to the first
};

// A (T, B, n) tensor whose last index is contiguous: row (t, b) is at data + t * step + b * sample.
template <class R>
struct Frame {
    R* data = nullptr;
    int64_t step = 0, sample = 0;
    R* row(int64_t t, int64_t b) const { return data + t * step + b * sample; }
};

template <class R>
struct Weights {
    R* ih = nullptr;       // (4H, I)
    R* hh = nullptr;       // (4H, P)
    R* bias_ih = nullptr;  // (4H) or null
    R* bias_hh = nullptr;  // (4H) or null
    R* hr = nullptr;       // (P, H) or null
};

// Step t of sample b is valid where t < lengths[b] (all are where lengths is null). resets (T, B)
// marks first steps of segments, or is null.
struct Steps {
    const int64_t* lengths = nullptr;  // (B)
    const uint8_t* resets = nullptr;   // (T, B)
};

template <class R>
struct Forward {
    Shape shape;
    Weights<const R> weights;
    Steps steps;
    Frame<const R> input;                   // (T, B, I)
    const R *h0 = nullptr, *c0 = nullptr;   // (B, P), (B, H)
    R* output = nullptr;                    // (T, B, P), 0 in padding
    R *h_n = nullptr, *c_n = nullptr;       // (B, P), (B, H)
    R* gates = nullptr;                     // (T, B, 4, H) or null: not kept
    R* cell = nullptr;                      // (T, B, H), where gates are kept
    R* checkpoints = nullptr;               // (checkpoint_count, B, H) or null: cells that the first
                                            // steps of backward's chunks met
    bool clear = false;                     // write 0 to gates and cell in padding too
    int threads = 1;
};

// Gradients: d_x is that of the loss with respect to x. What is null is zero (of results), or not
// wanted (of arguments).
template <class R>
struct Backward {
    Shape shape;
    Weights<const R> weights;
    Steps steps;
    Frame<const R> input;
    const R *h0 = nullptr, *c0 = nullptr;
    const R *output = nullptr, *gates = nullptr, *cell = nullptr;  // as forward left them
    const R* checkpoints = nullptr;  // instead of gates and cell: they are computed again
    Frame<const R> d_output;
    const R *d_h_n = nullptr, *d_c_n = nullptr;
    const R *d_gates = nullptr, *d_cell = nullptr;
    R* d_input = nullptr;  // (T, B, I), 0 in padding
    R *d_h0 = nullptr, *d_c0 = nullptr;
    Weights<R> d_weights;
    int threads = 1;
};

// --- packed weights -------------------------------------------------------------------------------
// What steps and linear layers run on: weights packed once, in one of three precisions. bfloat16 ones
// come as float32 numbers whose lower halves are 0, int8 ones as whole numbers -127 .. 127 with a
// scale for each row of the matrix. Packed memory is 64 bytes aligned.

enum class Precision : int32_t { float32, bfloat16, int8 };

struct Scales {
    const float *ih = nullptr, *hh = nullptr, *hr = nullptr;  // (4H), (4H), (P); int8 only
};

// One step of B samples on the calling thread, without allocating. `packed` is what Kernels::pack
// made of the weights; `scratch` is for this call alone. new_h and new_c may be h and c.
struct Step {
    Shape shape;  // T is 1
    Precision precision = Precision::float32;
    const void* packed = nullptr;
    float* scratch = nullptr;
    const float* x = nullptr;                 // (B, I)
    const float *h = nullptr, *c = nullptr;   // (B, P), (B, H)
    float *new_h = nullptr, *new_c = nullptr;
};

struct LinearShape {
    int64_t K, N;
    Precision precision;
};

struct LinearWeights {
    const float* weight = nullptr;  // (N, K)
    const float* bias = nullptr;    // (N) or null
    const float* scale = nullptr;   // (N); int8 only
};

// y (rows, N) = x (rows, K) weight^T + bias, as a Step.
struct Linear {
    LinearShape shape;
    const void* packed = nullptr;
    float* scratch = nullptr;
    int64_t rows = 0;
    const float* x = nullptr;
    float* y = nullptr;
};

}  // namespace lstmkit
