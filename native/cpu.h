// What this CPU can do, and which kernels are in use.

#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace lstmkit {

// Instruction sets that this CPU has and kernels were compiled for, narrowest first, e.g.
// {"baseline", "avx2", "avx512"}. Thread-safe; asks the CPU and the operating system.
std::vector<std::string> instruction_sets();

// The kernels in use: of the widest set, until use_kernels says otherwise.
const Kernels& kernels();

// Takes another set from now on, for calls that start later. Raises std::invalid_argument for one
// that is not in instruction_sets().
void use_kernels(const std::string& name);

// e.g. "gcc 12.2.0".
std::string compiler();

}  // namespace lstmkit
