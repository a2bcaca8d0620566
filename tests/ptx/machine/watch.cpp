#include "watch.h"

#include <cstdio>
#include <unordered_map>

Report REPORT;
int NOISE = 0;

static std::vector<Range> ranges;
static std::unordered_map<u64, Clock> left_at;  // by word: what releases have left there
static bool watching = true;
static int program_warps = 1;

void watch_anew(bool races, int warps_of_a_program) {
  memset(&REPORT, 0, sizeof REPORT);
  ranges.clear();
  left_at.clear();
  watching = races;
  program_warps = warps_of_a_program;
}
void watch_range(Range r) { ranges.push_back(r); }

static Range* range_of(u64 a, int n) {
  for (auto& r : ranges)
    if (a >= r.at && a + n <= r.at + r.size) return &r;
  return nullptr;
}
bool inside(u64 a, int n) { return range_of(a, n) != nullptr; }

void complain(const char* what, u64 a, int line, int lane, int other) {
  if (REPORT.first[0]) return;
  snprintf(REPORT.first, sizeof REPORT.first, "%s at 0x%llx, line %d of the PTX, lanes %d and %d", what, (unsigned long long)a, line, lane, other);
}
void whole_warp(u32 mask, int line) {
  if (mask == 0xffffffffu) return;
  REPORT.diverged++;
  complain("lanes are missing where all are needed", 0, line, 0, 0);
}

static void conflict(const Touch& t, Warp& w, int lane, bool atomic, bool shared, u64 a, int line) {
  if (t.warp < 0 || (t.atomic && atomic)) return;
  if (t.warp == w.id) {
    if (t.lane == lane || t.epoch != w.epoch) return;
    ++(shared ? REPORT.race_shared_warp : REPORT.race_global_warp);
    complain(shared ? "shared memory: two lanes of a warp, no barrier between" : "global memory: two lanes of a warp, no barrier between", a, line, t.lane, lane);
  } else if (t.clock > w.clock[t.warp]) {
    bool apart = t.warp / program_warps != w.id / program_warps;
    ++(shared ? REPORT.race_shared : apart ? REPORT.race_global_cta : REPORT.race_global_block);
    complain(shared ? "shared memory: a race between warps" : apart ? "global memory: a race between programs" : "global memory: a race between warps", a, line, t.lane, lane);
  }
}

// Two writes of one value from one program do no harm: a layout may hold a value in several lanes.
static void touch(Byte& b, Warp& w, int lane, bool write, bool shared, u64 a, int line, uint8_t value, bool atomic) {
  bool same = write && b.write.warp >= 0 && b.write.warp / program_warps == w.id / program_warps && b.value == value;
  if (!same) conflict(b.write, w, lane, atomic, shared, a, line);
  Touch now{w.id, w.clock[w.id], w.epoch, (int8_t)lane, atomic};
  if (write) {
    for (auto& r : b.read) conflict(r, w, lane, atomic, shared, a, line);
    b.write = now;
    b.value = value;
  } else {
    if (b.read[0].warp != w.id) b.read[1] = b.read[0];
    b.read[0] = now;
  }
}

void global_access(Warp& w, u64 a, int n, int lane, bool write, int line, u64 value, bool atomic) {
  ++(write ? REPORT.stores : REPORT.loads);
  if (a % n) {
    REPORT.misaligned++;
    complain("misaligned", a, line, lane, lane);
  }
  Range* r = range_of(a, n);
  if (!r || (write && watching && !r->bytes)) {
    REPORT.out_of_bounds++;
    complain(r ? "a store to what is constant" : "out of bounds", a, line, lane, lane);
    return;
  }
  if (watching && r->bytes)
    for (int i = 0; i < n; i++) touch(r->bytes[a + i - r->at], w, lane, write, false, a + i, line, (uint8_t)(value >> (8 * i)), atomic);
}

bool shared_access(Warp& w, Program& p, u64 a, int n, int lane, bool write, int line, u64 value, bool atomic) {
  if (a + n > p.shared_size) {
    REPORT.out_of_bounds++;
    complain("shared memory: out of bounds", a, line, lane, lane);
    return false;
  }
  if (a % n) {
    REPORT.misaligned++;
    complain("shared memory: misaligned", a, line, lane, lane);
  }
  if (watching)
    for (int i = 0; i < n; i++) {
      Byte& b = p.bytes[a + i];
      if (b.in_flight) {
        REPORT.unfinished++;
        complain("shared memory: an asynchronous copy was not waited for", a + i, line, lane, lane);
      }
      if (!write && b.write.warp < 0) {
        REPORT.unwritten++;
        complain("shared memory: read before it is written", a + i, line, lane, lane);
      }
      touch(b, w, lane, write, true, a + i, line, (uint8_t)(value >> (8 * i)), atomic);
    }
  return true;
}

static void join(Clock& a, const Clock& b) {
  for (size_t i = 0; i < b.size(); i++)
    if (b[i] > a[i]) a[i] = b[i];
}
void ordered(Warp& w, u64 a, bool release, bool acquire) {
  REPORT.atomics++;
  Clock& at = left_at[a];
  at.resize(w.clock.size());
  join(acquire ? w.clock : w.seen, at);
  if (release) {
    join(at, w.clock);
    w.clock[w.id]++;
  } else
    join(at, w.fenced);
}
void fence(Warp& w) {
  join(w.clock, w.seen);
  w.fenced = w.clock;
  w.clock[w.id]++;
}
void meet(Program& p) {
  REPORT.barriers++;
  Clock all = p.warps[0].clock;
  for (auto& w : p.warps) join(all, w.clock);
  for (auto& w : p.warps) {
    w.clock = all;
    w.clock[w.id]++;
    w.epoch++;
    w.at_barrier = false;
  }
}
