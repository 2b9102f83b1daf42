#include "flowtable.h"

#include <algorithm>
#include <random>
#include <tuple>
#include <utility>

#include "services.h"

namespace lstmkit {
namespace {

// What Zeek has where nobody sets it otherwise.
constexpr int64_t SECOND = 1000000000;
constexpr int64_t ATTEMPT = 5 * SECOND, CLOSING = 5 * SECOND, NOTHING_SOUND = 11 * SECOND;
constexpr int64_t TCP_PATIENCE = 300 * SECOND, PATIENCE = 60 * SECOND;
constexpr int64_t FRAGMENT_PATIENCE = 30 * SECOND;

Key key_of(const Address& src, uint16_t sport, const Address& dst, uint16_t dport, uint8_t protocol,
           bool one_way) {
    const bool ordered = one_way || std::tie(src, sport) < std::tie(dst, dport);
    return ordered ? Key{src, dst, sport, dport, protocol} : Key{dst, src, dport, sport, protocol};
}

Key key_of(const Packet& p) { return key_of(p.src, p.sport, p.dst, p.dport, p.protocol, p.one_way); }

uint64_t mixed(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return uint64_t(product) ^ uint64_t(product >> 64);
}

// UDP ports of servers, from the protocols that Zeek looks for.
bool udp_serves(uint16_t port) {
    static constexpr uint16_t PORTS[] = {53,  67,  88,   123,  137,  161,  162,  443,  514,
                                         1812, 2123, 2152, 3544, 4789, 5060, 5072, 5353, 5355};
    return std::find(std::begin(PORTS), std::end(PORTS), port) != std::end(PORTS);
}

bool reversed(const Packet& p) {
    if (!p.ports) return false;
    if (p.protocol == TCP) return looks_reversed(p);
    return p.protocol == UDP && udp_serves(p.sport) && !udp_serves(p.dport);
}

void turn(Flow& f) {
    std::swap(f.src, f.dst);
    std::swap(f.sport, f.dport);
}

// When a flow ends if no packet comes any more.
int64_t deadline(const Flow& f) {
    int64_t found = f.patience ? f.touched + f.patience : NEVER;
    if (f.over_at) found = std::min(found, f.over_at);
    if (f.attempt_until) found = std::min(found, f.attempt_until);
    if (f.protocol != TCP) return found;
    const bool silent =
        f.ends[0].state == EndState::inactive && f.ends[1].state == EndState::inactive;
    if (silent) found = std::min(found, f.created + NOTHING_SOUND);
    return found == NEVER ? f.touched + TCP_PATIENCE : found;
}

bool unanswered(const Flow& f) {
    const EndState s = f.ends[0].state;
    return (s == EndState::syn_sent || s == EndState::syn_ack_sent) &&
           f.ends[1].state == EndState::inactive;
}

// What lies before the stream's beginning, as it was seen, is not looked at.
void look(Flow& f, const Packet& p, int side) {
    End& e = f.ends[side];
    if (p.payload.size == 0 || e.signs || e.looked == LOOKED_AT) return;
    if (p.protocol == TCP && (int32_t(p.seq - e.start) < 0 || p.flags & RST)) return;
    e.looked++;
    e.signs = sign_of(f.protocol, f.dport, p.payload);
}

}  // namespace

Key Flow::key() const { return key_of(src, sport, dst, dport, protocol, one_way); }

// --- table ----------------------------------------------------------------------------------------

FlowTable::FlowTable(size_t most)
    : most_(std::clamp<size_t>(most, 1, size_t(1) << 28)), buckets_(1024) {
    take_slot();
    std::random_device random;
    for (uint64_t& s : secret_) s = (uint64_t(random()) << 32 | random()) | 1;
}

uint32_t FlowTable::take_slot() {
    if (!free_.empty()) {
        const uint32_t slot = free_.back();
        free_.pop_back();
        return slot;
    }
    if (slots_ % SLAB == 0) slabs_.push_back(std::make_unique<Flow[]>(SLAB));
    return slots_++;
}

uint64_t FlowTable::hash(const Key& k) const {
    uint64_t h = mixed(k.a.high ^ secret_[0], k.a.low ^ secret_[1]);
    h = mixed(h ^ k.b.high ^ secret_[1], k.b.low ^ secret_[0]);
    const uint64_t rest = uint64_t(k.port_a) << 32 | uint64_t(k.port_b) << 16 | k.protocol;
    return mixed(h ^ rest, secret_[0] ^ 0x9e3779b97f4a7c15);
}

uint32_t FlowTable::find(const Key& key) const {
    const size_t mask = buckets_.size() - 1;
    for (size_t at = hash(key) & mask; buckets_[at]; at = (at + 1) & mask)
        if (flow(buckets_[at]).key() == key) return buckets_[at];
    return 0;
}

void FlowTable::link(const Key& key, uint32_t slot) {
    if (2 * (count_ + 1) > buckets_.size()) grow();
    const size_t mask = buckets_.size() - 1;
    size_t at = hash(key) & mask;
    while (buckets_[at]) at = (at + 1) & mask;
    buckets_[at] = slot;
    count_++;
}

// The buckets after the freed one move up, so that none is behind a gap.
void FlowTable::unlink(const Key& key) {
    const size_t mask = buckets_.size() - 1;
    size_t gap = hash(key) & mask;
    while (!(flow(buckets_[gap]).key() == key)) gap = (gap + 1) & mask;
    for (size_t at = (gap + 1) & mask; buckets_[at]; at = (at + 1) & mask) {
        const size_t home = hash(flow(buckets_[at]).key()) & mask;
        if (((at - home) & mask) < ((at - gap) & mask)) continue;
        buckets_[gap] = buckets_[at];
        gap = at;
    }
    buckets_[gap] = 0;
    count_--;
}

void FlowTable::grow() {
    std::vector<uint32_t> old(2 * buckets_.size());
    old.swap(buckets_);
    const size_t mask = buckets_.size() - 1;
    for (const uint32_t slot : old) {
        if (!slot) continue;
        size_t at = hash(flow(slot).key()) & mask;
        while (buckets_[at]) at = (at + 1) & mask;
        buckets_[at] = slot;
    }
}

void FlowTable::use(uint32_t slot) {
    Flow &f = flow(slot), &head = flow(0);
    f.newer = 0;
    f.older = head.older;  // the head's `older` is the newest, its `newer` the oldest
    flow(head.older).newer = slot;
    head.older = slot;
}

void FlowTable::forget_use(uint32_t slot) {
    const Flow& f = flow(slot);
    flow(f.newer).older = f.older;
    flow(f.older).newer = f.newer;
}

// --- flows ----------------------------------------------------------------------------------------

uint32_t FlowTable::create(const Packet& p, const Key& key, int64_t number, int64_t time) {
    if (count_ >= most_) end(flow(0).newer);
    const uint32_t slot = take_slot();
    Flow& f = flow(slot) = Flow{};
    f.id = ++made_;
    f.src = p.src;
    f.dst = p.dst;
    f.sport = p.sport;
    f.dport = p.dport;
    f.protocol = p.protocol;
    f.ports = p.ports;
    f.one_way = p.one_way;
    f.began = f.last = time;
    f.first_packet = number;
    f.created = f.touched = now_;
    f.patience = p.protocol == TCP ? 0 : PATIENCE;
    if (reversed(p)) {
        turn(f);
        f.history.add('^', false);
    }
    link(key, slot);
    use(slot);
    return slot;
}

// Whether the two ends were swapped.
bool FlowTable::take_tcp(Flow& f, const Packet& p, int side, int64_t time) {
    const TcpStep step = tcp_packet(f.ends, f.tcp, f.history, p, side);
    if (step.turned) turn(f);
    if (step.counted) {
        f.last = std::max(f.last, time);
        f.touched = now_;
    }
    if (step.opened && !f.attempt_until) f.attempt_until = now_ + ATTEMPT;
    if (step.lively) f.patience = TCP_PATIENCE;
    if (step.over) {
        f.over_at = f.touched + CLOSING;
        f.attempt_until = 0;
    }
    if (step.late_reset && !f.over_at) f.over_at = now_ + CLOSING;
    return step.turned;
}

void FlowTable::take_other(Flow& f, const Packet& p, int side, int64_t time) {
    End& e = f.ends[side];
    e.bytes += p.bytes;
    e.spoke = true;
    f.last = std::max(f.last, time);
    f.touched = now_;
    if (p.protocol == UDP) f.history.again(0, 'D', side);
}

void FlowTable::count(Flow& f, const Packet& p, int side, int64_t number, int64_t time) {
    End& e = f.ends[side];
    e.packets++;
    e.ip_bytes += p.ip_bytes;
    f.last_packet = number;
    if (p.corrupt) {
        if (p.protocol == TCP || p.protocol == UDP) f.history.at_powers(e.corrupt, 'C', side);
        return;
    }
    if (p.protocol != TCP) take_other(f, p, side, time);
    else if (take_tcp(f, p, side, time)) side = 1 - side;
    look(f, p, side);
}

Outcome FlowTable::add(const Packet& p, int64_t number, int64_t time) {
    time -= time % 1000;  // Zeek's clock has microseconds
    now_ = clock_.at(time);
    expire(now_);
    if (p.later_fragment) return add_fragment(p, number, time);
    const Key key = key_of(p);
    uint32_t slot = find(key);
    if (slot && p.protocol == TCP && tcp_reuse(flow(slot).ends, p)) {
        end(slot);
        slot = 0;
    }
    if (slot) forget_use(slot), use(slot);
    else slot = create(p, key, number, time);
    Flow& f = flow(slot);
    const int side = !(p.src == f.src && p.sport == f.sport);
    count(f, p, side, number, time);
    if (p.fragment)
        fragmented(p) = {p.src, p.dst, p.id, p.part_of, slot, f.id, now_ + FRAGMENT_PATIENCE};
    schedule(slot);
    return Outcome::packet;
}

// --- fragments ------------------------------------------------------------------------------------

// Where the packet that a fragment is of is remembered, or another that had the place before.
FlowTable::Fragmented& FlowTable::fragmented(const Packet& p) {
    uint64_t h = mixed(p.src.low ^ 0x9e3779b97f4a7c15, p.dst.low ^ 0xbf58476d1ce4e5b9);
    h = mixed(h ^ p.src.high ^ p.id, p.dst.high ^ p.part_of ^ 0x94d049bb133111eb);
    if (fragmented_.empty()) fragmented_.resize(MOST_FRAGMENTED);
    return fragmented_[h % MOST_FRAGMENTED];
}

Outcome FlowTable::add_fragment(const Packet& p, int64_t number, int64_t time) {
    const Fragmented& of = fragmented(p);
    const bool known = of.flow && of.until >= now_ && of.id == p.id && of.part_of == p.part_of &&
                       of.src == p.src && of.dst == p.dst && flow(of.slot).id == of.flow;
    if (!known) return Outcome::lost_fragment;
    Flow& f = flow(of.slot);
    End& e = f.ends[!(p.src == f.src)];
    e.packets++;
    e.ip_bytes += p.ip_bytes;
    f.last_packet = number;
    f.last = std::max(f.last, time);
    f.touched = now_;
    forget_use(of.slot), use(of.slot);
    return Outcome::packet;
}

// --- the end --------------------------------------------------------------------------------------

void FlowTable::schedule(uint32_t slot) {
    Flow& f = flow(slot);
    const int64_t at = deadline(f);
    if (at >= f.scheduled) return;  // a timer that comes too early is set again
    f.scheduled = at;
    timers_.push_back({at, f.id, slot});
    std::push_heap(timers_.begin(), timers_.end());
    if (timers_.size() > 4 * count_ + 1024) drop_old_timers();
}

// Those of flows that are over, or that were set anew, wait in the heap for their time.
void FlowTable::drop_old_timers() {
    std::erase_if(timers_, [this](const Timer& t) {
        return flow(t.slot).id != t.id || flow(t.slot).scheduled != t.at;
    });
    std::make_heap(timers_.begin(), timers_.end());
}

void FlowTable::expire(int64_t now) {
    while (!timers_.empty() && timers_.front().at <= now) {
        const Timer timer = timers_.front();
        std::pop_heap(timers_.begin(), timers_.end());
        timers_.pop_back();
        Flow& f = flow(timer.slot);
        if (f.id != timer.id || f.scheduled != timer.at) continue;
        if (f.attempt_until && f.attempt_until <= timer.at && !unanswered(f)) f.attempt_until = 0;
        if (deadline(f) <= timer.at) {
            end(timer.slot);
            continue;
        }
        f.scheduled = NEVER;
        schedule(timer.slot);
    }
}

void FlowTable::end(uint32_t slot) {
    unlink(flow(slot).key());
    forget_use(slot);
    ended.push_back(flow(slot));
    flow(slot).id = 0;
    free_.push_back(slot);
}

void FlowTable::finish() {
    std::vector<Timer> order;
    order.reserve(count_);
    for (uint32_t slot = flow(0).newer; slot; slot = flow(slot).newer)
        order.push_back({deadline(flow(slot)), flow(slot).id, slot});
    std::sort(order.begin(), order.end(), [](const Timer& a, const Timer& b) { return b < a; });
    ended.reserve(ended.size() + order.size());
    for (const Timer& t : order) {
        ended.push_back(flow(t.slot));
        flow(t.slot).id = 0;
        free_.push_back(t.slot);
    }
    std::fill(buckets_.begin(), buckets_.end(), 0);
    flow(0) = Flow{};
    timers_.clear();
    count_ = 0;
}

}  // namespace lstmkit
