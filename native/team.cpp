#include "team.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#include <pthread.h>
#endif
#if defined(__linux__)
#include <link.h>
#include <sys/mman.h>

#include <cstring>
#endif

namespace lstmkit {
namespace {

// --- OpenMP, resolved at run time -----------------------------------------------------------------

struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
    int (*thread)() = nullptr;
    int (*threads)() = nullptr;
    int (*nested)() = nullptr;
    bool complete() const { return parallel && thread && threads && nested; }
};

std::atomic<bool> forked{false};

#if defined(__unix__) || defined(__APPLE__)
template <class F>
void find(void* library, const char* name, F& into) {
    into = reinterpret_cast<F>(dlsym(library, name));
}

OpenMP look_in(void* library) {
    OpenMP found;
    find(library, "GOMP_parallel", found.parallel);
    find(library, "omp_get_thread_num", found.thread);
    find(library, "omp_get_num_threads", found.threads);
    find(library, "omp_in_parallel", found.nested);
    return found;
}

#if defined(__linux__)
// Libraries that were loaded without RTLD_GLOBAL are not in the default scope.
int look_at(dl_phdr_info* info, size_t, void* into) {
    const char* base = std::strrchr(info->dlpi_name, '/');
    base = base ? base + 1 : info->dlpi_name;
    if (std::strncmp(base, "libgomp", 7) != 0 && std::strncmp(base, "libomp", 6) != 0 &&
        std::strncmp(base, "libiomp", 7) != 0)
        return 0;
    void* library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return 0;
    const OpenMP found = look_in(library);
    if (!found.complete()) return 0;
    *static_cast<OpenMP*>(into) = found;
    return 1;
}
#endif

OpenMP look() {
    OpenMP found = look_in(RTLD_DEFAULT);
#if defined(__linux__)
    if (!found.complete()) dl_iterate_phdr(look_at, &found);
#endif
    return found;
}
#else
OpenMP look() { return {}; }
#endif

const OpenMP& openmp() {
    static std::mutex lock;
    static std::atomic<const OpenMP*> known{nullptr};
    if (const OpenMP* found = known.load(std::memory_order_acquire)) return *found;
    static const OpenMP none;
    const std::lock_guard<std::mutex> guard(lock);
    if (const OpenMP* found = known.load(std::memory_order_acquire)) return *found;
    const OpenMP found = look();
    if (!found.complete()) return none;  // PyTorch may still be loaded later
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
#endif
    const auto* kept = new OpenMP(found);
    known.store(kept, std::memory_order_release);
    return *kept;
}

// Entry and exit are ordered by `gate` and `done` too, which race detectors can see.
struct Region {
    void (*work)(void*, int);
    void* context;
    int threads;
    std::atomic<int> gate{0}, done{0};
    std::atomic<bool> refused{false};
};

void enter(void* pointer) {
    auto& region = *static_cast<Region*>(pointer);
    region.gate.load(std::memory_order_acquire);
    if (openmp().threads() == region.threads)
        region.work(region.context, openmp().thread());
    else
        region.refused.store(true, std::memory_order_relaxed);
    region.done.fetch_add(1, std::memory_order_release);
}

}  // namespace

int team_size(int wanted) {
    if (wanted <= 1 || forked.load(std::memory_order_relaxed)) return 1;
    const OpenMP& omp = openmp();
    return omp.complete() && !omp.nested() ? wanted : 1;
}

bool run_team(int threads, void (*work)(void*, int), void* context) {
    if (threads <= 1) {
        work(context, 0);
        return true;
    }
    Region region{work, context, threads};
    region.gate.store(1, std::memory_order_release);
    openmp().parallel(enter, &region, static_cast<unsigned>(threads), 0);
    region.done.load(std::memory_order_acquire);
    return !region.refused.load(std::memory_order_relaxed);
}

// --- barrier --------------------------------------------------------------------------------------

struct Barrier {
    alignas(64) std::atomic<int> waiting;
    alignas(64) std::atomic<unsigned> round;
    int size;
};

size_t barrier_bytes() { return sizeof(Barrier); }

Barrier* make_barrier(void* memory, int size) {
    auto* b = new (memory) Barrier;
    b->waiting.store(0, std::memory_order_relaxed);
    b->round.store(0, std::memory_order_relaxed);
    b->size = size;
    return b;
}

static inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

void meet(Barrier* b) {
    if (b->size <= 1) return;
    const unsigned round = b->round.load(std::memory_order_relaxed);
    if (b->waiting.fetch_add(1, std::memory_order_acq_rel) + 1 == b->size) {
        b->waiting.store(0, std::memory_order_relaxed);
        b->round.store(round + 1, std::memory_order_release);
        return;
    }
    // Steps are microseconds apart; a thread that lost its core is worth yielding to.
    for (int spins = 0; b->round.load(std::memory_order_acquire) == round; spins++) {
        if (spins < 4096)
            pause();
        else
            std::this_thread::yield();
    }
}

// --- memory ---------------------------------------------------------------------------------------

namespace {

constexpr size_t LINE = 64;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t KEPT = 0, APART = 0;  // each piece is an allocation, and its bounds are seen
#else
constexpr size_t KEPT = size_t{256} << 20;  // at most this much stays with a thread
constexpr size_t APART = LINE;              // no two pieces share a cache line
#endif

constexpr size_t PAGE = size_t{2} << 20;

}  // namespace

// Weights are walked through at every step: large pages, where there are any, save the look-ups.
char* allocate(size_t bytes) {
    const size_t alignment = bytes >= PAGE ? PAGE : LINE;
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
#if defined(_WIN32)
    auto* memory = static_cast<char*>(_aligned_malloc(whole, alignment));
#else
    auto* memory = static_cast<char*>(std::aligned_alloc(alignment, whole));
#endif
    if (!memory) throw std::bad_alloc();
#if defined(__linux__)
    if (bytes >= PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void release(char* memory) {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    std::free(memory);
#endif
}

namespace {

struct Store {
    char* base = nullptr;
    size_t capacity = 0, used = 0, beyond = 0;
    std::vector<char*> extra;
    ~Store() { release(base); }
};

Store& store() {
    thread_local Store mine;
    return mine;
}

}  // namespace

Scratch::Scratch() = default;

void* Scratch::take(size_t bytes) {
    Store& s = store();
    if (APART) bytes = (bytes + LINE - 1) / LINE * LINE + APART;
    if (s.used + bytes <= s.capacity) {
        char* found = s.base + s.used;
        s.used += bytes;
        return found;
    }
    s.extra.reserve(s.extra.size() + 1);
    s.extra.push_back(allocate(bytes));
    s.beyond += bytes;
    return s.extra.back();
}

Scratch::~Scratch() {
    Store& s = store();
    const size_t needed = s.used + s.beyond;
    for (char* memory : s.extra) release(memory);
    s.extra.clear();
    if (s.beyond > 0 && needed <= KEPT) {
        release(s.base);
        s.base = nullptr;
        s.capacity = 0;
        try {
            s.base = allocate(needed);
            s.capacity = needed;
        } catch (const std::bad_alloc&) {  // the next call asks again
        }
    }
    s.used = s.beyond = 0;
}

}  // namespace lstmkit
