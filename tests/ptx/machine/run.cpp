// Runs a grid: some programs at once, their warps interleaved at random at every block, the lanes of a warp in lockstep, lowest block first.
#include "copies.h"
#include "watch.h"

enum Kind { PLAIN, BRANCH, RETURN, BARRIER, CALL, TOGETHER };  // TOGETHER waits for all lanes of the warp
struct Row {
  void (*function)(Warp&, Program&, u32 mask, const u64* operands);
  const u64* operands;
  int kind, line;
};
struct Launch {
  const Row* rows;
  const unsigned char* labels;  // whether something may jump to a row
  u64 file_size, max_steps, seed;
  unsigned char* params;
  int grid[3], warps, shared_size, resident;
};

static const int DONE = 1 << 30;
static const Row* rows;
static const unsigned char* labels;

// Operands of a branch: the predicate's place or -1, whether it is negated, the target.
static bool taken(Warp& w, const u64* q, int l) { return (int64_t)q[0] < 0 || (w.file[q[0] + l] != 0) != (q[1] != 0); }

static int lowest(const int* pc, u32 mask) {
  int low = DONE;
  EACH(if (pc[l] < low) low = pc[l];)
  return low;
}
static u32 lanes_at(const int* pc, u32 mask, int at) {
  u32 found = 0;
  EACH(if (pc[l] == at) found |= 1u << l;)
  return found;
}

static void call(Warp&, Program&, u32 mask, const u64* q);

// Runs the lanes of `mask` from row i to the end of a block, and says where each goes on.
static void run_block(Warp& w, Program& p, u32 mask, int i, int* pc) {
  for (;; i++) {
    const Row& row = rows[i];
    if ((row.kind == TOGETHER || row.kind == BARRIER) && mask != w.alive) {
      EACH(pc[l] = i;)
      w.waiting |= mask;
      return;
    }
    if (row.kind == PLAIN || row.kind == TOGETHER) row.function(w, p, mask, row.operands);
    else if (row.kind == CALL) call(w, p, mask, row.operands);
    else {
      EACH(pc[l] = row.kind == BARRIER || !taken(w, row.operands, l) ? i + 1 : row.kind == RETURN ? DONE : (int)row.operands[2];)
      if (row.kind == BARRIER) {
        w.at_barrier = true;
        whole_warp(mask, row.line);
      }
      return;
    }
    if (labels[i + 1]) {
      EACH(pc[l] = i + 1;)
      return;
    }
  }
}

static void copy_values(Warp& w, u32 mask, const u64*& q) {
  for (u64 n = *q++; n; n--, q += 3) EACH(memcpy(w.file + q[1] + l * q[2], w.file + q[0] + l * q[2], q[2]);)
}
// Operands: the row where the function starts, then copies of arguments and of results.
static void call(Warp& w, Program& p, u32 mask, const u64* q) {
  int pc[32], start = (int)*q++;
  copy_values(w, mask, q);
  EACH(pc[l] = start;)
  for (int low; (low = lowest(pc, mask)) != DONE;) run_block(w, p, lanes_at(pc, mask, low), low, pc);
  copy_values(w, mask, q);
}

// A block of one warp: of the lanes that run the lowest; where all wait for each other in different places, the lowest of those.
static void step(Warp& w, Program& p) {
  w.alive = 0;
  for (int l = 0; l < 32; l++)
    if (w.pc[l] != DONE) w.alive |= 1u << l;
  if (!w.alive) {
    w.done = true;
    return;
  }
  u32 running = w.alive & ~w.waiting, of = running ? running : w.alive;
  int low = lowest(w.pc, of);
  u32 mask = lanes_at(w.pc, of, low);
  if (!running) {
    w.waiting &= ~mask;
    if (mask != w.alive) {
      REPORT.diverged++;
      complain("lanes wait for each other in different places", 0, rows[low].line, 0, 0);
      w.alive = mask;
    }
  }
  run_block(w, p, mask, low, w.pc);
}

struct Slot {  // room for one program
  Program program;
  std::vector<unsigned char> shared, files;
};
static void begin(Slot& s, const Launch& launch, int number, int total) {
  Program& p = s.program;
  for (int i = 0, rest = number; i < 3; i++) {
    p.ctaid[i] = rest % launch.grid[i];
    p.nctaid[i] = launch.grid[i];
    rest /= launch.grid[i];
  }
  s.shared.assign(launch.shared_size + 64, 0xff);  // NaN in every type
  s.files.assign(launch.file_size * launch.warps, 0);
  p.shared = s.shared.data();
  p.shared_size = launch.shared_size;
  p.params = launch.params;
  p.bytes.assign(launch.shared_size, Byte());
  p.warps.assign(launch.warps, Warp());
  for (int i = 0; i < launch.warps; i++) {
    Warp& w = p.warps[i];
    w.file = s.files.data() + launch.file_size * i;
    w.id = number * launch.warps + i;
    w.clock.assign(total * launch.warps, 0);
    w.fenced = w.seen = w.clock;
    w.clock[w.id] = 1;
  }
}

struct Random {
  u64 state;
  u64 below(u64 n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
  }
};
static void run(const Launch& launch) {
  rows = launch.rows;
  labels = launch.labels;
  Random random{launch.seed * 6364136223846793005ull + 1442695040888963407ull};
  int total = launch.grid[0] * launch.grid[1] * launch.grid[2], next = 0;
  std::vector<Slot> slots(launch.resident);
  std::vector<Slot*> free, live;
  for (auto& s : slots) free.push_back(&s);
  for (;;) {
    while (next < total && !free.empty()) {
      begin(*free.back(), launch, next++, total);
      live.push_back(free.back());
      free.pop_back();
    }
    if (live.empty()) return;
    size_t k = random.below(live.size());
    Program& p = live[k]->program;
    std::vector<int> ready;
    bool alive = false;
    for (int i = 0; i < launch.warps; i++) {
      alive |= !p.warps[i].done;
      if (!p.warps[i].done && !p.warps[i].at_barrier) ready.push_back(i);
    }
    if (!alive) {
      free.push_back(live[k]);
      live.erase(live.begin() + k);
    } else if (ready.empty()) {
      bool missing = false;
      for (auto& w : p.warps) missing |= w.done;
      if (missing) {
        REPORT.diverged++;
        complain("a warp has returned while others wait at a barrier", 0, 0, 0, 0);
      }
      meet(p);
    } else {
      p.warp = ready[random.below(ready.size())];
      step(p.warps[p.warp], p);
      if (++REPORT.steps > launch.max_steps) {
        REPORT.stuck++;
        complain("stuck: too many steps", 0, 0, 0, 0);
        return;
      }
    }
  }
}

// `ranges`: address, size, and whether it is constant, of each piece of global memory.
extern "C" void emulate(const Launch* launch, const u64* ranges, int count, int noise, int races, Report* report) {
  NOISE = noise;
  watch_anew(races, launch->warps);
  std::vector<std::vector<Byte>> bytes(count);
  for (int i = 0; i < count; i++) {
    const u64* r = ranges + 3 * i;
    if (races && !r[2]) bytes[i].resize(r[1]);
    watch_range({r[0], r[1], bytes[i].empty() ? nullptr : bytes[i].data()});
  }
  run(*launch);
  *report = REPORT;
}
