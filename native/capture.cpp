#include "capture.h"

#include <algorithm>

namespace lstmkit {
namespace {

constexpr uint32_t MICRO = 0xa1b2c3d4, NANO = 0xa1b23c4d, SECTION = 0x0a0d0d0a, ORDER = 0x1a2b3c4d;
constexpr size_t FILE_HEADER = 24, RECORD_HEADER = 16, BLOCK_HEADER = 8;
enum Block : uint32_t { INTERFACE = 1, OLD_PACKET = 2, SIMPLE = 3, ENHANCED = 6 };
enum Option : uint16_t { END = 0, RESOLUTION = 9, OFFSET = 14 };
constexpr int MOST_OPTIONS = 64;

constexpr __int128 SECOND = 1000000000;
constexpr __int128 LATEST = __int128(1) << 62;  // nanoseconds: the year 2116

int64_t bounded(__int128 time) { return int64_t(std::clamp<__int128>(time, 0, LATEST)); }

__int128 power_of_ten(int n) {
    __int128 found = 1;
    for (; n > 0; n--) found *= 10;
    return found;
}

// Ticks of an interface as nanoseconds since 1970.
int64_t nanoseconds(uint64_t ticks, uint8_t resolution, int64_t offset) {
    const int k = resolution & 0x7f;
    __int128 time = 0;
    if (resolution & 0x80)
        time = (__int128(ticks) * SECOND) >> k;
    else if (k <= 9)
        time = __int128(ticks) * power_of_ten(9 - k);
    else if (k <= 28)
        time = __int128(ticks) / power_of_ten(k - 9);
    return bounded(time + __int128(offset) * SECOND);
}

Span span_of(const std::string& s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }

}  // namespace

// --- pieces ---------------------------------------------------------------------------------------

// A unit is read where it stands if `data` has all of it; otherwise its bytes are gathered first,
// never more than it asks for, so that a unit that was gathered is used whole.
Capture::Found Capture::step(Span& data, Frame& frame, Outcome& why) {
    const size_t passed = size_t(std::min<uint64_t>(skip_, data.size));
    data = data.from(passed);
    skip_ -= passed;
    if (format_ >= Format::neither) data = {};
    if (data.size == 0) return Found::nothing;
    if (pending_.empty()) {
        const Unit unit = parse(data, frame, why);
        if (unit.used == 0) pending_.assign(reinterpret_cast<const char*>(data.data), data.size);
        data = unit.used ? data.from(unit.used) : Span{};
        return unit.used ? unit.found : Found::nothing;
    }
    const size_t added = std::min(want_ - pending_.size(), data.size);
    pending_.append(reinterpret_cast<const char*>(data.data), added);
    data = data.from(added);
    if (pending_.size() < want_) return Found::nothing;
    current_.swap(pending_);
    pending_.clear();
    const Unit unit = parse(span_of(current_), frame, why);
    if (unit.used == 0) pending_.swap(current_);
    return unit.used ? unit.found : Found::more;
}

Capture::Unit Capture::parse(Span s, Frame& frame, Outcome& why) {
    if (s.size < 4) return wait_for(4);
    if (format_ == Format::unknown && s.be32(0) == SECTION) format_ = Format::pcapng;
    if (format_ == Format::unknown) return parse_header(s);
    return format_ == Format::pcap ? parse_record(s, frame, why) : parse_block(s, frame, why);
}

Capture::Unit Capture::wait_for(size_t bytes) {
    want_ = bytes;
    return {};
}

Capture::Unit Capture::stop(Format format, Span s) {
    format_ = format;
    return {s.size, Found::more};
}

Capture::Unit Capture::lose(Span s, Frame& frame, Outcome& why) {
    format_ = Format::lost;
    return {s.size, refuse(Outcome::lost, frame, why)};
}

Capture::Found Capture::refuse(Outcome reason, Frame& frame, Outcome& why) {
    frame.number = ++frames_;
    why = reason;
    return Found::refused;
}

// --- pcap -----------------------------------------------------------------------------------------

Capture::Unit Capture::parse_header(Span s) {
    big_ = s.be32(0) == MICRO || s.be32(0) == NANO;
    nano_ = u32(s, 0) == NANO;
    if (!nano_ && u32(s, 0) != MICRO) return stop(Format::neither, s);
    if (s.size < FILE_HEADER) return wait_for(FILE_HEADER);
    if (u16(s, 4) != 2) return stop(Format::neither, s);
    link_ = u32(s, 20) & 0xffff;  // above it: whether frames end with their checksum
    if (!known_link(link_)) return stop(Format::unread_link, s);
    format_ = Format::pcap;
    return {FILE_HEADER, Found::more};
}

Capture::Unit Capture::parse_record(Span s, Frame& frame, Outcome& why) {
    if (s.size < RECORD_HEADER) return wait_for(RECORD_HEADER);
    const uint32_t captured = u32(s, 8), wire = u32(s, 12);
    if (captured > KEPT) return lose(s, frame, why);
    if (s.size < RECORD_HEADER + captured) return wait_for(RECORD_HEADER + captured);
    const int64_t fraction = int64_t(u32(s, 4)) * (nano_ ? 1 : 1000);
    frame.number = ++frames_;
    frame.time = last_time_ = int64_t(u32(s, 0)) * int64_t(SECOND) + fraction;
    frame.link = link_;
    frame.wire = std::max(wire, captured);
    frame.bytes = s.from(RECORD_HEADER).first(captured);
    return {RECORD_HEADER + captured, Found::frame};
}

// --- pcapng ---------------------------------------------------------------------------------------

Capture::Unit Capture::parse_block(Span s, Frame& frame, Outcome& why) {
    if (s.size < BLOCK_HEADER + 4) return wait_for(BLOCK_HEADER + 4);
    const bool section = s.be32(0) == SECTION;
    if (section) big_ = s.be32(8) == ORDER;
    if (section && u32(s, 8) != ORDER) return lose(s, frame, why);
    const uint32_t type = u32(s, 0), length = u32(s, 4);
    if (length < BLOCK_HEADER + 4 || length % 4 || length > LONGEST_BLOCK)
        return lose(s, frame, why);
    const bool read = section || (type >= INTERFACE && type <= SIMPLE) || type == ENHANCED;
    const size_t kept = read ? std::min<size_t>(length, KEPT + 64) : BLOCK_HEADER + 4;
    if (s.size < kept) return wait_for(kept);
    skip_ = length - kept;
    const Found found = read ? block(type, length, s.first(kept), frame, why) : Found::more;
    return {kept, found};
}

Capture::Found Capture::block(uint32_t type, uint32_t length, Span s, Frame& frame, Outcome& why) {
    if (s.size == length && u32(s, length - 4) != length)
        return refuse(Outcome::bad_block, frame, why);
    switch (type) {
        case SECTION:
            interfaces_.clear();
            return Found::more;
        case INTERFACE: return describe(s, frame, why);
        case SIMPLE: return simple_packet(length, s, frame, why);
        default: return packet(type, length, s, frame, why);
    }
}

// An interface: its link type, the first bytes of its frames, and options.
Capture::Found Capture::describe(Span s, Frame& frame, Outcome& why) {
    if (!s.has(0, 20) || interfaces_.size() == MOST_INTERFACES)
        return refuse(Outcome::bad_block, frame, why);
    Interface made{u16(s, 8)};
    if (interfaces_.empty()) snap_ = u32(s, 12);
    const Span options = s.first(s.size - 4).from(16);
    size_t at = 0;
    for (int k = 0; k < MOST_OPTIONS && options.has(at, 4); k++) {
        const uint16_t code = u16(options, at), size = u16(options, at + 2);
        if (code == END || !options.has(at + 4, size)) break;
        if (code == RESOLUTION && size == 1) made.resolution = options.u8(at + 4);
        if (code == OFFSET && size == 8) {
            const uint64_t a = u32(options, at + 4), b = u32(options, at + 8);
            made.offset = int64_t(big_ ? a << 32 | b : b << 32 | a);
        }
        at += 4 + (size + 3u) / 4 * 4;
    }
    interfaces_.push_back(made);
    return Found::more;
}

// An enhanced packet, or the obsolete one, whose interface has 16 bits.
Capture::Found Capture::packet(uint32_t type, uint32_t length, Span s, Frame& frame, Outcome& why) {
    const uint32_t captured = u32(s, 20), wire = u32(s, 24);
    if (length < 32 || captured > length - 32) return refuse(Outcome::bad_block, frame, why);
    const uint32_t which = type == ENHANCED ? u32(s, 8) : u16(s, 8);
    if (which >= interfaces_.size()) return refuse(Outcome::no_interface, frame, why);
    const Interface& from = interfaces_[which];
    if (!known_link(from.link)) return refuse(Outcome::link_type, frame, why);
    const uint64_t ticks = uint64_t(u32(s, 12)) << 32 | u32(s, 16);
    frame.number = ++frames_;
    frame.time = last_time_ = nanoseconds(ticks, from.resolution, from.offset);
    frame.link = from.link;
    frame.wire = std::max(wire, captured);
    frame.bytes = s.from(28).first(captured);
    return Found::frame;
}

// A packet of the first interface, without a time: that of the packet before it.
Capture::Found Capture::simple_packet(uint32_t length, Span s, Frame& frame, Outcome& why) {
    if (length < 16) return refuse(Outcome::bad_block, frame, why);
    if (interfaces_.empty()) return refuse(Outcome::no_interface, frame, why);
    if (!known_link(interfaces_[0].link)) return refuse(Outcome::link_type, frame, why);
    const uint32_t wire = u32(s, 8), cut = snap_ ? std::min(wire, snap_) : wire;
    frame.number = ++frames_;
    frame.time = last_time_;
    frame.link = interfaces_[0].link;
    frame.wire = wire;
    frame.bytes = s.from(12).first(std::min(cut, length - 16));
    return Found::frame;
}

}  // namespace lstmkit
