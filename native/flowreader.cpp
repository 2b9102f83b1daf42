#include "flowreader.h"

#include <cstdio>

#include "services.h"

namespace lstmkit {

// --- packets --------------------------------------------------------------------------------------

void FlowReader::feed(Span data) {
    Frame frame;
    Outcome why = Outcome::packet;
    for (;;) {
        const Capture::Found found = capture_.step(data, frame, why);
        if (found == Capture::Found::nothing) return;
        if (found == Capture::Found::frame) take(frame);
        if (found == Capture::Found::refused) refuse(frame.number, why);
    }
}

void FlowReader::finish() {
    if (capture_.unfinished()) refuse(capture_.frames() + 1, Outcome::cut_capture);
    table_.finish();
}

void FlowReader::take(const Frame& frame) {
    Packet packet;
    Outcome found = decode(frame.link, frame.bytes, frame.wire, checksums_, packet);
    if (found == Outcome::packet) found = table_.add(packet, frame.number, frame.time);
    others_ += found == Outcome::other;
    if (found != Outcome::packet && found != Outcome::other) refuse(frame.number, found);
}

void FlowReader::refuse(int64_t number, Outcome why) {
    refused++;
    if (refusals.size() == REMEMBERED) refusals.erase(refusals.begin());
    refusals.push_back({number, why});
}

// --- state ----------------------------------------------------------------------------------------

namespace {

constexpr uint64_t MAGIC = 0x3130776f6c66504c;  // this layout, on a machine of this byte order

}  // namespace

std::string FlowReader::state() {
    Writer w;
    w(MAGIC, checksums_, others_);
    capture_.fields(w);
    table_.save(w);
    return std::move(w.bytes);
}

bool FlowReader::set_state(Span state) {
    Reader r(state);
    uint64_t magic = 0;
    r(magic);
    if (r.failed || magic != MAGIC || capture_.frames() || table_.open()) return false;
    r(checksums_, others_);
    r.require_small(others_);
    capture_.fields(r);
    return !r.failed && table_.restore(r) && r.left() == 0;
}

// --- words ----------------------------------------------------------------------------------------

namespace {

std::string v4_text(uint32_t a) {
    std::string found;
    for (int shift = 24; shift >= 0; shift -= 8)
        found += std::to_string(a >> shift & 255) + (shift ? "." : "");
    return found;
}

// RFC 5952: lower case, the longest run of zero groups (of two or more) as "::".
std::string v6_text(const Address& a) {
    uint16_t groups[8];
    for (int k = 0; k < 8; k++)
        groups[k] = uint16_t((k < 4 ? a.high : a.low) >> (48 - 16 * (k % 4)));
    int begin = 8, length = 1;
    for (int k = 0; k < 8; k++) {
        int n = 0;
        while (k + n < 8 && groups[k + n] == 0) n++;
        if (n > length) begin = k, length = n;
    }
    std::string found;
    char text[8];
    for (int k = 0; k < 8; k++) {
        if (k == begin) {
            found += "::";
            k += length - 1;
            continue;
        }
        if (!found.empty() && found.back() != ':') found += ':';
        snprintf(text, sizeof text, "%x", groups[k]);
        found += text;
    }
    return found;
}

}  // namespace

std::string text_of(const Address& a) { return a.v4() ? v4_text(uint32_t(a.low)) : v6_text(a); }

std::string protocol_of(const Flow& f) {
    switch (f.protocol) {
        case ICMP: case ICMPV6: return "icmp";
        case TCP: return "tcp";
        case UDP: return "udp";
        case 2: return "igmp";
        case 4: return "ipip";
        case 41: return "ipv6";
        case 47: return "gre";
        case 50: return "esp";
        case 51: return "ah";
        case 89: return "ospf";
        case 103: return "pim";
        case 112: return "vrrp";
        case 132: return "sctp";
        default: return std::to_string(f.protocol);
    }
}

const char* state_of(const Flow& f) {
    if (f.protocol == TCP) return tcp_state(f.ends);
    if (f.protocol != UDP) return "OTH";
    if (f.ends[0].spoke) return f.ends[1].spoke ? "SF" : "S0";
    return f.ends[1].spoke ? "SHR" : "OTH";
}

const char* service_of(const Flow& f) {
    if (f.protocol != UDP && (f.protocol != TCP || f.tcp.partial)) return "";
    return service_of(f.protocol, f.dport, f.ends[0].signs, f.ends[1].signs);
}

uint64_t payload_of(const Flow& f, int side) {
    return f.protocol == TCP ? f.ends[side].stream_bytes(f.ends[1 - side]) : f.ends[side].bytes;
}

}  // namespace lstmkit
