// Asynchronous copies from global to shared memory. What a copy brings arrives as late as it may: where its group is waited for.
#pragma once
#include "watch.h"

void copy_later(Warp&, Program&, int lane, u64 to, u64 from, int size, int given, int line);
void commit(Warp&, u32 mask);
// Until at most `left` committed groups of a lane are on their way; -1: nothing is, committed or not.
void wait_for_copies(Warp&, Program&, u32 mask, int left);
