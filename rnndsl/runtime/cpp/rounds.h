// What rounds of Newton's method do of all steps at once, whatever the cell: residuals, and scans of blocks within a channel.
#pragma once
#include "kernel.h"

namespace rnndsl {

constexpr long CHANNELS = 64;  // of a unit of a scan
constexpr long STEPS = 64;     // of a unit of anything else

// Some entries as a vector, zeros behind them.
template <class T> INLINE Vec<T> first_of(const T* from, long count) {
  if (count >= WIDTH<T>) return whole(from);
  Vec<T> vector{};
  std::memcpy(&vector, from, count * sizeof(T));
  return vector;
}

// The largest lane, NaN where there is one.
template <class T> INLINE T largest(Vec<T> lanes) {
  return fold<T, WIDTH<T>>(lanes, [](auto a, auto b) INLINED { return math::max(a, b); });
}

// Calls body(b, t) for every sequence and step.
template <class Body> void each_row(const Call& call, Body&& body) {
  const long parts = (call.steps + STEPS - 1) / STEPS;
  parallel(call, call.batch * parts, [&](long unit, Memory&) {
    const long b = unit / parts, begin = unit % parts * STEPS, end = std::min(long(call.steps), begin + STEPS);
    for (long t = begin; t < end; ++t) body(b, t);
  });
}

// The largest |new - value| / (1 + |new|) of every row. Arrays: of each slot its new values and its values; then [batch, time].
template <class T> void residuals(const Call& call, long slots, const int64_t* sizes) {
  each_row(call, [&](long b, long t) {
    Vec<T> worst{};
    for (long i = 0; i < slots; ++i) {
      const T *next = call.arrays[2 * i].at<const T>(b, t), *value = call.arrays[2 * i + 1].at<const T>(b, t);
      for (long c = 0; c < sizes[i]; c += WIDTH<T>) {
        const Vec<T> n = first_of(next + c, sizes[i] - c), v = first_of(value + c, sizes[i] - c);
        worst = math::max(worst, Vec<T>(math::abs(Vec<T>(n - v)) / (T(1) + math::abs(n))));
      }
    }
    *call.arrays[2 * slots].at<T>(b, t) = largest<T>(worst);
  });
}

// What λ[t] should be: the gradient of each new value itself, and what the step behind hands back. Arrays: of each slot its gradient, if it has one,
// what a step hands back, λ, and what λ should be; then, [batch, time], the largest |λ|, and how far off the worst is.
template <class T> void handed_back(const Call& call, long slots, const int64_t* sizes) {
  each_row(call, [&](long b, long t) {
    const bool last = t + 1 == call.steps || call.resets(b, t + 1);
    Vec<T> size{}, worst{};
    for (long i = 0; i < slots; ++i) {
      const Array* of = call.arrays + 4 * i;
      const T* given = of[0].data ? of[0].at<const T>(b, t) : nullptr;
      const T* behind = last ? nullptr : of[1].at<const T>(b, t + 1);
      const T* value = of[2].at<const T>(b, t);
      T* wanted = of[3].at<T>(b, t);
      for (long c = 0; c < sizes[i]; c += WIDTH<T>) {
        const long count = std::min<long>(WIDTH<T>, sizes[i] - c);
        Vec<T> w{};
        if (given) w = first_of(given + c, count);
        if (behind) w += first_of(behind + c, count);
        const Vec<T> v = first_of(value + c, count);
        std::memcpy(wanted + c, &w, count * sizeof(T));
        size = math::max(size, math::abs(v)), worst = math::max(worst, math::abs(Vec<T>(w - v)));
      }
    }
    *call.arrays[4 * slots].at<T>(b, t) = largest<T>(size);
    *call.arrays[4 * slots + 1].at<T>(b, t) = largest<T>(worst);
  });
}

// values + δ, δ[t] = D[t] δ[t-1] + new[t] - values[t], and new where δ is not finite; backwards δ[t] = D[t+1]ᵀ δ[t+1] + new[t] - values[t]. No δ
// passes a reset. Arrays: D, row by row, an entry without data being zero; then of each slot new, values and where they go, without data for one
// whose values are those of another a step ago.
template <class T> void corrected(const Call& call, long slots, long size, bool backwards) {
  const long blocks = (size + CHANNELS - 1) / CHANNELS;
  parallel(call, call.batch * blocks, [&](long unit, Memory& memory) {
    const long b = unit / blocks, begin = unit % blocks * CHANNELS;
    T *before = memory.zeros<T>(slots * CHANNELS), *now = memory.zeros<T>(slots * CHANNELS);
    auto run = [&](auto count) {
      for (long k = 0; k < call.steps; ++k) {
        const long t = backwards ? call.steps - 1 - k : k, of = backwards ? t + 1 : t;  // the step whose D it is
        const bool alone = k == 0 || call.resets(b, of);
        for (long i = 0; i < slots; ++i) {
          const Array* own = call.arrays + slots * slots + 3 * i;
          const T *next = own[0].data ? own[0].at<const T>(b, t) + begin : nullptr, *value = next ? own[1].at<const T>(b, t) + begin : nullptr;
          T* __restrict delta = now + i * CHANNELS;
          for (long c = 0; c < count; ++c) delta[c] = next ? next[c] - value[c] : T(0);
          for (long j = 0; j < slots && !alone; ++j) {
            const Array& entry = call.arrays[backwards ? j * slots + i : i * slots + j];
            if (!entry.data) continue;
            const T *slope = entry.at<const T>(b, of) + begin, *other = before + j * CHANNELS;
            for (long c = 0; c < count; ++c) delta[c] += slope[c] * other[c];
          }
          if (!next) continue;
          T* __restrict to = own[2].at<T>(b, t) + begin;
          for (long c = 0; c < count; ++c) to[c] = delta[c] - delta[c] == 0 ? value[c] + delta[c] : next[c];
        }
        std::swap(before, now);
      }
    };
    if (size - begin >= CHANNELS) run(std::integral_constant<long, CHANNELS>());
    else run(size - begin);
  });
}

}  // namespace rnndsl
