#include "packets.h"

#include <bit>

namespace lstmkit {
namespace {

constexpr int MOST_TAGS = 8, MOST_LABELS = 16, MOST_EXTENSIONS = 12;

enum Link : uint32_t {
    NULL_LINK = 0, ETHERNET = 1, RAW_BSD = 12, RAW_OPENBSD = 14, RAW = 101, LOOP = 108,
    COOKED = 113, IPV4_LINK = 228, IPV6_LINK = 229, COOKED_2 = 276
};

enum EtherType : uint16_t {
    ETHER_IPV4 = 0x0800, ETHER_IPV6 = 0x86dd, VLAN = 0x8100, QINQ = 0x88a8, QINQ_OLD = 0x9100,
    QINQ_OLDER = 0x9200, MPLS = 0x8847, MPLS_MULTICAST = 0x8848, PPPOE = 0x8864
};

// --- link layer -----------------------------------------------------------------------------------

// Where IP begins, or `outcome` if not `packet`.
struct Inner {
    size_t at = 0;
    Outcome outcome = Outcome::packet;
};

Inner by_version(Span frame, size_t at, Outcome otherwise = Outcome::bad_ip) {
    if (!frame.has(at, 1)) return {at, Outcome::cut_link};
    const int version = frame.u8(at) >> 4;
    return {at, version == 4 || version == 6 ? Outcome::packet : otherwise};
}

Inner under_labels(Span frame, size_t at) {
    for (int k = 0; k < MOST_LABELS; k++, at += 4) {
        if (!frame.has(at, 4)) return {at, Outcome::cut_link};
        if (frame.u8(at + 2) & 1) return by_version(frame, at + 4, Outcome::other);
    }
    return {at, Outcome::too_many_headers};
}

Inner under_pppoe(Span frame, size_t at) {
    if (!frame.has(at, 8)) return {at, Outcome::cut_link};
    const uint16_t protocol = frame.be16(at + 6);
    const bool ip = protocol == 0x0021 || protocol == 0x0057;
    return ip ? by_version(frame, at + 8) : Inner{at, Outcome::other};
}

// What follows an EtherType that stands at `at`.
Inner under_type(Span frame, size_t at) {
    for (int k = 0; k < MOST_TAGS; k++, at += 4) {
        if (!frame.has(at, 2)) return {at, Outcome::cut_link};
        const uint16_t type = frame.be16(at);
        if (type == VLAN || type == QINQ || type == QINQ_OLD || type == QINQ_OLDER) continue;
        if (type == ETHER_IPV4 || type == ETHER_IPV6) return by_version(frame, at + 2);
        if (type == MPLS || type == MPLS_MULTICAST) return under_labels(frame, at + 2);
        if (type == PPPOE) return under_pppoe(frame, at + 2);
        // A length, and under it LLC with a SNAP header that ends in a type.
        if (type > 1500 || !frame.holds(at + 2, "\xaa\xaa\x03\0\0\0", 6))
            return {at, Outcome::other};
        at += 4;
    }
    return {at, Outcome::too_many_headers};
}

Inner under_family(Span frame) {
    if (!frame.has(0, 4)) return {0, Outcome::cut_link};
    const uint32_t big = frame.be32(0), family = big < 0x10000 ? big : frame.le32(0);
    const bool ip = family == 2 || family == 10 || family == 24 || family == 28 || family == 30;
    return ip ? by_version(frame, 4) : Inner{0, Outcome::other};
}

Inner under_link(uint32_t link, Span frame) {
    switch (link) {
        case ETHERNET: return frame.has(0, 14) ? under_type(frame, 12) : Inner{0, Outcome::cut_link};
        case RAW_BSD: case RAW_OPENBSD: case RAW: case IPV4_LINK: case IPV6_LINK:
            return by_version(frame, 0);
        case NULL_LINK: case LOOP: return under_family(frame);
        case COOKED: {
            if (!frame.has(0, 16)) return {0, Outcome::cut_link};
            return under_type(frame, 14);
        }
        case COOKED_2: {
            if (!frame.has(0, 20)) return {0, Outcome::cut_link};
            const uint16_t type = frame.be16(0);
            if (type == ETHER_IPV4 || type == ETHER_IPV6) return by_version(frame, 20);
            if (type == VLAN || type == QINQ) return under_type(frame, 22);
            return {0, Outcome::other};
        }
        default: return {0, Outcome::link_type};
    }
}

// --- checksums ------------------------------------------------------------------------------------

uint32_t folded(uint64_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return uint32_t(sum);
}

// The one's complement sum of the bytes as 16-bit numbers, an odd last one padded with 0.
uint32_t sum_of(Span bytes) {
    uint64_t sum = 0;
    size_t at = 0;
    for (; at + 4 <= bytes.size; at += 4) {
        uint32_t word;
        std::memcpy(&word, bytes.data + at, 4);
        sum += word;
    }
    uint32_t rest = 0;
    if (at < bytes.size) std::memcpy(&rest, bytes.data + at, bytes.size - at);
    const uint32_t found = folded(sum + rest);
    return std::endian::native == std::endian::little ? __builtin_bswap16(uint16_t(found)) : found;
}

// Of an IPv4 address too: the ffff in front of it counts for nothing in such a sum.
uint64_t sum_of(const Address& a) {
    uint64_t sum = 0;
    for (int shift = 0; shift < 64; shift += 16)
        sum += (a.high >> shift & 0xffff) + (a.low >> shift & 0xffff);
    return sum;
}

// Whether the checksum that stands at `at` of a whole packet is wrong. A network card adds up the
// packet itself: then the field holds the sum of the pseudo-header, with or without the length.
bool wrong_sum(const Packet& p, Span whole, size_t at) {
    const uint64_t pseudo = sum_of(p.src) + sum_of(p.dst) + p.protocol, length = whole.size;
    const uint64_t before = p.protocol == ICMP ? 0 : pseudo + (length >> 16) + (length & 0xffff);
    if (folded(before + sum_of(whole)) == 0xffff) return false;
    const uint16_t field = whole.be16(at);
    const bool offloaded = p.protocol == TCP || p.protocol == UDP;
    return !(offloaded && (field == folded(before) || field == folded(pseudo)));
}

// --- transport ------------------------------------------------------------------------------------

// The IP payload: as captured, and as long as IP says it is.
struct Payload {
    Span bytes;
    uint32_t length;
    bool check;  // the checksum can be looked at
};

Outcome decode_tcp(const Payload& in, Packet& p) {
    const Span b = in.bytes;
    if (!b.has(0, 20)) return Outcome::cut_transport;
    const uint32_t header = uint32_t(b.u8(12) >> 4) * 4;
    if (header < 20) return Outcome::bad_transport;
    if (header > in.length || header > b.size) return Outcome::cut_transport;
    p.sport = b.be16(0);
    p.dport = b.be16(2);
    p.seq = b.be32(4);
    p.ack = b.be32(8);
    p.flags = b.u8(13);
    p.window = b.be16(14);
    p.ports = true;
    p.bytes = in.length - header;
    p.payload = b.from(header);
    p.corrupt = in.check && wrong_sum(p, b, 16);
    return Outcome::packet;
}

Outcome decode_udp(const Payload& in, Packet& p) {
    const Span b = in.bytes;
    if (!b.has(0, 8)) return Outcome::cut_transport;
    const uint32_t said = b.be16(4);
    p.sport = b.be16(0);
    p.dport = b.be16(2);
    p.ports = true;
    p.bytes = (said >= 8 ? said : in.length) - 8;
    p.payload = b.from(8).first(p.bytes);
    p.corrupt = in.check && b.be16(6) != 0 && wrong_sum(p, b, 6);
    return Outcome::packet;
}

// The type that answers a type and is answered by it; -1: none.
int counterpart(uint8_t protocol, int type) {
    static constexpr int PAIRS[][2] = {{0, 8}, {9, 10}, {13, 14}, {15, 16}, {17, 18}};
    static constexpr int PAIRS_6[][2] = {{128, 129}, {130, 131}, {133, 134}, {135, 136},
                                         {139, 140}, {144, 145}};
    const auto look = [type](const auto& pairs) {
        for (const auto& [a, b] : pairs)
            if (type == a || type == b) return type == a ? b : a;
        return -1;
    };
    return protocol == ICMP ? look(PAIRS) : look(PAIRS_6);
}

Outcome decode_icmp(const Payload& in, Packet& p) {
    const Span b = in.bytes;
    if (!b.has(0, 8)) return Outcome::cut_transport;
    const int answer = counterpart(p.protocol, b.u8(0));
    p.sport = b.u8(0);
    p.dport = uint16_t(answer < 0 ? b.u8(1) : answer);
    p.one_way = answer < 0;
    p.ports = true;
    p.bytes = in.length - 8;
    p.payload = b.from(8);
    p.corrupt = in.check && wrong_sum(p, b, 2);
    return Outcome::packet;
}

Outcome decode_transport(const Payload& in, Packet& p) {
    if (p.later_fragment) {
        p.bytes = in.length;
        return Outcome::packet;
    }
    switch (p.protocol) {
        case TCP: return in.length < 20 ? Outcome::cut_transport : decode_tcp(in, p);
        case UDP: return in.length < 8 ? Outcome::cut_transport : decode_udp(in, p);
        case ICMP: case ICMPV6: return in.length < 8 ? Outcome::cut_transport : decode_icmp(in, p);
        default:
            p.bytes = in.length;
            p.payload = in.bytes;
            return Outcome::packet;
    }
}

// --- IP -------------------------------------------------------------------------------------------

Address v4_at(Span b, size_t at) { return {0, uint64_t(0xffff) << 32 | b.be32(at)}; }
Address v6_at(Span b, size_t at) { return {b.be64(at), b.be64(at + 8)}; }

// The transport's part of a packet: from `header` on, `total` is the length that IP says.
Payload payload_of(Span ip, uint32_t header, uint32_t total, bool check) {
    const Span bytes = ip.first(total).from(header);
    const uint32_t length = total - header;
    return {bytes, length, check && bytes.size == length};
}

Outcome decode_v4(Span ip, uint32_t wire, bool checksums, Packet& p) {
    if (!ip.has(0, 20)) return Outcome::cut_ip;
    const uint32_t header = (ip.u8(0) & 15u) * 4, said = ip.be16(2);
    const uint32_t total = said ? said : wire;  // 0: a network card was left to cut it into packets
    if (header < 20 || total < header) return Outcome::bad_ip;
    if (total > wire) return Outcome::longer_than_frame;
    if (header > ip.size) return Outcome::cut_ip;
    if (checksums && ip.be16(10) && sum_of(ip.first(header)) != 0xffff) return Outcome::ip_checksum;
    const uint16_t offset = ip.be16(6);
    p.later_fragment = offset & 0x1fff;
    p.fragment = offset & 0x3fff;
    p.id = ip.be16(4);
    p.protocol = p.part_of = ip.u8(9);
    p.src = v4_at(ip, 12);
    p.dst = v4_at(ip, 16);
    p.ip_bytes = total;
    return decode_transport(payload_of(ip, header, total, checksums && !p.fragment), p);
}

bool is_extension(uint8_t next) {
    return next == 0 || next == 43 || next == 44 || next == 51 || next == 60 || next == 135 ||
           next == 139 || next == 140;
}

Outcome decode_v6(Span ip, uint32_t wire, bool checksums, Packet& p) {
    if (!ip.has(0, 40)) return Outcome::cut_ip;
    const uint32_t said = ip.be16(4), total = said ? said + 40 : wire;
    if (total < 40) return Outcome::bad_ip;
    if (total > wire) return Outcome::longer_than_frame;
    p.src = v6_at(ip, 8);
    p.dst = v6_at(ip, 24);
    p.ip_bytes = total;
    uint8_t next = ip.u8(6);
    uint32_t at = 40;
    bool rerouted = false;  // then the checksum is of another destination
    for (int k = 0; is_extension(next) && !p.later_fragment; k++) {
        if (k == MOST_EXTENSIONS) return Outcome::too_many_headers;
        if (!ip.has(at, 8)) return Outcome::cut_ip;
        const uint32_t length = next == 44   ? 8
                                : next == 51 ? (ip.u8(at + 1) + 2u) * 4
                                             : (ip.u8(at + 1) + 1u) * 8;
        if (next == 44) {
            p.later_fragment = ip.be16(at + 2) & 0xfff8;
            p.fragment = ip.be16(at + 2) & 0xfff9;
            p.id = ip.be32(at + 4);
        }
        rerouted |= next == 43;
        next = ip.u8(at);
        at += length;
        if (at > total) return Outcome::bad_ip;
        if (at > ip.size) return Outcome::cut_ip;
    }
    p.protocol = next;
    return decode_transport(payload_of(ip, at, total, checksums && !p.fragment && !rerouted), p);
}

}  // namespace

const char* reason(Outcome outcome) {
    static constexpr const char* REASONS[] = {
        "",
        "",
        "the frame ends inside its link header",
        "the frame ends inside its IP header",
        "its IP header has a version or a length that cannot be",
        "its IP header has a wrong checksum",
        "its IP header says more bytes than the frame had",
        "the packet ends inside its TCP, UDP or ICMP header",
        "its TCP header has a length that cannot be",
        "too many headers one in another",
        "a fragment whose first part was not seen",
        "frames of this link type are not read",
        "a block whose lengths do not fit",
        "it names an interface that the capture does not describe",
        "a length that cannot be; all after it is left out",
        "the capture ends inside a packet",
    };
    static_assert(sizeof REASONS / sizeof *REASONS == size_t(Outcome::count));
    return REASONS[size_t(outcome)];
}

bool known_link(uint32_t type) { return under_link(type, {}).outcome != Outcome::link_type; }

Outcome decode(uint32_t link, Span frame, uint32_t wire, bool checksums, Packet& p) {
    const Inner inner = under_link(link, frame);
    if (inner.outcome != Outcome::packet) return inner.outcome;
    const Span ip = frame.from(inner.at);
    const uint32_t left = wire > inner.at ? wire - uint32_t(inner.at) : 0;
    if (ip.u8(0) >> 4 == 4) return decode_v4(ip, left, checksums, p);
    return decode_v6(ip, left, checksums, p);
}

}  // namespace lstmkit
