// The clock that flows time out by, made of the times of packets. It never goes back, and a jump of
// those times by more than a day is believed when two packets in a row say so: one packet from the
// year 2100, or 1970, ends no flow and keeps none alive.

#pragma once

#include <algorithm>
#include <cstdint>

namespace lstmkit {

class Clock {
  public:
    // Nanoseconds since the first packet, after a packet of this time.
    int64_t at(int64_t time) {
        const int64_t ahead = begun_ ? time - seen_ : 0;
        const bool odd = ahead > JUMP || ahead < -JUMP;
        const bool agreed = odd && doubtful_ && time - odd_ <= JUMP && odd_ - time <= JUMP;
        doubtful_ = odd && !agreed;
        odd_ = time;
        if (doubtful_) return now_;
        if (ahead > 0) now_ = std::min(now_ + std::min(ahead, JUMP), LATEST);
        if (!begun_ || ahead > 0 || agreed) seen_ = time;
        begun_ = true;
        return now_;
    }

    template <class Archive>
    void fields(Archive& a) {
        a(now_, seen_, odd_, begun_, doubtful_);
        if constexpr (Archive::reading) a.require_small(now_, seen_, odd_);
    }

  private:
    static constexpr int64_t JUMP = 86400 * int64_t(1000000000), LATEST = int64_t(1) << 62;

    int64_t now_ = 0;
    int64_t seen_ = 0;  // the packets' time that `now_` stands for
    int64_t odd_ = 0;   // that of the last packet
    bool begun_ = false, doubtful_ = false;
};

}  // namespace lstmkit
