// What a launch reports: counts, and where the first thing that is wrong happened. Python reads the names of the counts here.
#pragma once
#include <cstdint>

struct Report {
  uint64_t out_of_bounds;
  uint64_t misaligned;
  uint64_t race_shared;         // between warps
  uint64_t race_shared_warp;    // between lanes of a warp, no barrier between
  uint64_t race_global_cta;     // between programs
  uint64_t race_global_block;   // between warps of a program
  uint64_t race_global_warp;    // between lanes of a warp
  uint64_t diverged;            // lanes of a warp that do not come where all are waited for
  uint64_t unfinished;          // reads and writes of what an asynchronous copy has not been waited for
  uint64_t unwritten;           // reads of shared memory that nothing has written
  uint64_t stuck;               // gave up after as many steps as were allowed
  uint64_t barriers;
  uint64_t steps;
  uint64_t loads;
  uint64_t stores;
  uint64_t atomics;
  uint64_t copies;              // asynchronous ones
  char first[512];
};

extern Report REPORT;
