#include "plan.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace lstmkit {
namespace {

constexpr int64_t FEW_ROWS = 4;           // fewer a group waste the registers of a tile
constexpr int64_t SPLIT_WORK = 16 << 10;  // multiplications a thread's step must have to split units

template <class V>
V* keep(Scratch& scratch, const std::vector<V>& values) {
    auto* kept = static_cast<V*>(scratch.take(sizeof(V) * (values.size() + 1)));
    std::copy(values.begin(), values.end(), kept);
    return kept;
}

std::vector<int64_t> longest_first(int64_t B, const int64_t* lengths) {
    std::vector<int64_t> order(static_cast<size_t>(B));
    std::iota(order.begin(), order.end(), int64_t{0});
    if (lengths)
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    return order;
}

std::vector<int64_t> active_by_step(const Shape& shape, const int64_t* lengths) {
    std::vector<int64_t> active(static_cast<size_t>(shape.T), shape.B);
    if (!lengths) return active;
    std::fill(active.begin(), active.end(), 0);
    std::vector<int64_t> ending(static_cast<size_t>(shape.T) + 1, 0);
    for (int64_t b = 0; b < shape.B; b++) ending[static_cast<size_t>(lengths[b])]++;
    int64_t alive = shape.B;
    for (int64_t t = 0; t < shape.T; t++) {
        alive -= ending[static_cast<size_t>(t)];
        active[static_cast<size_t>(shape.reverse ? shape.T - 1 - t : t)] = alive;
    }
    return active;
}

std::vector<Chunk> cut(const std::vector<int64_t>& active, int64_t rows,
                       std::vector<int64_t>& offset) {
    std::vector<Chunk> chunks;
    Chunk chunk{0, 0, 0};
    for (size_t s = 0; s < active.size(); s++) {
        if (chunk.last > chunk.first && chunk.rows + active[s] > rows) {
            chunks.push_back(chunk);
            chunk = {chunk.last, chunk.last, 0};
        }
        offset[s] = chunk.rows;
        chunk.rows += active[s];
        chunk.last++;
    }
    chunks.push_back(chunk);
    return chunks;
}

// Positions at which the chunk's rows fall into equal parts, even ones: two rows share a cache line.
void split_rows(const Chunk& chunk, const std::vector<int64_t>& active, int64_t B, int groups,
                std::vector<int64_t>& bounds) {
    std::vector<int64_t> below(static_cast<size_t>(B) + 1, 0);  // rows of positions < p
    for (int64_t s = chunk.first; s < chunk.last; s++) {
        below[0]++;
        below[static_cast<size_t>(active[static_cast<size_t>(s)])]--;
    }
    int64_t steps = 0, rows = 0;
    for (int64_t p = 0; p < B; p++) {
        steps += below[static_cast<size_t>(p)];
        below[static_cast<size_t>(p)] = rows;
        rows += steps;
    }
    below[static_cast<size_t>(B)] = rows;
    bounds.push_back(0);
    for (int g = 1; g < groups; g++) {
        const auto at = std::lower_bound(below.begin(), below.end(), rows * g / groups);
        const int64_t p = (at - below.begin()) / 2 * 2;
        bounds.push_back(std::max(bounds.back(), p));
    }
    bounds.push_back(B);
}

}  // namespace

int64_t backward_rows(const Shape& shape) {
    constexpr int64_t D_Z = 1 << 18, PIECE = 256;  // elements of a chunk's d_z; rows summed at a time
    return std::clamp(D_Z / (4 * shape.H) / PIECE * PIECE, PIECE, 4 * PIECE);
}

int64_t checkpoint_count(const Shape& shape, const Steps& steps) {
    const auto active = active_by_step(shape, steps.lengths);
    std::vector<int64_t> offset(active.size(), 0);
    return static_cast<int64_t>(cut(active, backward_rows(shape), offset).size());
}

Plan make_plan(const Shape& shape, const Steps& steps, int threads, int64_t rows,
               int64_t unit_blocks, int64_t step_work, Scratch& scratch) {
    const auto order = longest_first(shape.B, steps.lengths);
    const auto active = active_by_step(shape, steps.lengths);
    std::vector<int64_t> offset(active.size(), 0);
    const auto chunks = cut(active, rows, offset);
    int64_t total = 0, busy = 0, most = 0;
    for (const int64_t n : active) busy += n > 0;
    for (const Chunk& c : chunks) {
        total += c.rows;
        most = std::max(most, c.rows);
    }

    const int64_t mean = busy ? total / busy : 0;
    const auto by_rows = static_cast<int>(std::clamp<int64_t>(mean / FEW_ROWS, 1, threads));
    const int64_t work = std::max<int64_t>(mean, 1) / by_rows * step_work;
    const auto by_units = static_cast<int>(std::clamp<int64_t>(
        std::min(unit_blocks, work / SPLIT_WORK), 1, std::max(1, threads / by_rows)));
    std::vector<int64_t> bounds;
    for (const Chunk& c : chunks) split_rows(c, active, shape.B, by_rows, bounds);
    bool moving = false;
    const auto width = static_cast<size_t>(by_rows) + 1;
    for (size_t k = width; k < bounds.size(); k++) moving |= bounds[k] != bounds[k - width];

    return {shape.T,
            shape.B,
            shape.reverse,
            keep(scratch, order),
            keep(scratch, active),
            keep(scratch, offset),
            keep(scratch, chunks),
            static_cast<int64_t>(chunks.size()),
            most,
            by_rows,
            by_units,
            keep(scratch, bounds),
            moving};
}

}  // namespace lstmkit
