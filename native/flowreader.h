// Bytes of a capture in, flows out: the capture, the decoder of its packets and the table of flows
// in one, without Python.

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "capture.h"
#include "flowtable.h"

namespace lstmkit {

class FlowReader {
  public:
    static constexpr size_t REMEMBERED = 20;  // refusals

    FlowReader(size_t most, bool checksums) : checksums_(checksums), table_(most) {}

    // Flows that end within these bytes, or that were open, are then in `ended`.
    void feed(Span);
    void finish();
    std::vector<Flow>& ended() { return table_.ended; }

    const Capture& capture() const { return capture_; }
    size_t open() const { return table_.open(); }
    size_t timers() const { return table_.timers(); }
    int64_t others() const { return others_; }  // frames without IP

    // Frames and blocks that could not be used, since the caller emptied them: all, and the last.
    int64_t refused = 0;
    std::vector<std::pair<int64_t, Outcome>> refusals;

    // All that decides what the next bytes mean; without `ended` and the refusals.
    std::string state();
    // Of a reader that has read nothing. False: this is no such state, and the reader is of no use.
    bool set_state(Span);

  private:
    void take(const Frame&);
    void refuse(int64_t number, Outcome);

    bool checksums_;
    Capture capture_;
    FlowTable table_;
    int64_t others_ = 0;
};

// A flow in words and numbers.
std::string text_of(const Address&);
std::string protocol_of(const Flow&);
const char* state_of(const Flow&);
const char* service_of(const Flow&);
uint64_t payload_of(const Flow&, int side);

}  // namespace lstmkit
