// What a generated kernel stands on: its arguments, memory, threads, and the small steps that every kernel takes.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <pthread.h>

#include "crew.h"
#include "gemm.h"
#include "lanes.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace rnndsl {

// A tensor [batch, time, ...] whose last axes lie one behind the other; the strides count entries, 0 where there is no such axis.
struct Array {
  void* data;
  int64_t batch, time;

  template <class T> T* at(long b, long t) const { return static_cast<T*>(data) + b * batch + t * time; }
};

// What starts a team of GNU OpenMP's threads: each of them runs `work(data)`, and so does the caller.
using Team = void (*)(void (*work)(void*), void* data, unsigned threads, unsigned flags);

struct Call {
  int64_t batch, steps, threads;
  Team team;  // PyTorch's own threads, where it computes with such a team and the process is not a fork of the one that made it
  const double* hypers;
  const Array* arrays;
  Array reset;  // of bytes; no data where no step is reset
  int64_t every;  // how many steps lie between states that are kept, where a kernel may leave some out

  bool resets(long b, long t) const { return reset.data && *reset.at<const uint8_t>(b, t); }
};

// state[t - lag] as step t sees it: of the sequence, of what came before it (`first`, by lag), or initial if a reset lies between.
template <class T>
const T* old(const Call& call, const Array& sequence, const Array* first, const Array& initial, long lag, long b, long t, bool at_end = false) {
  for (long s = t - (at_end ? 1 : 0); s > t - lag && s >= 0; --s)
    if (call.resets(b, s)) return initial.at<const T>(0, 0);
  return t >= lag ? sequence.at<const T>(b, t - lag) : first[lag - t - 1].template at<const T>(b, 0);
}

// Memory of one thread, aligned for vectors; `start` gives all of it back. Each chunk is as large as all before it, so few are enough.
class Memory {
 public:
  template <class T> T* take(long count) {
    const size_t bytes = (size_t(count) * sizeof(T) + 127) & ~size_t(63);
    while (current < made && used + bytes > chunks[current].bytes) ++current, used = 0;
    if (current == made) {
      const size_t size = std::max({bytes, total, size_t(1) << 16});
      chunks[made++] = {aligned(size), size}, total += size, used = 0;
    }
    char* found = chunks[current].data + used;
    used += bytes;
    return reinterpret_cast<T*>(found);
  }
  template <class T> T* zeros(long count) {
    T* p = take<T>(count);
    std::fill(p, p + count, T(0));
    return p;
  }
  void start() { current = 0, used = BEGIN; }
  Memory() = default;
  Memory(const Memory&) = delete;
  ~Memory() {
    for (int i = 0; i < made; ++i) std::free(chunks[i].data);
  }

 private:
  // Not where a page begins, as tensors do: a load from one would take a store to the other, at the same place of its page, for its
  // own and wait. Measured: it costs the backward sweep of a diagonal LSTM more than half of its time.
  static constexpr size_t BEGIN = 1024;

  struct Chunk {
    char* data;
    size_t bytes;
  };
  static char* aligned(size_t bytes) {
    void* p = std::aligned_alloc(64, (bytes + 63) & ~size_t(63));
    if (!p) std::abort();
    return static_cast<char*>(p);
  }
  Chunk chunks[32];
  int current = 0, made = 0;
  size_t used = 0, total = 0;
};

// Runs `work()` on up to `threads` threads.
//
// PyTorch's team is taken if there is one: its threads go on waiting for work on their cores for milliseconds after each operation.
// Else threads are made for the call, and nothing is left behind that a fork could find in an unknown state.
template <class Work> void on_threads(const Call& call, long threads, Work work) {
  constexpr long MOST = Crew::MOST;
  threads = std::min(threads, MOST);
  if (threads > 1 && call.team) return call.team([](void* work) { (*static_cast<Work*>(work))(); }, &work, unsigned(threads), 0);
  auto run = [](void* work) -> void* { return (*static_cast<Work*>(work))(), nullptr; };
  pthread_t others[MOST];
  long made = 0;  // where no thread is to be had, the others do its work
  while (made < threads - 1 && !pthread_create(&others[made], nullptr, run, &work)) ++made;
  work();
  while (made) pthread_join(others[--made], nullptr);
}

// How the last axis is divided among units: the same for every unit but the last one.
template <class T> constexpr long block_of(long size, long vectors) {
  const long most = vectors * WIDTH<T>, blocks = (size + most - 1) / most, even = (size + blocks - 1) / blocks;
  return std::min(size, (even + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T>);
}

// Rows of the batch a unit takes, at most `most`: so that every thread gets as many units as the others.
inline long rows_of(long batch, long threads, long others, long most) {
  using gemm::ceil_div;
  const long rounds = std::max<long>(1, ceil_div(ceil_div(batch, most) * others, threads)), parts = ceil_div(rounds * threads, others);
  return std::max<long>(1, ceil_div(batch, parts));
}

// Rows of a unit with blocks of so many channels, forwards: a step waits for the one before it, and steps of other rows fill the time. (Backwards most of
// a step waits for nothing.)
template <class T> constexpr long rows_beside(long block) {
  constexpr long VECTORS = 4;
  return std::max<long>(1, VECTORS * WIDTH<T> / std::max<long>(block, WIDTH<T>));
}

// What of a thread's own cache, the second level's, matrices may fill, in bytes.
constexpr long OWN_CACHE = 1 << 19;

// How many steps lie between states that are kept, each of so many entries: those between are made again, and are to stay in that cache. Small ones are
// read faster than made.
template <class T> constexpr long segment_of(long entries) {
  constexpr long LEAST = 1 << 10;  // bytes
  const long bytes = entries * long(sizeof(T));
  return bytes < LEAST ? 1 : std::max<long>(2, std::min<long>(16, OWN_CACHE / bytes));
}

// The most rows of a unit with matrices of so many bytes: where they come from a farther cache, for more rows each time.
constexpr long rows_with(long matrices) { return matrices > OWN_CACHE ? 32 : 8; }

// How a call is divided into units: each has `share` rows at most, and one of the parts into which other axes are divided.
struct Units {
  long all, others, share, parts;
  bool together = false;  // all threads work on one unit after the other

  Units(const Call& call, long others, long most) : Units(call.batch, call.threads, others, most) {}
  // matrices: bytes that a step of a unit reads of them. Threads divide what does not fit the cache of one, where that is read for few rows, and what
  // would leave some idle.
  Units(const Call& call, long others, long most, long matrices)
      : Units(call.batch, divided(call, others, matrices) ? 1 : call.threads, others, most) {
    together = divided(call, others, matrices);
  }
  static bool divided(const Call& call, long others, long matrices) {
    constexpr long WORTH = 1 << 15;  // bytes: a step takes longer than threads take to meet
    constexpr long MANY = 16;        // rows for which reading from a farther cache takes no longer than their sums
    return call.threads > 1 && matrices >= WORTH && others * (matrices > OWN_CACHE ? call.batch / MANY : call.batch) < call.threads;
  }
  Units(long all, long threads, long others, long most)
      : all(all), others(others), share(rows_of(all, threads, others, most)), parts((all + share - 1) / share) {}
  long count() const { return parts * others; }
  long first_row(long part) const { return part * share; }
  long rows(long part) const { return std::min(share, all - part * share); }
};

// Runs `unit(number, memory)` for every number below `units`, on up to `threads` threads, each taking the next number that is left.
template <class Unit> void parallel(const Call& call, long units, Unit&& unit) {
  std::atomic<long> next{0};
  on_threads(call, std::min(long(call.threads), units), [&] {
    Memory memory;
    for (long u; (u = next.fetch_add(1, std::memory_order_relaxed)) < units;) memory.start(), unit(u, memory);
  });
}

// The same, by all threads together for one unit after the other (`together`), or by one thread each: `unit(number, memory, crew)`.
template <class Unit> void parallel(const Call& call, const Units& units, Unit&& unit) {
  if (!units.together)
    return parallel(call, units.count(), [&](long u, Memory& memory) {
      Crew alone;
      unit(u, memory, alone);
    });
  Crew crew(call.threads);
  std::atomic<long> next{0};
  on_threads(call, call.threads, [&] {
    if (const long member = next.fetch_add(1, std::memory_order_relaxed)) return crew.serve(member);
    Memory memory;
    for (long u = 0; u < units.count(); ++u) memory.start(), unit(u, memory, crew);
    crew.end();
  });
}

// The matrices of some heads as panels, which `multiply` takes.
template <class T, long IN, long OUT> class Panels {
 public:
  Panels(const T* matrix, long heads, long apart, long in_stride, long out_stride) : panels(memory.take<T>(heads * packed_size<T, IN, OUT>())) {
    for (long head = 0; head < heads; ++head) pack<T, IN, OUT>(matrix + head * apart, in_stride, out_stride, panels + head * packed_size<T, IN, OUT>());
  }
  const T* operator[](long head) const { return panels + head * packed_size<T, IN, OUT>(); }

 private:
  Memory memory;
  T* panels;
};

template <class T> __attribute__((always_inline)) inline void copy(const T* from, T* to, long count) {
  for (long i = 0; i < count; ++i) to[i] = from[i];
}

// A copy of N values, of which those `ahead` entries on are soon written.
template <class T, long N> __attribute__((always_inline)) inline void copy_ahead(const T* from, T* to, long ahead) {
  over<T, N>([&](auto tag, long i) INLINED { decltype(tag)::type::load(from + i).store_ahead(to + i, ahead); });
}

template <class T> void zero(T* p, long count) { std::fill(p, p + count, T(0)); }

template <class T> void fill(T* p, long count, T value) { std::fill(p, p + count, value); }

// out[i] += sum of part[k][i] over k, in order.
template <class T> void reduce(const T* parts, long count, long size, T* out) {
  for (long k = 0; k < count; ++k)
    for (long i = 0; i < size; ++i) out[i] += parts[k * size + i];
}

// out[i] = sum of part[k][i] over k, in order.
template <class T> void add_up(const T* parts, long count, long size, T* out) {
  std::copy(parts, parts + size, out);
  reduce(parts + size, count - 1, size, out);
}

}  // namespace rnndsl
