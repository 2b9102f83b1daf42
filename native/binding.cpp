// lstmkit._native: what Python sees of the native engine.
//
// No PyTorch headers: arrays pass as addresses (0: none), so one wheel serves every PyTorch version
// and nothing is ever copied in silence. Callers (lstmkit.kernels.native, lstmkit.runtime) check
// shapes, dtypes and strides first. The GIL is released while kernels run.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <tuple>

#include "cpu.h"
#include "pcap.h"
#include "plan.h"
#include "sessions.h"

namespace nb = nanobind;
using namespace lstmkit;

namespace {

using Address = uintptr_t;

template <class T>
T* at(Address a) {
    return reinterpret_cast<T*>(a);
}

// (T, B, I, H, P, projected, reverse)
using ShapeTuple = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, bool, bool>;

Shape shape_of(const ShapeTuple& s) {
    return {std::get<0>(s), std::get<1>(s), std::get<2>(s), std::get<3>(s),
            std::get<4>(s), std::get<5>(s), std::get<6>(s)};
}

// (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
using WeightTuple = std::tuple<Address, Address, Address, Address, Address>;

template <class R>
Weights<R> weights_of(const WeightTuple& w) {
    return {at<R>(std::get<0>(w)), at<R>(std::get<1>(w)), at<R>(std::get<2>(w)),
            at<R>(std::get<3>(w)), at<R>(std::get<4>(w))};
}

// (address, elements from step to step, elements from sample to sample)
using FrameTuple = std::tuple<Address, int64_t, int64_t>;

template <class R>
Frame<R> frame_of(const FrameTuple& f) {
    return {at<R>(std::get<0>(f)), std::get<1>(f), std::get<2>(f)};
}

Steps steps_of(const Shape& shape, Address lengths, Address resets) {
    const Steps steps{at<const int64_t>(lengths), at<const uint8_t>(resets)};
    for (int64_t b = 0; steps.lengths && b < shape.B; b++)
        if (steps.lengths[b] < 0 || steps.lengths[b] > shape.T)
            throw std::invalid_argument("a length is outside 0 .. T");
    return steps;
}

template <class R>
void forward(const ShapeTuple& shape, const WeightTuple& weights, Address lengths, Address resets,
             const FrameTuple& input, Address h0, Address c0, Address output, Address h_n,
             Address c_n, Address gates, Address cell, Address checkpoints,
             bool clear, int threads) {
    Forward<R> call;
    call.shape = shape_of(shape);
    call.weights = weights_of<const R>(weights);
    call.steps = steps_of(call.shape, lengths, resets);
    call.input = frame_of<const R>(input);
    call.h0 = at<const R>(h0);
    call.c0 = at<const R>(c0);
    call.output = at<R>(output);
    call.h_n = at<R>(h_n);
    call.c_n = at<R>(c_n);
    call.gates = at<R>(gates);
    call.cell = at<R>(cell);
    call.checkpoints = at<R>(checkpoints);
    call.clear = clear;
    call.threads = threads;
    if constexpr (sizeof(R) == 4)
        kernels().forward_f32(call);
    else
        kernels().forward_f64(call);
}

template <class R>
void backward(const ShapeTuple& shape, const WeightTuple& weights, Address lengths, Address resets,
              const FrameTuple& input, Address h0, Address c0, Address output, Address gates,
              Address cell, Address checkpoints, const FrameTuple& d_output,
              Address d_h_n, Address d_c_n, Address d_gates, Address d_cell, Address d_input,
              Address d_h0, Address d_c0, const WeightTuple& d_weights, int threads) {
    Backward<R> call;
    call.shape = shape_of(shape);
    call.weights = weights_of<const R>(weights);
    call.steps = steps_of(call.shape, lengths, resets);
    call.input = frame_of<const R>(input);
    call.h0 = at<const R>(h0);
    call.c0 = at<const R>(c0);
    call.output = at<const R>(output);
    call.gates = at<const R>(gates);
    call.cell = at<const R>(cell);
    call.checkpoints = at<const R>(checkpoints);
    call.d_output = frame_of<const R>(d_output);
    call.d_h_n = at<const R>(d_h_n);
    call.d_c_n = at<const R>(d_c_n);
    call.d_gates = at<const R>(d_gates);
    call.d_cell = at<const R>(d_cell);
    call.d_input = at<R>(d_input);
    call.d_h0 = at<R>(d_h0);
    call.d_c0 = at<R>(d_c0);
    call.d_weights = weights_of<R>(d_weights);
    call.threads = threads;
    if constexpr (sizeof(R) == 4)
        kernels().backward_f32(call);
    else
        kernels().backward_f64(call);
}

int64_t checkpoints(const ShapeTuple& tuple, Address lengths) {
    const Shape shape = shape_of(tuple);
    return checkpoint_count(shape, steps_of(shape, lengths, 0));
}

void product(int64_t m, int64_t n, int64_t k, Address a, Address b, Address c) {
    kernels().product(m, n, k, at<const float>(a), at<const float>(b), at<float>(c));
}

}  // namespace

NB_MODULE(_native, m) {
    using Free = nb::call_guard<nb::gil_scoped_release>;
    m.doc() = "The native engine of lstmkit. Arguments: native/contract.h.";
    m.def("instruction_sets", &instruction_sets,
          "Vector instruction sets of this CPU that the operating system lets a program use, "
          "narrowest first.");
    m.def("instruction_set", [] { return std::string(kernels().name); },
          "The instruction set whose kernels are in use.");
    m.def("use", &use_kernels, nb::arg("instruction_set"),
          "Take the kernels of another set of instruction_sets() from now on.");
    m.def("compiler", &compiler, "Name and version of the compiler that built this.");
    m.def("forward_f32", &forward<float>, Free());
    m.def("forward_f64", &forward<double>, Free());
    m.def("backward_f32", &backward<float>, Free());
    m.def("backward_f64", &backward<double>, Free());
    m.def("checkpoint_count", &checkpoints);
    m.def("product_f32", &product, Free());
    m.def("peak_f32", [](int64_t rounds) { return kernels().peak(rounds); }, Free(),
          "Multiply-adds in registers alone, on one thread; returns how many operations.");
    bind_runtime(m);
    bind_pcap(m);
}
