// The open flows of a table as bytes and back.

#include <algorithm>
#include <unordered_map>

#include "flowtable.h"

namespace lstmkit {
namespace {

template <class Archive>
void fields(Archive& a, Address& x) {
    a(x.high, x.low);
}

template <class Archive>
void fields(Archive& a, End& e) {
    a(e.packets, e.ip_bytes, e.bytes, e.corrupt, e.spoke, e.done, e.fin, e.state, e.before, e.signs,
      e.looked, e.last, e.ack, e.last_wraps, e.ack_wraps, e.start, e.syn_at, e.fin_at, e.rst_at,
      e.repeats, e.zero_windows);
    if constexpr (Archive::reading)
        a.require(e.state < EndState::count && e.before < EndState::count &&
                  e.last_wraps <= End::MOST_WRAPS && e.ack_wraps <= End::MOST_WRAPS);
}

template <class Archive>
void fields(Archive& a, Flow& f) {
    a(f.id, f.sport, f.dport, f.protocol, f.ports, f.one_way, f.began, f.last, f.first_packet,
      f.last_packet, f.created, f.touched, f.patience, f.attempt_until, f.over_at, f.tcp.partial,
      f.tcp.first_seen[0], f.tcp.first_seen[1], f.history.size, f.history.seen);
    fields(a, f.src);
    fields(a, f.dst);
    for (char& letter : f.history.letters) a(letter);
    for (End& e : f.ends) fields(a, e);
    if constexpr (Archive::reading) {
        a.require(f.history.size <= History::LONGEST && f.id);
        for (const char letter : f.history.letters) a.require(uint8_t(letter) < 127);
        a.require_small(f.began, f.last, f.first_packet, f.last_packet, f.created, f.touched);
        a.require_small(f.patience, f.attempt_until, f.over_at);
    }
}

}  // namespace

void FlowTable::save(Writer& w) const {
    Clock clock = clock_;
    clock.fields(w);
    w(now_, made_, uint64_t(count_));
    for (uint32_t slot = flow(0).newer; slot; slot = flow(slot).newer) {
        Flow f = flow(slot);
        fields(w, f);
    }
    std::vector<Fragmented> known;
    for (const Fragmented& f : fragmented_)
        if (f.flow && f.until >= now_ && flow(f.slot).id == f.flow) known.push_back(f);
    w(uint64_t(known.size()));
    for (Fragmented& f : known) {
        fields(w, f.src);
        fields(w, f.dst);
        w(f.id, f.part_of, f.flow, f.until);
    }
}

bool FlowTable::restore(Reader& r) {
    uint64_t count = 0, remembered = 0;
    clock_.fields(r);
    r(now_, made_, count);
    r.require_small(now_);
    r.require(count <= most_);
    for (uint64_t k = 0; k < count && !r.failed; k++) {
        Flow f;
        fields(r, f);
        r.require(f.id <= made_ && !find(f.key()));
        if (r.failed) return false;
        const uint32_t slot = take_slot();
        flow(slot) = f;
        link(f.key(), slot);
        use(slot);
        schedule(slot);
    }
    r(remembered);
    r.require(remembered <= MOST_FRAGMENTED);
    if (r.failed) return false;
    std::unordered_map<uint64_t, uint32_t> slots;
    for (uint32_t slot = 1; slot < slots_; slot++) slots[flow(slot).id] = slot;
    for (uint64_t k = 0; k < remembered && !r.failed; k++) {
        Fragmented f;
        Packet p;
        fields(r, p.src);
        fields(r, p.dst);
        r(p.id, p.part_of, f.flow, f.until);
        f.slot = slots[f.flow];
        r.require(f.slot);
        fragmented(p) = {p.src, p.dst, p.id, p.part_of, f.slot, f.flow, f.until};
    }
    return !r.failed;
}

}  // namespace lstmkit
