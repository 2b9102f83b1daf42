#include "sessions.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <tuple>

#include "machine.h"
#include "sampling.h"

namespace nb = nanobind;

namespace lstmkit {
namespace {

using Address = uintptr_t;
using PlaceTuple = std::pair<int64_t, bool>;

// Where less work than this (multiplications) is ahead, to let other threads run costs more.
constexpr double WORTH_RELEASING = 300000;

class Released {
  public:
    explicit Released(double work) : state_(work > WORTH_RELEASING ? PyEval_SaveThread() : nullptr) {}
    ~Released() {
        if (state_) PyEval_RestoreThread(state_);
    }

  private:
    PyThreadState* state_;
};

// --- building -------------------------------------------------------------------------------------

Place place_of(const PlaceTuple& p) { return {p.first, p.second}; }

std::vector<Place> places_of(const std::vector<PlaceTuple>& given) {
    std::vector<Place> found;
    for (const PlaceTuple& p : given) found.push_back(place_of(p));
    return found;
}

// (operation, in, out, numbers, factors)
using InstructionTuple = std::tuple<int, std::vector<PlaceTuple>, std::vector<PlaceTuple>,
                                    std::vector<int64_t>, std::vector<float>>;

std::vector<Instruction> code_of(const std::vector<InstructionTuple>& given) {
    std::vector<Instruction> found;
    for (const auto& [operation, in, out, numbers, factors] : given) {
        if (operation < 0 || operation >= static_cast<int>(Operation::count))
            throw std::invalid_argument("no such instruction");
        found.push_back({static_cast<Operation>(operation), places_of(in), places_of(out), numbers,
                         factors});
    }
    return found;
}

const float* floats_at(Address a) { return reinterpret_cast<const float*>(a); }

// All addresses are of float32 arrays, 0 for none.
using Addresses = std::vector<Address>;

// sizes: I, H, P, projected, reverse; weights: ih, hh, bias_ih, bias_hh, hr; scales: ih, hh, hr.
std::shared_ptr<const Packed> packed_cell(int precision, const std::vector<int64_t>& n,
                                          const Addresses& weights, const Addresses& scales) {
    const auto w = [&](size_t k) { return floats_at(weights[k]); };
    const auto s = [&](size_t k) { return floats_at(scales[k]); };
    return std::make_shared<const Packed>(
        Shape{1, 1, n[0], n[1], n[2], n[3] != 0, n[4] != 0}, static_cast<Precision>(precision),
        Weights<const float>{w(0), w(1), w(2), w(3), w(4)}, Scales{s(0), s(1), s(2)});
}

// sizes: K, N; weights: weight, bias; scales: weight.
std::shared_ptr<const Packed> packed_linear(int precision, const std::vector<int64_t>& n,
                                            const Addresses& weights, const Addresses& scales) {
    return std::make_shared<const Packed>(
        LinearShape{n[0], n[1], static_cast<Precision>(precision)},
        LinearWeights{floats_at(weights[0]), floats_at(weights[1]), floats_at(scales[0])});
}

// sizes: how many numbers; weights: the table.
std::shared_ptr<const Packed> packed_table(int, const std::vector<int64_t>& n,
                                           const Addresses& weights, const Addresses&) {
    return std::make_shared<const Packed>(floats_at(weights[0]), n[0]);
}

using SharedWeights = std::vector<std::shared_ptr<const Packed>>;

// (offset, size, element)
using PortTuple = std::tuple<int64_t, int64_t, int>;

std::vector<Port> ports_of(const std::vector<PortTuple>& given) {
    std::vector<Port> found;
    for (const auto& [offset, size, element] : given)
        found.push_back({offset, size, static_cast<Element>(element)});
    return found;
}

// (offset in the state, size, before, after)
using SlotTuple = std::tuple<int64_t, int64_t, int64_t, int64_t>;

std::vector<SlotPlace> slots_of(const std::vector<SlotTuple>& given) {
    std::vector<SlotPlace> found;
    for (const auto& [state, size, before, after] : given)
        found.push_back({state, size, before, after});
    return found;
}

std::vector<float> constants_of(const std::vector<std::pair<Address, int64_t>>& given) {
    std::vector<float> found;
    for (const auto& [address, count] : given) {
        const auto* from = reinterpret_cast<const float*>(address);
        found.insert(found.end(), from, from + count);
    }
    return found;
}

constexpr int64_t WIDTHS[] = {4, 4, 8, 1};  // bytes of an Element

// A machine and how Python makes the array of its only output: a call without arguments.
struct BoundMachine {
    Machine machine;
    nb::object make_output;

    BoundMachine(int64_t arena_size, const std::vector<std::pair<Address, int64_t>>& constants,
                 const std::vector<InstructionTuple>& code, const SharedWeights& packed,
                 const std::vector<PortTuple>& inputs,
                 const std::vector<std::pair<int64_t, int64_t>>& outputs,
                 const std::vector<SlotTuple>& slots, int64_t state_size, nb::object make_output)
        : machine(arena_size, constants_of(constants), code_of(code), packed, ports_of(inputs), output_ports(outputs), slots_of(slots), state_size),
          make_output(std::move(make_output)) {}

    static std::vector<Port> output_ports(const std::vector<std::pair<int64_t, int64_t>>& given) {
        std::vector<Port> found;
        for (const auto& [offset, size] : given) found.push_back({offset, size, Element::float32});
        return found;
    }
};

// --- sessions -------------------------------------------------------------------------------------

// The state of one session: floats, and whether a thread is at work on it.
class Core {
  public:
    explicit Core(const BoundMachine* step, int64_t size)
        : step_(step), size_(size), state_(new float[static_cast<size_t>(size)]()) {}
    ~Core() { delete[] state_; }
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    float* state() const { return state_; }
    nb::bytes get();
    void set(const nb::bytes& state);
    bool seize() { return !busy_.exchange(true, std::memory_order_acquire); }
    void free() { busy_.store(false, std::memory_order_release); }

    nb::object step(nb::handle x, nb::handle out);

  private:
    size_t bytes() const { return static_cast<size_t>(size_) * sizeof(float); }

    const BoundMachine* step_;  // Session keeps it alive
    int64_t size_;
    float* state_;
    std::atomic<bool> busy_{false};
};

// Sessions that this thread works on. Raises std::runtime_error where another does.
class Seized {
  public:
    explicit Seized(std::vector<Core*> cores) : cores_(std::move(cores)) {
        for (; held_ < cores_.size(); held_++)
            if (!cores_[held_]->seize()) {
                release();
                throw std::runtime_error("a session is in use by another thread, or given twice");
            }
    }
    ~Seized() { release(); }

  private:
    void release() {
        while (held_ > 0) cores_[--held_]->free();
    }
    std::vector<Core*> cores_;
    size_t held_ = 0;
};

class SeizedOne {
  public:
    explicit SeizedOne(Core* core) : core_(core) {
        if (!core->seize())
            throw std::runtime_error("a session is in use by another thread, or given twice");
    }
    ~SeizedOne() { core_->free(); }

  private:
    Core* core_;
};

// The memory of a contiguous array of `size` float32 numbers in one dimension; null where an object
// is something else, without a Python error.
class FloatView {
  public:
    FloatView(nb::handle object, int64_t size, bool writable) {
        const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
            PyErr_Clear();
            return;
        }
        held_ = true;
        const bool fits = view_.ndim == 1 && view_.itemsize == 4 && view_.shape[0] == size &&
                          view_.format && view_.format[0] == 'f' && view_.format[1] == 0;
        data = fits ? static_cast<float*>(view_.buf) : nullptr;
    }
    ~FloatView() {
        if (held_) PyBuffer_Release(&view_);
    }
    FloatView(const FloatView&) = delete;
    FloatView& operator=(const FloatView&) = delete;
    float* data = nullptr;

  private:
    Py_buffer view_;
    bool held_ = false;
};

nb::bytes Core::get() {
    const SeizedOne mine(this);
    return nb::bytes(state_, bytes());
}

void Core::set(const nb::bytes& state) {
    if (state.size() != bytes()) throw std::invalid_argument("a state of another size");
    const SeizedOne mine(this);
    memcpy(state_, state.c_str(), bytes());
}

// One step where input and output are one vector of float32 each; None, nothing done, where they
// are not: the caller then finds out why.
nb::object Core::step(nb::handle x, nb::handle out) {
    const Machine& machine = step_->machine;
    const FloatView input(x, machine.inputs()[0].size, false);
    if (!input.data) return nb::none();
    nb::object answer = out.is_none() ? step_->make_output() : nb::borrow(out);
    const FloatView output(answer, machine.outputs()[0].size, true);
    if (!output.data) return nb::none();
    const void* inputs[] = {input.data};
    float* const outputs[] = {output.data};
    const SeizedOne mine(this);
    const Released released(machine.work());
    machine.run(1, inputs, &state_, outputs);
    return answer;
}

// --- many -----------------------------------------------------------------------------------------

constexpr int64_t AT_ONCE_FLOATS = 64 << 10;  // of arena: what the L2 cache holds beside weights

std::vector<Core*> cores_of(nb::sequence sessions) {
    std::vector<Core*> found;
    found.reserve(nb::len(sessions));
    for (nb::handle session : sessions) found.push_back(nb::inst_ptr<Core>(session));
    return found;
}

// Rows of contiguous inputs and outputs, from one of them on.
struct Rows {
    const Machine& machine;
    const std::vector<Address>&inputs, &outputs;
    std::vector<const void*> in;
    std::vector<float*> out;

    Rows(const Machine& machine, const std::vector<Address>& inputs,
         const std::vector<Address>& outputs)
        : machine(machine), inputs(inputs), outputs(outputs), in(inputs.size()), out(outputs.size()) {}
    void seek(int64_t first) {
        for (size_t k = 0; k < in.size(); k++) {
            const Port& port = machine.inputs()[k];
            in[k] = reinterpret_cast<const char*>(inputs[k]) +
                    first * port.size * WIDTHS[static_cast<int>(port.element)];
        }
        for (size_t k = 0; k < out.size(); k++)
            out[k] = reinterpret_cast<float*>(outputs[k]) + first * machine.outputs()[k].size;
    }
};

// B samples from contiguous inputs to contiguous outputs, as many at a time as the caches hold;
// state(b) is where the state of sample b stands.
template <class State>
void run_samples(const Machine& machine, int64_t B, const std::vector<Address>& inputs,
                 const std::vector<Address>& outputs, State state) {
    const int64_t at_once =
        std::clamp<int64_t>(AT_ONCE_FLOATS / std::max<int64_t>(machine.arena_size(), 1), 1, 192);
    Rows rows(machine, inputs, outputs);
    std::vector<float*> states(static_cast<size_t>(at_once));
    for (int64_t first = 0; first < B; first += at_once) {
        const int64_t count = std::min(at_once, B - first);
        rows.seek(first);
        for (int64_t b = 0; b < count; b++) states[static_cast<size_t>(b)] = state(first + b);
        machine.run(count, rows.in.data(), states.data(), rows.out.data());
    }
}

// One step of every session, or of none. Inputs (B, ...) and outputs (B, ...) by address.
void step_many(const BoundMachine& bound, nb::sequence sessions, const std::vector<Address>& inputs,
               const std::vector<Address>& outputs) {
    const std::vector<Core*> cores = cores_of(sessions);
    const Seized mine(cores);
    const auto B = static_cast<int64_t>(cores.size());
    const Released released(bound.machine.work() * double(B));
    const auto state = [&](int64_t b) { return cores[static_cast<size_t>(b)]->state(); };
    if (!bound.machine.refuses()) return run_samples(bound.machine, B, inputs, outputs, state);
    // Samples go in pieces: where a later one is refused, the earlier go back to where they were.
    const auto size = static_cast<size_t>(bound.machine.state_size());
    std::vector<float> before(size * cores.size());
    for (int64_t b = 0; b < B; b++)
        std::copy_n(state(b), size, before.data() + static_cast<size_t>(b) * size);
    try {
        run_samples(bound.machine, B, inputs, outputs, state);
    } catch (...) {
        for (int64_t b = 0; b < B; b++)
            std::copy_n(before.data() + static_cast<size_t>(b) * size, size, state(b));
        throw;
    }
}

// T steps of one session. Inputs (T, ...) and outputs (T, ...) by address. Raises as Machine::run;
// the steps before the bad one are done.
int64_t step_along(const BoundMachine& bound, Core& core, int64_t T,
                   const std::vector<Address>& inputs, const std::vector<Address>& outputs) {
    const SeizedOne mine(&core);
    const Machine& machine = bound.machine;
    const Released released(machine.work() * double(T));
    Rows rows(machine, inputs, outputs);
    float* const state = core.state();
    for (int64_t t = 0; t < T; t++) {
        rows.seek(t);
        machine.run(1, rows.in.data(), &state, rows.out.data());
    }
    return T;
}

// B samples with their states (B, state_size) by address, changed in place.
void run_batch(const BoundMachine& bound, int64_t B, const std::vector<Address>& inputs,
               Address states, const std::vector<Address>& outputs) {
    const int64_t size = bound.machine.state_size();
    const Released released(bound.machine.work() * double(B));
    run_samples(bound.machine, B, inputs, outputs,
                [&](int64_t b) { return reinterpret_cast<float*>(states) + b * size; });
}

// Where the streams of a generation stand: pending tokens, seeds, numbers drawn (B each); what they
// drew, (B, count) each, and how many (B).
struct Streams {
    int64_t *pending, *seeds, *drawn, *tokens;
    float* log_probs;
    int64_t* lengths;
};

// Draws up to `count` tokens for each of B sessions of one model, whose only input is a token and
// whose only output are the logits of the next; a stream ends after a token of `stop`. Raises as
// Machine::run and Sampler::draw, the tokens before are drawn.
void generate(const BoundMachine& bound, nb::sequence sessions, Sampler& sampler, int64_t count,
              const std::vector<Address>& streams, std::vector<Recent> recent,
              const std::vector<int64_t>& stop) {
    const std::vector<Core*> cores = cores_of(sessions);
    const Seized mine(cores);
    const auto array = [&](size_t k) { return reinterpret_cast<int64_t*>(streams[k]); };
    const Streams s{array(0), array(1), array(2), array(3), reinterpret_cast<float*>(streams[4]),
                    array(5)};
    const Machine& machine = bound.machine;
    const int64_t V = machine.outputs()[0].size;
    std::vector<int64_t> active(cores.size()), given(cores.size());
    for (size_t b = 0; b < cores.size(); b++) active[b] = static_cast<int64_t>(b);
    std::vector<float> logits(cores.size() * static_cast<size_t>(V));
    const std::vector<Address> in{reinterpret_cast<Address>(given.data())};
    const std::vector<Address> out{reinterpret_cast<Address>(logits.data())};
    const Released released(machine.work() * double(count) * double(cores.size()));
    for (int64_t t = 0; t < count && !active.empty(); t++) {
        for (size_t k = 0; k < active.size(); k++) given[k] = s.pending[active[k]];
        run_samples(machine, static_cast<int64_t>(active.size()), in, out, [&](int64_t k) {
            return cores[static_cast<size_t>(active[static_cast<size_t>(k)])]->state();
        });
        std::vector<int64_t> going;
        for (size_t k = 0; k < active.size(); k++) {
            const int64_t b = active[k];
            Recent& before = recent[static_cast<size_t>(b)];
            const Drawn one = sampler.draw(logits.data() + k * static_cast<size_t>(V), before,
                                           static_cast<uint64_t>(s.seeds[b]),
                                           static_cast<uint64_t>(s.drawn[b]));
            s.drawn[b]++;
            s.pending[b] = s.tokens[b * count + t] = one.token;
            s.log_probs[b * count + t] = one.log_prob;
            s.lengths[b] = t + 1;
            if (sampler.options().repetition_penalty != 1) before.push_back(one.token);
            if (std::find(stop.begin(), stop.end(), one.token) == stop.end()) going.push_back(b);
        }
        active = std::move(going);
    }
}

std::unique_ptr<Sampler> sampler_of(const std::tuple<double, int64_t, double, double, double, int64_t>& o,
                                    const std::vector<int64_t>& forbidden, int64_t symbols) {
    const auto [temperature, top_k, top_p, min_p, penalty, window] = o;
    return std::make_unique<Sampler>(
        Sampling{temperature, top_k, top_p, min_p, penalty, window, forbidden}, symbols);
}

void execute(const BoundMachine& bound, int64_t first, int64_t last, int64_t B, Address arena) {
    if (first < 0 || last > bound.machine.instructions())
        throw std::invalid_argument("no such instructions");
    const Released released(bound.machine.work() * double(B));
    bound.machine.execute(first, last, B, reinterpret_cast<float*>(arena));
}

}  // namespace

void bind_runtime(nb::module_& m) {
    nb::class_<Packed>(m, "Packed", "Weights that machines share: native/machine.h.");
    m.def("packed_cell", &packed_cell);
    m.def("packed_linear", &packed_linear);
    m.def("packed_table", &packed_table);
    nb::class_<BoundMachine>(m, "Machine", "One entry point of a program: native/machine.h.")
        .def(nb::init<int64_t, const std::vector<std::pair<Address, int64_t>>&,
                      const std::vector<InstructionTuple>&, const SharedWeights&,
                      const std::vector<PortTuple>&,
                      const std::vector<std::pair<int64_t, int64_t>>&,
                      const std::vector<SlotTuple>&, int64_t, nb::object>(),
             nb::arg("arena_size"), nb::arg("constants"), nb::arg("code"), nb::arg("packed"),
             nb::arg("inputs"), nb::arg("outputs"), nb::arg("slots"), nb::arg("state_size"),
             nb::arg("make_output").none())
        .def("step_many", &step_many)
        .def("step_along", &step_along)
        .def("run", &run_batch)
        .def("execute", &execute)
        .def("generate", &generate);
    nb::class_<Sampler>(m, "Sampler", "Draws tokens from logits: native/sampling.h.")
        .def(nb::new_(&sampler_of));
    nb::class_<Core>(m, "Core", "The state of one session.")
        .def(nb::init<const BoundMachine*, int64_t>(), nb::arg("step").none(), nb::arg("size"))
        .def("get", &Core::get)
        .def("set", &Core::set)
        .def("step", &Core::step, nb::arg("x").none(), nb::arg("out").none());
}

}  // namespace lstmkit
