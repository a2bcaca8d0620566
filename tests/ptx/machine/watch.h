// Watches memory by bytes: bounds, alignment, races, what is read before it is there.
#pragma once
#include "warp.h"

struct Range {
  u64 at, size;
  Byte* bytes;  // none of what is only read
};

void watch_anew(bool races, int warps_of_a_program);
void watch_range(Range);
bool inside(u64 address, int size);
void complain(const char* what, u64 address, int line, int lane, int other);
void global_access(Warp&, u64 address, int size, int lane, bool write, int line, u64 value = 0, bool atomic = false);
// False where the access is out of bounds.
bool shared_access(Warp&, Program&, u64 address, int size, int lane, bool write, int line, u64 value = 0, bool atomic = false);
void whole_warp(u32 mask, int line);  // what only all lanes together may run

// Order: a release leaves what a warp knows at a word, an acquire takes it; a barrier tells the warps of a program all of each other.
void ordered(Warp&, u64 address, bool release, bool acquire);
void fence(Warp&);
void meet(Program&);
