// The frames of a pcap or pcapng capture that comes in pieces of any size.
//
// Constant memory: of a frame the first KEPT bytes are kept, a length that cannot be is not
// believed (what follows it cannot be found again, and is left out), interfaces are at most
// MOST_INTERFACES. No length in the capture decides how much is allocated. The pieces decide
// nothing but when.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "archive.h"
#include "packets.h"
#include "span.h"

namespace lstmkit {

struct Frame {
    int64_t number = 0;  // 1: the first of the capture
    int64_t time = 0;    // nanoseconds since 1970, 0 .. 2^62
    uint32_t link = 0;
    uint32_t wire = 0;   // bytes before it was cut
    Span bytes;          // what was captured, until the next step
};

class Capture {
  public:
    static constexpr size_t KEPT = 256 << 10;          // also the longest record of a pcap
    static constexpr uint32_t LONGEST_BLOCK = 16 << 20;
    static constexpr size_t MOST_INTERFACES = 4096;

    enum class Format : uint8_t { unknown, pcap, pcapng, neither, unread_link, lost, count };
    enum class Found : uint8_t { nothing, more, frame, refused };

    // One step through `data`, which is moved past what was used. `nothing`: all of it was used.
    // `more`: something that is no frame. `frame`: one, in `frame`. `refused`: what cannot be used;
    // `frame.number` says which, `why` the reason. After neither, unread_link and lost all bytes are
    // used without a look.
    Found step(Span& data, Frame& frame, Outcome& why);

    // Whether the bytes so far end inside of something.
    bool unfinished() const { return !pending_.empty() || skip_ > 0; }
    Format format() const { return format_; }
    uint32_t link() const { return link_; }  // of a pcap
    int64_t frames() const { return frames_; }

    template <class Archive>
    void fields(Archive&);

  private:
    struct Interface {
        uint32_t link = 0;
        uint8_t resolution = 6;  // ticks a second: 10 to this, or where the highest bit is set 2 to
        int64_t offset = 0;      // the rest; seconds
    };
    // A header, a record or a block. used == 0: `want_` bytes of it are needed.
    struct Unit {
        size_t used = 0;
        Found found = Found::more;
    };

    Unit parse(Span, Frame&, Outcome&);
    Unit parse_header(Span);
    Unit parse_record(Span, Frame&, Outcome&);
    Unit parse_block(Span, Frame&, Outcome&);
    Unit wait_for(size_t bytes);
    Unit stop(Format, Span);
    Unit lose(Span, Frame&, Outcome&);
    Found refuse(Outcome, Frame&, Outcome&);
    Found block(uint32_t type, uint32_t length, Span, Frame&, Outcome&);
    Found describe(Span, Frame&, Outcome&);
    Found packet(uint32_t type, uint32_t length, Span, Frame&, Outcome&);
    Found simple_packet(uint32_t length, Span, Frame&, Outcome&);

    uint16_t u16(Span s, size_t at) const { return big_ ? s.be16(at) : s.le16(at); }
    uint32_t u32(Span s, size_t at) const { return big_ ? s.be32(at) : s.le32(at); }

    Format format_ = Format::unknown;
    bool big_ = false;   // big-endian
    bool nano_ = false;  // a pcap whose times are in nanoseconds
    uint32_t link_ = 0;
    uint32_t snap_ = 0;  // of the section's first interface
    int64_t frames_ = 0, last_time_ = 0;
    uint64_t skip_ = 0;  // bytes that are not looked at
    size_t want_ = 4;
    std::vector<Interface> interfaces_;
    std::string pending_;  // a unit's first bytes, fewer than want_
    std::string current_;  // the unit that `frame` points into
};

template <class Archive>
void Capture::fields(Archive& a) {
    a(format_, big_, nano_, link_, snap_, frames_, last_time_, skip_);
    uint64_t count = interfaces_.size(), waiting = pending_.size(), want = want_;
    a(count, waiting, want);
    if constexpr (Archive::reading) {
        a.require(format_ < Format::count && count <= MOST_INTERFACES && waiting < want &&
                  want <= KEPT + 64);
        a.require_small(frames_, last_time_);
        if (a.failed) return;
        interfaces_.resize(count);
        want_ = want;
    }
    for (Interface& i : interfaces_) a(i.link, i.resolution, i.offset);
    if constexpr (Archive::reading) {
        const Span kept = a.take(waiting);
        if (kept.size) pending_.assign(reinterpret_cast<const char*>(kept.data), kept.size);
    } else {
        a.bytes += pending_;
    }
}

}  // namespace lstmkit
