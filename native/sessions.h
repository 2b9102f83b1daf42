// The runtime as Python sees it: machines (native/machine.h) and the states of sessions.

#pragma once

#include <nanobind/nanobind.h>

namespace lstmkit {

void bind_runtime(nanobind::module_&);

}  // namespace lstmkit
