// lstmkit._native: what Python sees of the native engine.
//
// No PyTorch headers: tensors will pass as raw pointers, so one wheel serves every PyTorch version.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "cpu.h"

namespace nb = nanobind;

NB_MODULE(_native, m) {
    m.doc() = "The native engine of lstmkit.";
    m.def("instruction_sets", &lstmkit::instruction_sets,
          "Vector instruction sets of this CPU that the operating system lets a program use, "
          "narrowest first; 'baseline' is always there.");
    m.def("compiler", &lstmkit::compiler, "Name and version of the compiler that built this.");
}
