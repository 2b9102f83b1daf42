#include "pcap.h"

#include <nanobind/stl/string.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flowreader.h"

namespace nb = nanobind;

namespace lstmkit {
namespace {

constexpr size_t NUMBERS = 8, WORDS = 7;

Span span_of(const nb::bytes& b) { return {static_cast<const uint8_t*>(b.data()), b.size()}; }

// One thread at a time.
class Seized {
  public:
    explicit Seized(std::atomic<bool>& busy) : busy_(busy) {
        if (busy.exchange(true)) throw std::runtime_error("another thread is at this capture");
    }
    ~Seized() { busy_ = false; }

  private:
    std::atomic<bool>& busy_;
};

// As Zeek has it: a flow of one moment, one packet for the most part, has no duration and no bytes
// of payload.
void number(const Flow& f, size_t n, double* column) {
    const auto seconds = [](int64_t t) { return double(static_cast<long double>(t) / 1e9L); };
    const bool moment = f.last <= f.began;
    const double values[NUMBERS] = {
        seconds(f.began),
        moment ? NAN : seconds(f.last - f.began),
        double(f.ends[0].packets),
        double(f.ends[1].packets),
        double(f.ends[0].ip_bytes),
        double(f.ends[1].ip_bytes),
        moment ? NAN : double(payload_of(f, 0)),
        moment ? NAN : double(payload_of(f, 1)),
    };
    for (size_t c = 0; c < NUMBERS; c++) column[c * n] = values[c];
}

// Strings of which few are different: those of late are kept, by what they are made of.
template <class Key, size_t N>
class Kept {
  public:
    template <class Make>
    const nb::object& of(const Key& key, size_t hash, Make make) {
        auto& [known, text] = kept_[hash % N];
        if (!text.is_valid() || !(known == key)) {
            known = key;
            text = make();
        }
        return text;
    }

  private:
    std::pair<Key, nb::object> kept_[N];
};

nb::str text(const std::string& s) { return nb::str(s.data(), s.size()); }

// Seven lists of n strings: src, dst, proto, service, state, record, history.
class Words {
  public:
    explicit Words(size_t n) {
        for (nb::list& list : lists_) list = nb::steal<nb::list>(PyList_New(Py_ssize_t(n)));
    }
    void describe(size_t k, const Flow& f) {
        put(0, k, address(f.src));
        put(1, k, address(f.dst));
        put(2, k, protocols_.of(f.protocol, f.protocol, [&] { return text(protocol_of(f)); }));
        put(3, k, constant(service_of(f)));
        put(4, k, constant(state_of(f)));
        put(5, k, text(record(f)));
        put(6, k, history(f.history));
    }
    nb::tuple lists() const {
        const auto& l = lists_;
        return nb::make_tuple(l[0], l[1], l[2], l[3], l[4], l[5], l[6]);
    }

  private:
    void put(size_t column, size_t k, nb::object word) {
        PyList_SetItem(lists_[column].ptr(), Py_ssize_t(k), word.release().ptr());
    }
    const nb::object& address(const Address& a) {
        const size_t hash = size_t(a.low ^ a.low >> 8 ^ a.high);
        return addresses_.of(a, hash, [&] { return text(text_of(a)); });
    }
    const nb::object& constant(const char* word) {
        const auto hash = size_t(reinterpret_cast<uintptr_t>(word));
        return constants_.of(word, hash, [&] { return nb::str(word); });
    }
    const nb::object& history(const History& h) {
        const std::string_view letters(h.letters, h.size);
        return histories_.of(std::string(letters), std::hash<std::string_view>()(letters),
                             [&] { return nb::str(h.letters, h.size); });
    }
    static std::string record(const Flow& f) {
        return "packets " + std::to_string(f.first_packet) + "-" + std::to_string(f.last_packet);
    }

    nb::list lists_[WORDS];
    Kept<Address, 1024> addresses_;
    Kept<uint8_t, 256> protocols_;
    Kept<const char*, 251> constants_;
    Kept<std::string, 256> histories_;
};

class PcapReader {
  public:
    PcapReader(size_t most, bool checksums) : reader_(most, checksums) {}

    // How many flows are waiting to be taken.
    size_t feed(const nb::bytes& data) {
        const Span span = span_of(data);
        const Seized mine(busy_);
        const nb::gil_scoped_release released;
        reader_.feed(span);
        return reader_.ended().size();
    }

    size_t finish() {
        const Seized mine(busy_);
        reader_.finish();
        return reader_.ended().size();
    }

    // Those flows: `numbers` (8, n) float64 and `ports` (2, n) int32 are the caller's, n what feed
    // or finish said. Gives the lists of Words.
    nb::tuple take(uintptr_t numbers, uintptr_t ports, size_t n) {
        const Seized mine(busy_);
        std::vector<Flow>& flows = reader_.ended();
        if (n != flows.size()) throw std::invalid_argument("another number of flows is waiting");
        auto* port = reinterpret_cast<int32_t*>(ports);
        Words words(n);
        for (size_t k = 0; k < n; k++) {
            const Flow& f = flows[k];
            number(f, n, reinterpret_cast<double*>(numbers) + k);
            port[k] = f.ports ? f.sport : -1;
            port[n + k] = f.ports ? f.dport : -1;
            words.describe(k, f);
        }
        flows.clear();
        return words.lists();
    }

    // How many packets were refused since the last call, and (number, why) of the last of them.
    nb::tuple refused() {
        const Seized mine(busy_);
        nb::list last;
        for (const auto& [k, why] : reader_.refusals) last.append(nb::make_tuple(k, reason(why)));
        const int64_t count = reader_.refused;
        reader_.refused = 0;
        reader_.refusals.clear();
        return nb::make_tuple(count, last);
    }

    nb::bytes state() {
        const Seized mine(busy_);
        const std::string found = reader_.state();
        return nb::bytes(found.data(), found.size());
    }

    bool set_state(const nb::bytes& state) {
        const Seized mine(busy_);
        return reader_.set_state(span_of(state));
    }

    const FlowReader& reader() const { return reader_; }

  private:
    FlowReader reader_;
    std::atomic<bool> busy_ = false;
};

}  // namespace

void bind_pcap(nb::module_& m) {
    using R = PcapReader;
    nb::class_<R>(m, "PcapReader", "Flows of a capture: native/flowreader.h.")
        .def(nb::init<size_t, bool>(), nb::arg("most"), nb::arg("checksums"))
        .def("feed", &R::feed)
        .def("finish", &R::finish)
        .def("take", &R::take)
        .def("refused", &R::refused)
        .def("state", &R::state)
        .def("set_state", &R::set_state)
        .def_prop_ro("format", [](const R& r) { return int(r.reader().capture().format()); })
        .def_prop_ro("link", [](const R& r) { return r.reader().capture().link(); })
        .def_prop_ro("packets", [](const R& r) { return r.reader().capture().frames(); })
        .def_prop_ro("others", [](const R& r) { return r.reader().others(); })
        .def_prop_ro("open", [](const R& r) { return r.reader().open(); })
        .def_prop_ro("timers", [](const R& r) { return r.reader().timers(); });
}

}  // namespace lstmkit
