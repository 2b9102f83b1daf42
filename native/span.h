// Bytes that are not trusted. A read outside of them is 0, never memory of something else, so that
// a decoder may read first and ask `has` where the difference matters.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lstmkit {

struct Span {
    const uint8_t* data = nullptr;
    size_t size = 0;

    bool has(size_t at, size_t n) const { return at <= size && n <= size - at; }
    uint8_t u8(size_t at) const { return has(at, 1) ? data[at] : 0; }
    uint16_t be16(size_t at) const {
        return has(at, 2) ? uint16_t(data[at] << 8 | data[at + 1]) : uint16_t(0);
    }
    uint32_t be32(size_t at) const {
        return has(at, 4) ? uint32_t(data[at]) << 24 | uint32_t(data[at + 1]) << 16 |
                                uint32_t(data[at + 2]) << 8 | data[at + 3]
                          : 0;
    }
    uint64_t be64(size_t at) const { return uint64_t(be32(at)) << 32 | be32(at + 4); }
    uint16_t le16(size_t at) const { return __builtin_bswap16(be16(at)); }
    uint32_t le32(size_t at) const { return __builtin_bswap32(be32(at)); }

    Span from(size_t at) const { return at <= size ? Span{data + at, size - at} : Span{}; }
    Span first(size_t n) const { return {data, n < size ? n : size}; }

    // Whether these bytes stand at a place.
    bool holds(size_t at, const char* text, size_t n) const {
        return has(at, n) && std::memcmp(data + at, text, n) == 0;
    }
    template <size_t N>
    bool begins(const char (&text)[N]) const {
        return holds(0, text, N - 1);
    }
};

}  // namespace lstmkit
