#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "cpu.h"

namespace lstmkit {
namespace {

constexpr float NEVER = -std::numeric_limits<float>::infinity();
constexpr uint32_t PURPOSE = 0x67656e00;  // keeps these numbers apart from those of masks
constexpr size_t BLOCK = 256;             // weights that are summed, and skipped, at once

// Philox-4x32-10 (Salmon et al. 2011), as lstmkit/equations/philox.py: 48 bits in [0, 1).
double uniform(uint64_t seed, uint64_t number) {
    uint32_t c[] = {static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32), PURPOSE, 0};
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
        c[0] = static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0;
        c[2] = static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1;
        c[1] = static_cast<uint32_t>(b);
        c[3] = static_cast<uint32_t>(a);
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    return (static_cast<double>(c[0] >> 8) * 16777216.0 + static_cast<double>(c[1] >> 8)) / 0x1p48;
}

double sum(const float* x, size_t n) {
    double lanes[8] = {};
    size_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (size_t j = 0; j < 8; j++) lanes[j] += x[k + j];
    double total = 0;
    for (; k < n; k++) total += x[k];
    for (double lane : lanes) total += lane;
    return total;
}

}  // namespace

Sampler::Sampler(Sampling options, int64_t symbols)
    : kernels_(kernels()),
      options_(std::move(options)),
      symbols_(symbols),
      plain_(options_.temperature == 1 && options_.repetition_penalty == 1 &&
             options_.forbidden.empty()),
      logits_(static_cast<size_t>(symbols)),
      weights_(static_cast<size_t>(symbols)) {
    for (int64_t token : options_.forbidden)
        if (token < 0 || token >= symbols) throw std::invalid_argument("no such token to forbid");
}

bool Sampler::narrowed() const {
    return (options_.top_k > 0 && options_.top_k < symbols_) || options_.top_p < 1 ||
           options_.min_p > 0;
}

Drawn Sampler::draw(const float* logits, const Recent& recent, uint64_t seed, uint64_t number) {
    const size_t n = logits_.size();
    std::copy_n(logits, n, logits_.data());
    if (options_.repetition_penalty != 1) {
        const auto by = static_cast<float>(options_.repetition_penalty);
        const size_t first =
            recent.size() - std::min(recent.size(), static_cast<size_t>(options_.window));
        for (size_t k = first; k < recent.size(); k++) {
            const auto token = static_cast<size_t>(recent[k]);
            const float x = logits[token];  // once, however often it is there
            logits_[token] = x > 0 ? x / by : x * by;
        }
    }
    for (int64_t token : options_.forbidden) logits_[static_cast<size_t>(token)] = NEVER;
    const auto top = static_cast<size_t>(std::max_element(logits_.begin(), logits_.end()) -
                                         logits_.begin());
    const float most = logits_[top];
    float raw_most = most;
    double raw_total = 0;
    if (!plain_) {
        raw_most = *std::max_element(logits, logits + n);
        kernels_.exponentials(logits, raw_most, 1.0f, weights_.data(), symbols_);
        raw_total = sum(weights_.data(), n);
    }
    size_t token = top;
    const bool greedy = options_.temperature == 0;
    double total = 0;
    if (!greedy) {
        const auto by = static_cast<float>(1 / options_.temperature);
        kernels_.exponentials(logits_.data(), most, by, weights_.data(), symbols_);
        for (int64_t never : options_.forbidden) weights_[static_cast<size_t>(never)] = 0;
        total = sum(weights_.data(), n);
    }
    if (plain_) raw_total = total;
    if (!std::isfinite(most) || !std::isfinite(raw_most) || !std::isfinite(total + raw_total))
        throw std::invalid_argument("the logits have no finite one that may be drawn, or a NaN");
    if (!greedy) {
        const double share = uniform(seed, number);
        if (narrowed()) {
            filter(total);
            token = static_cast<size_t>(walk(share));
        } else {
            const double wanted = share * total;
            double before = 0;
            size_t k = 0;
            for (; k + BLOCK < n; k += BLOCK) {
                const double block = sum(weights_.data() + k, BLOCK);
                if (before + block > wanted) break;
                before += block;
            }
            token = top;  // where rounding leaves nothing at the end
            for (; k < n; k++) {
                before += weights_[k];
                if (before > wanted && weights_[k] > 0) {
                    token = k;
                    break;
                }
            }
        }
    }
    const auto log_prob =
        static_cast<float>(static_cast<double>(logits[token] - raw_most) - std::log(raw_total));
    return {static_cast<int64_t>(token), log_prob};
}

// Leaves in `found_` what may be drawn, likeliest first.
void Sampler::filter(double total) {
    const auto symbols = static_cast<double>(symbols_);
    // Below this, tokens together have less than 1 - top_p of the whole: none can be among the first.
    // Where top-k goes before, the whole is not known yet.
    const bool k_first = options_.top_k > 0 && options_.top_k < symbols_;
    double least = options_.min_p;
    if (!k_first) least = std::max(least, (1 - options_.top_p) * total / symbols);
    found_.clear();
    for (size_t k = 0; k < weights_.size(); k++)
        if (weights_[k] > 0 && (k_first || weights_[k] >= static_cast<float>(least)))
            found_.push_back({logits_[k], weights_[k], static_cast<int64_t>(k)});
    const auto before = [](const Candidate& a, const Candidate& b) {
        return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
    };
    if (k_first && static_cast<int64_t>(found_.size()) > options_.top_k) {
        std::nth_element(found_.begin(), found_.begin() + options_.top_k - 1, found_.end(), before);
        found_.resize(static_cast<size_t>(options_.top_k));
        total = 0;
        for (const Candidate& c : found_) total += c.weight;
    }
    std::sort(found_.begin(), found_.end(), before);
    size_t kept = 0;
    double reached = 0;
    while (kept < found_.size() && (kept == 0 || reached < options_.top_p * total))
        reached += found_[kept++].weight;
    if (options_.top_p >= 1) kept = found_.size();
    while (kept > 1 && found_[kept - 1].weight < static_cast<float>(options_.min_p)) kept--;
    found_.resize(kept);
}

int64_t Sampler::walk(double share) const {
    double total = 0, before = 0;
    for (const Candidate& c : found_) total += c.weight;
    for (const Candidate& c : found_) {
        before += c.weight;
        if (before > share * total) return c.token;
    }
    return found_.front().token;
}

}  // namespace lstmkit
