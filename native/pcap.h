// Captures as Python sees them: bytes in, the columns of flows out (native/capture.h, flowtable.h).

#pragma once

#include <nanobind/nanobind.h>

namespace lstmkit {

void bind_pcap(nanobind::module_&);

}  // namespace lstmkit
