// Runs the steps of one entry point of a program (lstmkit/program.py): what lstmkit/runtime/plan.py
// made of its operations, once, for any batch. No Python, no exceptions but where said, no
// allocation after a thread's first run of a size, no lock: any number of threads may run one
// machine.
//
// Memory. A value of a sample has `size` floats; that of B samples stands in one piece at
// arena + offset * B, sample after sample, offset a multiple of 16. Constants stand in a store of
// their own. The arena belongs to the thread.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"

namespace lstmkit {

enum class Operation : int32_t {
    copy,           // x by strides into out by strides
    binary,         // x, y by strides into out
    where,          // x where the condition (w) is not 0, else y, by strides
    unary,          // elementwise
    reduce,         // sum or mean along an axis
    softmax,        // along an axis
    sort,           // the last axis, ascending, NaN last
    layer_norm,     // the last axis; y weight, z bias
    instance_norm,  // x, mask y; out, mean, scale
    embedding,      // rows of a packed table
    linear,
    cell,           // one step of an LSTM: x, h, c; new h, new c
    lstm,           // a sequence: x, h0, c0, lengths, resets; y, h, c
    log_softmax,    // along an axis
    count
};

enum class Binary : int32_t { add, subtract, multiply, divide, maximum, minimum, count };
enum class Unary : int32_t { tanh, sigmoid, relu, softplus, exp, abs, sqrt, affine, count };
enum class Reduce : int32_t { sum, mean, count };

// Where a value stands: a constant, or a value of the arena; none where offset < 0.
struct Place {
    int64_t offset = -1;
    bool constant = false;
};

struct Instruction {
    Operation operation;
    std::vector<Place> in, out;
    std::vector<int64_t> numbers;  // sizes and strides; what they are stands at each operation
    std::vector<float> factors;
};

// Weights of a cell, a linear operation or a table, packed once and shared by machines.
class Packed {
  public:
    // From arrays that live as long as the call. Raise std::bad_alloc.
    Packed(const Shape&, Precision, const Weights<const float>&, const Scales&);
    Packed(const LinearShape&, const LinearWeights&);
    Packed(const float* table, int64_t size);
    ~Packed();
    Packed(const Packed&) = delete;
    Packed& operator=(const Packed&) = delete;

    Shape shape{};  // of a cell
    Precision precision = Precision::float32;
    LinearShape linear{};  // of a linear operation
    const void* memory() const { return memory_; }
    double work() const;   // multiplications of a step, or of a row

  private:
    char* memory_;
};

enum class Element : int32_t { float32, int32, int64, boolean };

// An input or output of the entry point, `size` elements a sample.
struct Port {
    int64_t offset, size;
    Element element;
};

// A slot: where it stands in a session's state and in the arena, before and after; -1 where the
// entry point does not read it, or leaves it as it is.
struct SlotPlace {
    int64_t state, size, before, after;
};

class Machine {
  public:
    // Raises std::bad_alloc.
    Machine(int64_t arena_size, std::vector<float> constants, std::vector<Instruction> code,
            std::vector<std::shared_ptr<const Packed>> packed, std::vector<Port> inputs,
            std::vector<Port> outputs, std::vector<SlotPlace> slots, int64_t state_size);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    int64_t state_size() const { return state_size_; }
    int64_t arena_size() const { return arena_size_; }
    int64_t instructions() const { return static_cast<int64_t>(code_.size()); }
    const std::vector<Port>& inputs() const { return inputs_; }
    const std::vector<Port>& outputs() const { return outputs_; }
    double work() const { return work_; }  // multiplications of a sample, about
    bool refuses() const { return refuses_; }  // whether `run` may raise std::invalid_argument

    // B samples whose states stand at states[0 .. B); all of them are read before any is written.
    // Raises std::invalid_argument, nothing written, where an index or a length is out of range;
    // std::bad_alloc.
    void run(int64_t B, const void* const* inputs, float* const* states,
             float* const* outputs) const;

    // Instructions [first, last) on the caller's arena, of arena_size() * B floats, 64 bytes aligned.
    void execute(int64_t first, int64_t last, int64_t B, float* arena) const;

  private:
    const float* at(const Place& p, int64_t B, const float* arena) const {
        return p.offset < 0 ? nullptr : p.constant ? constants_.data() + p.offset
                                                   : arena + p.offset * B;
    }
    void perform(const Instruction&, int64_t B, float* arena) const;
    void perform_cell(const Instruction&, int64_t B, float* arena) const;
    void perform_lstm(const Instruction&, int64_t B, float* arena) const;

    const Kernels& kernels_;
    int64_t arena_size_, state_size_;
    std::vector<float> constants_;
    std::vector<Instruction> code_;
    std::vector<std::shared_ptr<const Packed>> packed_;
    std::vector<Port> inputs_, outputs_;
    std::vector<SlotPlace> slots_;
    double work_ = 0;
    bool refuses_ = false;
};

}  // namespace lstmkit
