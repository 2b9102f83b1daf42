// A TCP connection as Zeek's conn.log tells it (docs.zeek.org, base/protocols/conn): the states of
// its two ends, the history letters, payload by sequence numbers.

#pragma once

#include <cstdint>

#include "packets.h"

namespace lstmkit {

enum class EndState : uint8_t {
    inactive,      // nothing was seen of it
    syn_sent,
    syn_ack_sent,  // by the originator, without a SYN before
    partial,       // its packets, without a SYN
    established,
    closed,        // FIN
    reset,
    count
};

// Letters of what happened: upper case of the originator. Logarithmic ones come at 1, 10, 100 ...
struct History {
    static constexpr int LONGEST = 32;
    char letters[LONGEST] = {};
    uint8_t size = 0;
    uint16_t seen = 0;  // a bit a letter that comes once, the responder's 8 bits up

    void add(char letter, bool responder);
    // Adds it the first time, and says whether that was before.
    bool again(int bit, char letter, bool responder);
    void at_powers(uint32_t& count, char letter, bool responder);
};

// One end of a flow. The fields below `bytes` are of TCP.
struct End {
    static constexpr uint32_t MOST_WRAPS = 1 << 20;

    uint64_t packets = 0, ip_bytes = 0;
    uint64_t bytes = 0;  // of payload; of TCP see `stream_bytes`
    uint32_t corrupt = 0;
    bool spoke = false;  // a sound packet came from it
    bool done = false;   // its close was counted
    bool fin = false;
    EndState state = EndState::inactive, before = EndState::inactive;
    uint8_t signs = 0;   // what its payload looks like: native/services.h
    uint8_t looked = 0;  // packets with payload that were looked at
    uint32_t last = 0, ack = 0;              // sequence numbers: sent up to, acknowledged up to
    uint32_t last_wraps = 0, ack_wraps = 0;  // how often they went through 0
    uint32_t start = 0;                      // that of the SYN, or as if there had been one
    uint32_t syn_at = 0, fin_at = 0, rst_at = 0;  // where the last such packet stood, from `start`
    uint32_t repeats = 0, zero_windows = 0;

    bool handshaking() const { return state <= EndState::syn_ack_sent; }
    void enter(EndState s) {
        if (s != state) before = state;
        state = s;
    }
    // Payload bytes of the stream: up to what was sent or acknowledged.
    uint64_t stream_bytes(const End& peer) const;
};

struct Tcp {
    bool partial = false;          // it was under way when the capture began
    bool first_seen[2] = {};       // of the originator, of the responder
};

// What a packet did to the connection.
struct TcpStep {
    bool counted = false;  // it lies within the connection's time
    bool opened = false;   // the attempt began
    bool lively = false;   // the handshake is over
    bool over = false;     // closed from both sides, or reset
    bool late_reset = false;
    bool turned = false;   // originator and responder were swapped
};

// `side`: 0 from the originator, 1 from the responder. Ends are swapped where `turned`.
TcpStep tcp_packet(End ends[2], Tcp&, History&, const Packet&, int side);

// Whether a packet on the ports of a connection begins another one.
bool tcp_reuse(const End ends[2], const Packet&);

// Whether a first packet that is no SYN goes from the server to the client, by its ports.
bool looks_reversed(const Packet&);

// conn_state.
const char* tcp_state(const End ends[2]);

}  // namespace lstmkit
