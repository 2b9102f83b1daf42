// Threads and memory of one call. Nothing here is inline: kernels of every instruction set link to
// the same baseline code.

#pragma once

#include <cstddef>

namespace lstmkit {

// --- threads --------------------------------------------------------------------------------------
// The OpenMP runtime that the process has loaded already (PyTorch's), found at run time, so that no
// second pool of threads competes with it. Without one, and after a fork, there is one thread.

// How many threads a call that asks for `wanted` gets.
int team_size(int wanted);

// Runs work(context, thread) on exactly `threads` threads and returns true; or returns false,
// having run nothing, where so many are not to be had (inside another parallel region).
bool run_team(int threads, void (*work)(void* context, int thread), void* context);

// Where `size` threads meet, as often as they like. What one wrote before, all see after.
struct Barrier;
size_t barrier_bytes();
Barrier* make_barrier(void* memory, int size);
void meet(Barrier*);

// --- memory ---------------------------------------------------------------------------------------
// Scratch of one call: 64 bytes aligned, owned by the calling thread and used again by its next
// call, so that no call pays for fresh pages twice. Raises std::bad_alloc.

struct Scratch {
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    void* take(size_t bytes);
};

// 64 bytes aligned, in large pages where it fills one. Raises std::bad_alloc.
char* allocate(size_t bytes);
void release(char* memory);

}  // namespace lstmkit
