// The state of a grid that runs: warps of 32 lanes, and the programs (CTAs) that they belong to.
#pragma once
#include <vector>

#include "numbers.h"
#include "report.h"

typedef std::vector<u32> Clock;  // by warp of the grid: up to which moment of that warp something is known

// An access: by whom and when. `warp` is -1 where there was none.
struct Touch {
  int warp = -1;
  u32 clock = 0, epoch = 0;
  int8_t lane = -1;
  bool atomic = false;
};
// A byte of memory: its last write, its last readers of two different warps, and what was written.
struct Byte {
  Touch write, read[2];
  uint8_t value = 0, in_flight = 0;
};
// An asynchronous copy to shared memory; `group` is 0 until it is committed.
struct Copy {
  int lane, size, given, line;
  u64 to, from;
  u32 group;
};

struct Warp {
  unsigned char* file;         // registers: of each, a value for every lane
  int pc[32];
  u32 epoch, waiting, alive;   // barriers so far; lanes that wait for others; lanes that have not returned
  bool at_barrier, done;
  int id;
  Clock clock, fenced, seen;
  std::vector<Copy> copies;
  u32 committed[32];
};
struct Program {
  int warp;
  u32 ctaid[3], nctaid[3];
  unsigned char *shared, *params;
  u32 shared_size;
  std::vector<Byte> bytes;
  std::vector<Warp> warps;
};

// Statements for every lane of `mask`; the whole warp apart, for the compiler to vectorise.
#define LANES(...)                                                     \
  if (mask == 0xffffffffu) {                                           \
    for (int l = 0; l < 32; l++) { __VA_ARGS__ }                       \
  } else                                                               \
    for (int l = 0; l < 32; l++)                                       \
      if (mask >> l & 1) { __VA_ARGS__ }
#define EACH(...)                    \
  for (int l = 0; l < 32; l++)       \
    if (mask >> l & 1) { __VA_ARGS__ }
