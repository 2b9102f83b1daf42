// Packets to flows, as Zeek's conn.log has them: what belongs together, which end began, when it is
// over. Flows come out when they end, in the order of the packets' clock; ties by which began
// first.
//
// Memory: at most `most` flows are open, about 0.4 kB each (the one that was quiet longest leaves
// for a new one), and MOST_FRAGMENTED packets are remembered whose fragments are under way. No
// allocation for a packet of an open flow. Nothing that comes out depends on the hash's secret.

#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "archive.h"
#include "clock.h"
#include "packets.h"
#include "tcp.h"

namespace lstmkit {

constexpr int64_t NEVER = std::numeric_limits<int64_t>::max();

struct Key {
    Address a, b;
    uint16_t port_a = 0, port_b = 0;
    uint8_t protocol = 0;
    bool operator==(const Key&) const = default;
};

// Times are nanoseconds: `began` and `last` those of the packets, since 1970; the others of the
// table's clock.
struct Flow {
    uint64_t id = 0;  // 0: free
    Address src, dst;
    uint16_t sport = 0, dport = 0;
    uint8_t protocol = 0;
    bool ports = false, one_way = false;
    int64_t began = 0, last = 0;
    int64_t first_packet = 0, last_packet = 0;
    int64_t created = 0, touched = 0;
    int64_t patience = 0;             // it ends when it was quiet for so long; 0: not yet
    int64_t attempt_until = 0;        // an attempt without an answer by then is over
    int64_t over_at = 0;
    int64_t scheduled = NEVER;
    Tcp tcp;
    History history;
    End ends[2];
    uint32_t newer = 0, older = 0;    // in the order of use

    Key key() const;
};

class FlowTable {
  public:
    static constexpr size_t MOST_FRAGMENTED = 4096;
    static constexpr uint32_t SLAB = 128;

    explicit FlowTable(size_t most);

    // `lost_fragment` where the packet belongs to no known flow, otherwise `packet`.
    Outcome add(const Packet&, int64_t number, int64_t time);

    // All flows are over.
    void finish();

    // Flows that are over, oldest first; the caller empties it.
    std::vector<Flow> ended;

    size_t open() const { return count_; }
    size_t timers() const { return timers_.size(); }  // a few for each open flow

    void save(Writer&) const;
    bool restore(Reader&);  // into a new table; false: no state, and the table is of no use

  private:
    struct Timer {
        int64_t at;
        uint64_t id;
        uint32_t slot;
        bool operator<(const Timer& o) const { return at != o.at ? at > o.at : id > o.id; }
    };
    struct Fragmented {
        Address src, dst;
        uint32_t id = 0;
        uint8_t part_of = 0;
        uint32_t slot = 0;
        uint64_t flow = 0;  // 0: none
        int64_t until = 0;
    };

    Flow& flow(uint32_t slot) { return slabs_[slot / SLAB][slot % SLAB]; }
    const Flow& flow(uint32_t slot) const { return slabs_[slot / SLAB][slot % SLAB]; }
    uint32_t take_slot();
    uint32_t find(const Key&) const;
    uint64_t hash(const Key&) const;
    void link(const Key&, uint32_t slot);
    void unlink(const Key&);
    void grow();
    void use(uint32_t slot);
    void forget_use(uint32_t slot);

    uint32_t create(const Packet&, const Key&, int64_t number, int64_t time);
    void count(Flow&, const Packet&, int side, int64_t number, int64_t time);
    bool take_tcp(Flow&, const Packet&, int side, int64_t time);
    void take_other(Flow&, const Packet&, int side, int64_t time);
    void schedule(uint32_t slot);
    void drop_old_timers();
    void expire(int64_t now);
    void end(uint32_t slot);
    Outcome add_fragment(const Packet&, int64_t number, int64_t time);
    Fragmented& fragmented(const Packet&);

    size_t most_, count_ = 0;
    uint64_t made_ = 0;
    int64_t now_ = 0;
    uint64_t secret_[2];
    Clock clock_;
    std::vector<std::unique_ptr<Flow[]>> slabs_;  // slot 0 is the head of the order of use
    uint32_t slots_ = 0;
    std::vector<uint32_t> free_;
    std::vector<uint32_t> buckets_;  // slots by hash, 0: none; a power of two of them
    std::vector<Timer> timers_;      // a heap
    std::vector<Fragmented> fragmented_;  // by hash; none before the first fragment
};

}  // namespace lstmkit
