#include "tcp.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace lstmkit {
namespace {

using enum EndState;

constexpr int32_t FAR = 1 << 20;  // a jump of sequence numbers that a SYN or RST is not believed
enum Once { ONCE_SYN, ONCE_FIN, ONCE_RST, ONCE_FIN_RST, ONCE_DATA, ONCE_ACK, ONCE_MANY };

int32_t distance(uint32_t to, uint32_t from) { return int32_t(to - from); }

// `start`: the SYN's number, or that before the first packet's, as if a SYN had stood there.
void begin_at(End& e, uint32_t start, uint32_t last) {
    e.start = start;
    e.ack = start;
    e.last = last;
    e.last_wraps = last < start;
    e.ack_wraps = 0;
}

void begin(End& e, const Packet& p, uint32_t past) {
    if (e.state == inactive && !(p.flags & SYN)) return begin_at(e, p.seq - 1, p.seq);
    const bool anew = e.state == inactive || e.state == established || e.state == partial ||
                      (e.handshaking() && e.start != p.seq) ||
                      (e.state == reset && e.before == inactive);
    if ((p.flags & SYN) && anew) begin_at(e, p.seq, past);
}

void note(History& h, End& e, const Packet& p, int side, uint32_t place) {
    const int marks = ((p.flags & SYN) != 0) + ((p.flags & FIN) != 0) + ((p.flags & RST) != 0);
    const auto repeatable = [&](int bit, char letter, uint32_t& last, uint32_t now) {
        if (h.again(bit, letter, side) && now != last) h.add(letter, side);
        last = now;
    };
    if (marks > 1)
        p.flags & FIN && p.flags & RST ? h.again(ONCE_FIN_RST, 'I', side)
                                       : h.again(ONCE_MANY, 'Q', side);
    else if (p.flags & SYN)
        repeatable(ONCE_SYN, p.flags & ACK ? 'H' : 'S', e.syn_at, place);
    else if (p.flags & FIN)
        repeatable(ONCE_FIN, 'F', e.fin_at, place + p.bytes);
    else if (p.flags & RST)
        repeatable(ONCE_RST, 'R', e.rst_at, place);
    else if (p.bytes)
        h.again(ONCE_DATA, 'D', side);
    else if (p.flags & ACK)
        h.again(ONCE_ACK, 'A', side);
}

void advance(uint32_t& number, uint32_t& wraps, uint32_t to) {
    wraps += to < number && wraps < End::MOST_WRAPS;
    number = to;
}

void take_ack(End& peer, uint32_t ack) {
    const int32_t ahead = distance(ack, peer.ack);
    if (ahead > 0 && !(ack == 0 && ahead > FAR)) advance(peer.ack, peer.ack_wraps, ack);
}

void take_seq(End& e, const Packet& p, uint32_t past, History& h, int side) {
    const int32_t ahead = distance(past, e.last);
    if ((p.flags & (SYN | RST)) && (ahead > FAR || ahead < -FAR)) return;
    if ((p.flags & FIN) && e.last == e.start + 1)
        advance(e.last, e.last_wraps, past);  // more than 2 GB of which only SYN and FIN were seen
    else if (e.state == reset)
        return;
    else if (ahead > 0)
        advance(e.last, e.last_wraps, past);
    else if (p.bytes)
        h.at_powers(e.repeats, 'T', side);
}

// --- what a packet does, by the state of its end --------------------------------------------------

struct Move {
    bool close = false;
    TcpStep step;
};

void first_syn(End* ends, Tcp& tcp, History& h, const Packet& p, int side, Move& move) {
    End &e = ends[side], &peer = ends[1 - side];
    if (side == 0) {
        e.enter(p.flags & ACK ? syn_ack_sent : syn_sent);
        move.step.opened = true;
        return;
    }
    if (!(p.flags & ACK) && peer.state == syn_ack_sent && p.seq == e.start) {
        // The SYN-ACK was captured before its SYN.
        tcp.partial = false;
        peer.enter(established);
        e.enter(established);
        std::swap(ends[0], ends[1]);
        h.add('^', false);
        move.step.turned = true;
        return;
    }
    if (peer.state == syn_sent) peer.enter(established);
    e.enter(established);
}

void first_packet(End* ends, Tcp& tcp, History& h, const Packet& p, int side, Move& move) {
    End &e = ends[side], &peer = ends[1 - side];
    if (p.flags & SYN) {
        first_syn(ends, tcp, h, p, side, move);
        if (move.step.turned) return;
    }
    if (p.flags & FIN) {
        e.enter(closed);
        move.close = true;
    }
    if (p.flags & RST) {
        e.enter(reset);
        move.close = true;
    }
    if (e.state != inactive) return;
    if (side == 1 && p.bytes == 0 && ends[0].state == syn_sent) return;  // an ACK before the SYN-ACK
    if ((p.flags & ACK) && peer.state == established) {
        e.enter(established);  // the SYN was missed, the SYN-ACK was not
        tcp.partial = false;
    } else {
        e.enter(partial);
    }
}

void packet_after_syn(End& e, const Packet& p, Move& move) {
    if (p.flags & FIN) e.enter(closed);
    if (p.flags & RST) e.enter(reset);
    move.close = p.flags & (FIN | RST);
}

void packet_under_way(End& e, End& peer, const Packet& p, Move& move) {
    if ((p.flags & (SYN | ACK)) == SYN && e.state == partial && peer.state == inactive)
        e.enter(syn_sent);
    if ((p.flags & FIN) && !(p.flags & RST)) {
        e.enter(closed);
        if (peer.state == reset && peer.before == closed) peer.enter(closed);  // FIN, RST: an end
        move.close = true;
    }
    if (p.flags & RST) {
        e.enter(reset);
        move.close = true;
    }
}

void packet_after_fin(End& e, const End& peer, const Packet& p, Move& move) {
    if (!(p.flags & RST) || peer.state == closed) return;
    e.enter(reset);
    move.close = !e.done;
    move.step.late_reset = true;
}

void move_on(End* ends, Tcp& tcp, History& h, const Packet& p, int side, Move& move) {
    End &e = ends[side], &peer = ends[1 - side];
    switch (e.state) {
        case inactive: return first_packet(ends, tcp, h, p, side, move);
        case syn_sent: case syn_ack_sent: return packet_after_syn(e, p, move);
        case established: case partial: return packet_under_way(e, peer, p, move);
        case closed: return packet_after_fin(e, peer, p, move);
        default: return;
    }
}

// --- ports ----------------------------------------------------------------------------------------

// TCP ports that a server has, from the protocols that Zeek looks for.
constexpr std::array SERVERS = {
    20,   21,   22,   25,   53,   80,   81,   88,   102,  110,  135,  139,  143,   389,   443,
    445,  502,  563,  585,  587,  614,  631,  636,  989,  990,  992,  993,  995,   1080,  1433,
    1521, 1883, 2811, 3128, 3268, 3306, 3389, 5060, 5222, 5223, 5269, 5432, 6379,  6666,  6667,
    6668, 6669, 8000, 8080, 8443, 8883, 8888, 20000};
static_assert(std::is_sorted(SERVERS.begin(), SERVERS.end()));

bool serves(uint16_t port) { return std::binary_search(SERVERS.begin(), SERVERS.end(), int(port)); }

}  // namespace

// --- history --------------------------------------------------------------------------------------

void History::add(char letter, bool responder) {
    if (size < LONGEST) letters[size++] = responder ? char(std::tolower(letter)) : letter;
}

bool History::again(int bit, char letter, bool responder) {
    const auto mask = uint16_t(1u << (bit + 8 * responder));
    if (seen & mask) return true;
    seen |= mask;
    add(letter, responder);
    return false;
}

void History::at_powers(uint32_t& count, char letter, bool responder) {
    if (count == UINT32_MAX) return;
    count++;
    uint64_t power = 1;
    while (power < count) power *= 10;
    if (power == count) add(letter, responder);
}

// --- the connection -------------------------------------------------------------------------------

uint64_t End::stream_bytes(const End& peer) const {
    const auto whole = [](uint32_t wraps, uint32_t number) { return int64_t(wraps) << 32 | number; };
    const int64_t acked = whole(ack_wraps, ack);
    const bool answered = acked != start && acked != int64_t(start) + 1;
    if (before == syn_sent && state == reset && peer.state == inactive && answered)
        return 0;  // an old connection was found half open and given up
    int64_t size = std::max(whole(last_wraps, last), acked) - start;
    if (size > 0) size--;  // the SYN
    if (size > 0 && fin) size--;
    return uint64_t(std::max<int64_t>(size, 0));
}

TcpStep tcp_packet(End ends[2], Tcp& tcp, History& h, const Packet& p, int side) {
    End &e = ends[side], &peer = ends[1 - side];
    const bool syn = p.flags & SYN, acks = p.flags & ACK;
    if (!tcp.first_seen[side]) {
        if (side == 0) tcp.partial = !syn || acks;
        else if (!tcp.partial) tcp.partial = !syn;
    }
    tcp.first_seen[side] = true;
    const uint32_t length = (p.flags & RST ? 0 : p.bytes) + syn + ((p.flags & FIN) != 0);
    const uint32_t past = p.seq + length;
    Move move;
    begin(e, p, past);
    note(h, e, p, side, p.seq - e.start);
    if (p.window == 0 && !(p.flags & RST) && peer.state != closed && e.state != reset)
        h.at_powers(e.zero_windows, 'W', side);
    move.step.counted = !ends[0].done || !ends[1].done;
    e.fin |= (p.flags & FIN) != 0;
    if (acks && peer.state == inactive) begin_at(peer, p.ack - 1, p.ack - 1);
    else if (acks && !(p.flags & RST)) take_ack(peer, p.ack);
    take_seq(e, p, past, h, side);
    const bool before = e.handshaking() && peer.handshaking();
    move_on(ends, tcp, h, p, side, move);
    move.step.lively = before && !(ends[0].handshaking() && ends[1].handshaking());
    if (move.close && !e.done) {
        e.done = true;
        move.step.over = e.state == reset || peer.done || peer.state == inactive;
    }
    return move.step;
}

bool tcp_reuse(const End ends[2], const Packet& p) {
    if (!(p.flags & SYN)) return false;
    const bool acks = p.flags & ACK;
    if (acks && ends[0].state != inactive) return false;
    if (ends[0].done && ends[1].done) return true;
    const End& first = ends[acks ? 1 : 0];
    if (p.seq == first.start) return false;
    const bool late_syn = !acks && first.state == syn_ack_sent && ends[1].state == inactive &&
                          p.seq == ends[1].start;
    return !late_syn;
}

bool looks_reversed(const Packet& p) {
    const bool syn = p.flags & SYN;
    if ((syn && !(p.flags & ACK)) || !serves(p.sport)) return false;
    return serves(p.dport) ? !syn && p.sport < p.dport : true;
}

const char* tcp_state(const End ends[2]) {
    const End &o = ends[0], &r = ends[1];
    const bool no_o = o.state == inactive || o.state == partial;
    const bool no_r = r.state == inactive || r.state == partial;
    if (r.state == reset) {
        const bool empty = o.stream_bytes(r) == 0 && r.stream_bytes(o) == 0;
        if (o.state == syn_sent || o.state == syn_ack_sent || (o.state == reset && empty))
            return "REJ";
        return no_o ? "RSTRH" : "RSTR";
    }
    if (o.state == reset) return no_r ? "RSTOS0" : "RSTO";
    if (o.state == closed && r.state == closed) return "SF";
    if (o.state == closed) return no_r ? "SH" : "S2";
    if (r.state == closed) return no_o ? "SHR" : "S3";
    if (o.state == syn_sent && r.state == inactive) return "S0";
    if (o.state == established && r.state == established) return "S1";
    return "OTH";
}

}  // namespace lstmkit
