// State as bytes and back: one function names the fields of a struct for both ways. Numbers are
// kept as the machine has them. A reader never reads past its end: it fails instead, and what it
// gave until then must be thrown away.

#pragma once

#include <string>
#include <type_traits>

#include "span.h"

namespace lstmkit {

class Writer {
  public:
    static constexpr bool reading = false;
    template <class T>
    void operator()(const T& value) {
        static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    template <class T, class... More>
    void operator()(const T& first, const More&... more) {
        (*this)(first);
        (*this)(more...);
    }
    std::string bytes;
};

class Reader {
  public:
    static constexpr bool reading = true;
    explicit Reader(Span from) : left_(from) {}
    template <class T>
    void operator()(T& value) {
        static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
        if (!left_.has(0, sizeof value)) {
            failed = true;
            return;
        }
        if constexpr (std::is_same_v<T, bool>)
            value = left_.u8(0) != 0;  // any other byte is no bool
        else
            std::memcpy(&value, left_.data, sizeof value);
        left_ = left_.from(sizeof value);
    }
    template <class T, class... More>
    void operator()(T& first, More&... more) {
        (*this)(first);
        (*this)(more...);
    }
    void require(bool sound) { failed |= !sound; }
    // Numbers that others are added to.
    template <class... T>
    void require_small(const T&... value) {
        require(((value >= 0 && value <= (int64_t(1) << 62)) && ...));
    }
    size_t left() const { return left_.size; }
    Span take(size_t n) {
        require(left_.has(0, n));
        const Span found = failed ? Span{} : left_.first(n);
        left_ = left_.from(found.size);
        return found;
    }
    bool failed = false;

  private:
    Span left_;
};

}  // namespace lstmkit
