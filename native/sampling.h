// Draws tokens from logits: what lstmkit/runtime/generation.py says, with the same numbers. No
// Python, no allocation after the first draw of a size.

#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace lstmkit {

struct Sampling {
    double temperature;  // 0: the likeliest
    int64_t top_k;       // 0: all
    double top_p, min_p, repetition_penalty;
    int64_t window;                  // tokens that are penalised
    std::vector<int64_t> forbidden;  // never drawn
};

struct Drawn {
    int64_t token;
    float log_prob;  // under the logits as they are
};

// The tokens that one stream drew last, the newest at the end.
using Recent = std::vector<int64_t>;

class Sampler {
  public:
    Sampler(Sampling, int64_t symbols);
    // Number `number` of the stream `seed`. Raises std::invalid_argument where the logits have no
    // finite one that may be drawn, or one that is no number.
    Drawn draw(const float* logits, const Recent&, uint64_t seed, uint64_t number);
    const Sampling& options() const { return options_; }

  private:
    struct Candidate {
        float logit, weight;
        int64_t token;
    };
    void filter(double total);
    bool narrowed() const;
    int64_t walk(double share) const;

    const Kernels& kernels_;
    Sampling options_;
    int64_t symbols_;
    bool plain_;
    std::vector<float> logits_, weights_;
    std::vector<Candidate> found_;
};

}  // namespace lstmkit
