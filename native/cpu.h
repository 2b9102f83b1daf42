// What this CPU can do. Kernels are chosen from it at run time.

#pragma once

#include <string>
#include <vector>

namespace lstmkit {

// Narrowest first, e.g. {"baseline", "avx2", "avx512"}. Thread-safe; asks the CPU and the OS.
std::vector<std::string> instruction_sets();

// e.g. "gcc 12.2.0".
std::string compiler();

}  // namespace lstmkit
