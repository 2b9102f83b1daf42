#include "cpu.h"

#include <atomic>
#include <stdexcept>

namespace lstmkit {

// As many as CMakeLists.txt compiles.
#if defined(LSTMKIT_ARM)
namespace neon {
extern const Kernels table;
}
#else
namespace baseline {
extern const Kernels table;
}
#endif
#if defined(LSTMKIT_X86)
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
#endif

namespace {

std::vector<const Kernels*> implementations() {
#if defined(LSTMKIT_ARM)
    return {&neon::table};  // every 64-bit Arm has it
#else
    std::vector<const Kernels*> found{&baseline::table};
#if defined(LSTMKIT_X86)
    // libgcc's test includes the operating system's part (XGETBV): registers that it saves.
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found.push_back(&avx2::table);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        found.push_back(&avx512::table);
#endif
    return found;
#endif
}

std::atomic<const Kernels*>& in_use() {
    static std::atomic<const Kernels*> chosen{implementations().back()};
    return chosen;
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Kernels* k : implementations()) names.emplace_back(k->name);
    return names;
}

const Kernels& kernels() { return *in_use().load(std::memory_order_relaxed); }

void use_kernels(const std::string& name) {
    std::string here;
    for (const Kernels* k : implementations()) {
        if (name == k->name) {
            in_use().store(k, std::memory_order_relaxed);
            return;
        }
        here += here.empty() ? k->name : std::string(", ") + k->name;
    }
    throw std::invalid_argument("no kernels for instruction set '" + name +
                                "' on this machine; expected one of: " + here);
}

std::string compiler() {
#if defined(__clang__)
    return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#else
    return "gcc " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
           std::to_string(__GNUC_PATCHLEVEL__);
#endif
}

}  // namespace lstmkit
