// Threads that do one piece of work after another together: what one thread does alone in between is short.
#pragma once
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <type_traits>

namespace rnndsl {

// A leader hands out jobs, each in as many parts as the crew has members, and goes on when all parts are done. A member takes its own part if
// it is there in time, so that it finds in its cache what it has read before, and then what others have not begun; so nobody waits for a member that
// has no core, or was never made.
class Crew {
 public:
  static constexpr long MOST = 256;

  explicit Crew(long members = 1) : members(std::min(members, MOST)) {}

  // f(part, parts) for every part, by all members. What they have written is there for the leader, and for all of the next job.
  template <class F> void each(F&& f) {
    using Plain = std::remove_reference_t<F>;
    const Work run = [](void* data, long part, long parts) { (*static_cast<Plain*>(data))(part, parts); };
    if (members == 1) return run(&f, 0, 1);
    work = run, data = &f;
    done.store(0, std::memory_order_relaxed);
    const long job = number.load(std::memory_order_relaxed) + 1;
    number.store(job, std::memory_order_release);
    take_part(job, 0);
    for (long spins = 0; done.load(std::memory_order_acquire) < members; ++spins) pause(spins);
  }

  // f(row) for every row
  template <class F> void rows(long count, F&& f) {
    auto some = [&](long part, long parts) __attribute__((noinline)) {
      for (long r = part * count / parts; r < (part + 1) * count / parts; ++r) f(r);
    };
    if (count == 1) some(0, 1);
    else each(some);
  }

  // What a member other than the leader does until the leader ends.
  void serve(long member) {
    for (long spins = 0, last = 0, job; (job = number.load(std::memory_order_acquire)) != END; ++spins)
      if (job != last) take_part(last = job, member), spins = 0;
      else pause(spins);
  }
  void end() { number.store(END, std::memory_order_release); }

 private:
  using Work = void (*)(void* data, long part, long parts);
  static constexpr long END = -1, PATIENCE = 4096;

  // Parts of a job that nobody has taken, those of a member first. The job of a part stays the same until all are done.
  void take_part(long job, long member) {
    for (long k = 0; k < members; ++k) {
      const long part = (member + k) % members;
      long before = job - 1;
      if (taken[part].job.load(std::memory_order_relaxed) == before && taken[part].job.compare_exchange_strong(before, job))
        work(data, part, members), done.fetch_add(1, std::memory_order_release);
    }
  }

  static void pause(long spins) {
    if (spins > PATIENCE) sched_yield();
#if defined(__x86_64__)
    else __builtin_ia32_pause();
#endif
  }

  struct alignas(64) Taken {  // a cache line each
    std::atomic<long> job{0};
  };
  const long members;
  Work work = nullptr;
  void* data = nullptr;
  alignas(64) std::atomic<long> number{0};
  alignas(64) std::atomic<long> done{0};
  Taken taken[MOST];
};

}  // namespace rnndsl
