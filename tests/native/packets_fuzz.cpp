// Captures with bytes changed, taken out and put in: flows must not depend on the pieces in which
// the bytes come, nor on a state that was saved and taken up in between; states with bytes changed
// must be refused or work. Meant for a build with sanitizers, which say the rest.
//
//     packets_fuzz SECONDS SEED CAPTURE ...
//
// Prints how many captures were read and how many flows came; exit code 1 where a law is broken.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "flowreader.h"

using namespace lstmkit;

namespace {

std::mt19937_64 dice;

size_t below(size_t n) { return n ? size_t(dice() % n) : 0; }

Span span_of(const std::string& s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }

// Numbers that lengths, times and counts break at.
constexpr uint32_t EDGES[] = {0,     1,      2,     3,       4,          7,          8,     12,
                              16,    0x7f,   0x80,  0xff,    0x100,      1500,       0x7fff,
                              65535, 0x10000, 262144, 262145, 1 << 24,   0x7fffffff,
                              0x80000000, 0xffffffff};

void put_number(std::string& s) {
    const uint32_t value = EDGES[below(std::size(EDGES))];
    const size_t size = size_t(1) << below(3), at = below(s.size());
    const bool big = below(2);
    for (size_t k = 0; k < size && at + k < s.size(); k++)
        s[at + k] = char(value >> 8 * (big ? size - 1 - k : k));
}

void mutate(std::string& s) {
    if (s.empty()) return;
    const size_t at = below(s.size()), n = below(64);
    switch (below(7)) {
        case 0: s[at] = char(dice()); break;
        case 1: s[at] = char(s[at] ^ (1 << below(8))); break;
        case 2: s.erase(at, n); break;
        case 3: s.insert(at, s.substr(below(s.size()), n)); break;
        case 4: s.resize(at + 1); break;
        default: put_number(s);
    }
}

std::string beginning_of(const std::string& s) {
    return s.substr(0, 1 + below(below(4) ? 3000 : 60000));
}

// What came out, as numbers that any difference changes.
struct Digest {
    uint64_t flows = 1469598103934665603u, refusals = flows;
    size_t count = 0;

    static void add(uint64_t& to, const std::string& s) {
        for (const char c : s) to = (to ^ uint8_t(c)) * 1099511628211u;
    }
    void add(const Flow& f) {
        count++;
        add(flows, text_of(f.src) + text_of(f.dst) + protocol_of(f) + service_of(f) + state_of(f));
        add(flows, std::string(f.history.letters, f.history.size));
        for (const int64_t n : {f.began, f.last, f.first_packet, f.last_packet})
            add(flows, std::to_string(n));
        for (const int side : {0, 1})
            for (const uint64_t n : {payload_of(f, side), f.ends[side].packets,
                                     f.ends[side].ip_bytes, uint64_t(side ? f.dport : f.sport)})
                add(flows, std::to_string(n));
    }
    void take(FlowReader& reader) {
        for (const Flow& f : reader.ended()) add(f);
        reader.ended().clear();
        for (const auto& [k, why] : reader.refusals) add(refusals, std::to_string(k) + reason(why));
        reader.refusals.clear();
    }
};

bool checksums;
size_t most;

Digest whole(const std::string& data) {
    Digest found;
    FlowReader reader(most, checksums);
    reader.feed(span_of(data));
    reader.finish();
    found.take(reader);
    return found;
}

// In pieces, each copied so that a read outside of it is seen, and with states taken up in between.
Digest in_pieces(const std::string& data, bool states) {
    Digest found;
    auto reader = std::make_unique<FlowReader>(most, checksums);
    const size_t longest = 1 + below(below(2) ? 40 : 4000);
    for (size_t at = 0; at < data.size();) {
        const std::string part = data.substr(at, 1 + below(longest));
        const std::vector<uint8_t> piece(part.begin(), part.end());
        reader->feed({piece.data(), piece.size()});
        at += piece.size();
        if (!states || below(20)) continue;
        found.take(*reader);
        const std::string state = reader->state();
        reader = std::make_unique<FlowReader>(most, !checksums);
        if (!reader->set_state(span_of(state))) std::puts("a state was refused"), std::exit(1);
        if (reader->state() != state) std::puts("a state changed"), std::exit(1);
    }
    reader->finish();
    found.take(*reader);
    return found;
}

void broken_state(const std::string& data) {
    FlowReader first(most, checksums);
    first.feed(span_of(data).first(below(data.size() + 1)));
    std::string state = first.state();
    for (size_t k = below(4); k < 4; k++) mutate(state);
    FlowReader second(most, checksums);
    if (!second.set_state(span_of(state))) return;
    second.feed(span_of(data));
    second.finish();
    Digest().take(second);
}

// Only the last refusals are kept: with states they are taken on the way, and there may be more.
void check(const std::string& data) {
    const Digest a = whole(data), b = in_pieces(data, false), c = in_pieces(data, true);
    if (a.flows == b.flows && a.refusals == b.refusals && a.flows == c.flows) return;
    std::printf("flows depend on the pieces: %zu, %zu, %zu\n", a.count, b.count, c.count);
    std::ofstream("broken.pcap", std::ios::binary) << data;
    std::exit(1);
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 4) return std::puts("packets_fuzz SECONDS SEED CAPTURE ..."), 2;
    std::vector<std::string> seeds;
    for (int k = 3; k < count; k++) {
        std::ifstream file(arguments[k], std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
        if (seeds.back().empty()) return std::printf("cannot read %s\n", arguments[k]), 2;
    }
    dice.seed(std::strtoull(arguments[2], nullptr, 10));
    const auto until = std::chrono::steady_clock::now() +
                       std::chrono::milliseconds(long(std::atof(arguments[1]) * 1000));
    size_t captures = 0, flows = 0;
    while (std::chrono::steady_clock::now() < until) {
        std::string data = beginning_of(seeds[below(seeds.size())]);
        for (size_t k = below(1 + below(30)); k > 0; k--) mutate(data);
        checksums = below(2);
        most = below(3) ? 1000 : 1 + below(8);
        check(data);
        broken_state(data);
        flows += whole(data).count;
        captures++;
    }
    std::printf("%zu captures, %zu flows\n", captures, flows);
}
