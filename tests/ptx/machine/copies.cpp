#include "copies.h"

void copy_later(Warp& w, Program& p, int lane, u64 to, u64 from, int size, int given, int line) {
  REPORT.copies++;
  for (int i = 0; i < given; i += 4) global_access(w, from + i, 4, lane, false, line);
  if (from % size || to % size) {
    REPORT.misaligned++;
    complain("an asynchronous copy is misaligned", from, line, lane, lane);
  }
  for (int i = 0; i < size; i++) {  // nobody may be using the place any more
    if (!shared_access(w, p, to + i, 1, lane, true, line, 256 + i)) return;
    p.bytes[to + i].in_flight = 1;
  }
  w.copies.push_back({lane, size, given, line, to, from, 0});
}

void commit(Warp& w, u32 mask) {
  EACH(w.committed[l]++;)
  for (auto& c : w.copies)
    if (!c.group && (mask >> c.lane & 1)) c.group = w.committed[c.lane];
}

void wait_for_copies(Warp& w, Program& p, u32 mask, int left) {
  std::vector<Copy> kept;
  for (auto& c : w.copies) {
    bool due = (mask >> c.lane & 1) && (left < 0 || (c.group && (int)(w.committed[c.lane] - c.group) >= left));
    if (!due) {
      kept.push_back(c);
      continue;
    }
    for (int i = 0; i < c.size; i++) {
      unsigned char byte = 0;
      if (i < c.given && inside(c.from + i, 1)) {
        global_access(w, c.from + i, 1, c.lane, false, c.line);
        byte = *(unsigned char*)(c.from + i);
      }
      p.bytes[c.to + i].in_flight = 0;
      shared_access(w, p, c.to + i, 1, c.lane, true, c.line, byte);
      p.shared[c.to + i] = byte;
    }
  }
  w.copies = kept;
}
