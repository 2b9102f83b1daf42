// Steps a machine of one cell without Python, and counts what it allocates.
//
//     stepper HIDDEN STEPS PRECISION
//
// Prints: allocations during the first step, allocations during all later ones, nanoseconds a step
// (median of blocks), and the sum of the last output.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "machine.h"

static long allocations = 0;

extern "C" void* __real_malloc(size_t);
extern "C" void* __real_aligned_alloc(size_t, size_t);
extern "C" void* __wrap_malloc(size_t bytes) {
    allocations++;
    return __real_malloc(bytes);
}
extern "C" void* __wrap_aligned_alloc(size_t alignment, size_t bytes) {
    allocations++;
    return __real_aligned_alloc(alignment, bytes);
}
void* operator new(size_t bytes) {
    void* memory = __wrap_malloc(bytes);
    if (!memory) throw std::bad_alloc();
    return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

using namespace lstmkit;

int main(int, char** arguments) {
    const int64_t H = std::atoi(arguments[1]), steps = std::atoi(arguments[2]);
    const auto precision = static_cast<Precision>(std::atoi(arguments[3]));
    std::vector<float> weights(static_cast<size_t>(4 * H * H)), bias(static_cast<size_t>(4 * H)),
        scale(static_cast<size_t>(4 * H), 0.01f / static_cast<float>(H));
    for (size_t k = 0; k < weights.size(); k++) weights[k] = float(int(k * 7919 % 255)) - 127;
    if (precision != Precision::int8)
        for (float& w : weights) w /= 128.0f * static_cast<float>(H);
    const auto packed = std::make_shared<const Packed>(
        Shape{1, 1, H, H, H, false, false}, precision,
        Weights<const float>{weights.data(), weights.data(), bias.data(), bias.data(), nullptr},
        Scales{scale.data(), scale.data(), nullptr});
    const int64_t size = (H + 15) / 16 * 16;
    const Instruction cell{Operation::cell, {{0, false}, {size, false}, {2 * size, false}},
                           {{3 * size, false}, {4 * size, false}}, {0}, {}};
    const Machine machine(5 * size, {}, {cell}, {packed}, {{0, H, Element::float32}},
                          {{3 * size, H, Element::float32}},
                          {{0, H, size, 3 * size}, {H, H, 2 * size, 4 * size}}, 2 * H);
    std::vector<float> state(static_cast<size_t>(2 * H)), x(static_cast<size_t>(H), 0.5f), y(x);
    const void* inputs[] = {x.data()};
    float *states[] = {state.data()}, *outputs[] = {y.data()};
    std::vector<double> blocks;
    blocks.reserve(static_cast<size_t>(steps));
    long before = allocations;
    machine.run(1, inputs, states, outputs);
    const long first = allocations - before;
    before = allocations;
    for (int64_t block = 0; block < 100; block++) {
        const auto begun = std::chrono::steady_clock::now();
        for (int64_t k = 0; k < steps / 100; k++) machine.run(1, inputs, states, outputs);
        const std::chrono::duration<double, std::nano> taken =
            std::chrono::steady_clock::now() - begun;
        blocks.push_back(taken.count() / double(steps / 100));
    }
    const long later = allocations - before;
    std::sort(blocks.begin(), blocks.end());
    float sum = 0;
    for (float v : y) sum += v;
    std::printf("%ld %ld %.1f %.6f\n", first, later, blocks[blocks.size() / 2], double(sum));
    return 0;
}
