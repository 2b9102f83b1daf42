// A frame of a capture to the packet in it: link layer, IP, TCP, UDP or ICMP. Constant time and no
// allocation; nothing is read outside of the frame (native/span.h). What cannot be used is said by
// reason; what is sound but carries no IP (ARP, spanning tree ...) is `other`.

#pragma once

#include <compare>
#include <cstdint>

#include "span.h"

namespace lstmkit {

// IPv4 as ::ffff:a.b.c.d.
struct Address {
    uint64_t high = 0, low = 0;
    auto operator<=>(const Address&) const = default;
    bool v4() const { return high == 0 && low >> 32 == 0xffff; }
};

enum Protocol : uint8_t { ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58 };
enum Flag : uint8_t { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

struct Packet {
    Address src, dst;
    uint16_t sport = 0, dport = 0;  // of ICMP the type; and its counterpart's type, or the code
    uint8_t protocol = 0;
    bool ports = false;           // whether the two are there
    bool one_way = false;         // an ICMP message that asks for no answer
    bool corrupt = false;         // its checksum is wrong
    bool fragment = false;        // a part of a packet, the first or a later one
    bool later_fragment = false;  // without ports
    uint8_t flags = 0;
    uint16_t window = 0;
    uint32_t seq = 0, ack = 0;
    uint32_t id = 0;        // of the packet that a fragment is of,
    uint8_t part_of = 0;    // and its protocol, which IPv6 does not look at
    uint32_t ip_bytes = 0;  // from the IP header on, as the header says
    uint32_t bytes = 0;     // of payload, as the headers say
    Span payload;           // what was captured of it
};

enum class Outcome : uint8_t {
    packet,
    other,
    cut_link,         // refused, from here on
    cut_ip,
    bad_ip,
    ip_checksum,
    longer_than_frame,
    cut_transport,
    bad_transport,
    too_many_headers,
    lost_fragment,
    link_type,
    bad_block,
    no_interface,
    lost,
    cut_capture,
    count
};

// Why, in words.
const char* reason(Outcome);

// Whether frames of this link type are read.
bool known_link(uint32_t type);

// `wire` is how long the frame was before it was cut. Checksums are looked at where `checksums`,
// and the packet is whole; one that a network card was left to fill in counts as right.
Outcome decode(uint32_t link, Span frame, uint32_t wire, bool checksums, Packet&);

}  // namespace lstmkit
