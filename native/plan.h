// Which rows are computed when, and by whom. Samples are sorted by length, longest first, so that
// the valid ones of every step are a prefix; steps are cut into chunks whose rows fit the caches.
// Nothing that is computed depends on the number of threads: only who computes it does.

#pragma once

#include <cstdint>

#include "contract.h"
#include "team.h"

namespace lstmkit {

// Processing steps [first, last); row offset[s] + p is step s of the sample at position p.
struct Chunk {
    int64_t first, last, rows;
};

struct Plan {
    int64_t T, B;
    bool reverse;
    const int64_t* order;   // (B): position -> sample
    const int64_t* active;  // (T): by processing step, how many positions are valid
    const int64_t* offset;  // (T): the first row of the step in its chunk
    const Chunk* chunks;
    int64_t chunk_count, most_rows;  // most_rows of any chunk
    // threads = groups * splits: a group has its own samples, a thread in it its own units.
    int groups, splits;
    const int64_t* bounds;  // (chunk_count, groups + 1): positions of each group
    bool moving;            // the bounds differ from chunk to chunk

    int64_t time(int64_t s) const { return reverse ? T - 1 - s : s; }
    int64_t bound(int64_t chunk, int group) const { return bounds[chunk * (groups + 1) + group]; }
    // Valid positions of group [lo, hi) at processing step s.
    int64_t count(int64_t s, int64_t lo, int64_t hi) const {
        const int64_t n = active[s] < hi ? active[s] : hi;
        return n > lo ? n - lo : 0;
    }
};

// Chunks of at most `rows` rows, or one step. `unit_blocks` is how many parts the units can be split
// into, `step_work` the multiplications that a sample's step takes.
Plan make_plan(const Shape&, const Steps&, int threads, int64_t rows, int64_t unit_blocks,
               int64_t step_work, Scratch&);

// Rows of a chunk of the backward pass.
int64_t backward_rows(const Shape&);

// How many chunks the backward pass has: the checkpoints that it needs to compute gates again.
int64_t checkpoint_count(const Shape&, const Steps&);

}  // namespace lstmkit
