// Products of large matrices, of all steps of a sequence at once: tiles of sums in registers, as those of gemm.h.
#pragma once
#include "kernel.h"

namespace rnndsl {
namespace products {

// Terms that are added up at a time: those of a panel, and of the rows of a unit, stay in the second cache together.
constexpr long DEPTH = 512;
constexpr long MOST_ROWS = 192;                // of a unit, in whole tiles of any height
constexpr long STRIP = 2 * gemm::TALLEST;     // rows whose entries are packed side by side

// ROWS rows by a panel of outputs: y = begin + the sum of `count` terms, added in order.
template <class T, long ROWS>
void tile(long count, const T* __restrict x, long x_row, long x_in, const T* __restrict panel, const T* begin, long begin_row, T* y, long y_row) {
  constexpr long W = WIDTH<T>, VECTORS = PANEL<T> / W;
  Vec<T> sum[ROWS][VECTORS];
  UNROLL for (long r = 0; r < ROWS; ++r)
    UNROLL for (long v = 0; v < VECTORS; ++v) sum[r][v] = gemm::load<T, W>(begin + r * begin_row + v * W);
  for (long i = 0; i < count; ++i, x += x_in, panel += PANEL<T>) {
    Vec<T> w[VECTORS];
    UNROLL for (long v = 0; v < VECTORS; ++v) w[v] = gemm::weights<T, 1, ROWS>(panel, v);
    UNROLL for (long r = 0; r < ROWS; ++r)
      UNROLL for (long v = 0; v < VECTORS; ++v) sum[r][v] += x[r * x_row] * w[v];
  }
  UNROLL for (long r = 0; r < ROWS; ++r)
    UNROLL for (long v = 0; v < VECTORS; ++v) gemm::store<T, W>(y + r * y_row + v * W, sum[r][v]);
}

// The tile of a height from 1 to ROWS.
template <class T, long ROWS, class... Arguments> INLINE void tile_of(long height, Arguments... arguments) {
  if constexpr (ROWS > 1)
    if (height < ROWS) return tile_of<T, ROWS - 1>(height, arguments...);
  tile<T, ROWS>(arguments...);
}

// Rows of x, of `count` entries each, as strips of STRIP rows: [strip][entry][row].
template <class T> void pack_strips(const T* x, long x_row, long x_in, long rows, long count, T* to) {
  const long whole = x_row == 1 ? rows / STRIP * STRIP : 0;
  for (long i = 0; i < count; ++i, x += x_in, to += STRIP) {  // neighbours in memory one after the other
    for (long r = 0; r < whole; r += STRIP) {
      __builtin_prefetch(x + r + 16 * x_in);  // processors do not see such strides coming
      std::memcpy(to + r * count, x + r, STRIP * sizeof(T));
    }
    for (long r = whole; r < rows; ++r) to[r / STRIP * STRIP * count + r % STRIP] = x[r * x_row];
  }
}

// A panel of `outs` outputs, padded with zeros, of `count` terms each.
template <class T> void pack_panel(const T* matrix, long in_stride, long out_stride, long count, long outs, T* to) {
  constexpr long W = WIDTH<T>;
  long i = 0;
  if (in_stride == 1 && outs == PANEL<T>)
    for (; i + W <= count; i += W)
      for (long o = 0; o < PANEL<T>; o += W) {
        Vec<T> block[W];
        UNROLL for (long k = 0; k < W; ++k) block[k] = gemm::load<T, W>(matrix + (o + k) * out_stride + i);
        gemm::transpose<T>(block);
        UNROLL for (long k = 0; k < W; ++k) gemm::store<T, W>(to + (i + k) * PANEL<T> + o, block[k]);
      }
  for (; i < count; ++i)
    for (long o = 0; o < PANEL<T>; ++o) to[i * PANEL<T> + o] = o < outs ? matrix[i * in_stride + o * out_stride] : T(0);
}

}  // namespace products

// y = begin + a b for matrices a [batch, steps], b [steps, outs] of any strides, begin and y [batch, outs], whose rows are contiguous: the four arrays of
// the call, whose strides are those of rows and of columns. An entry's terms are added in the same order, whatever the threads.
template <class T> void product(const Call& call, long outs) {
  using namespace products;
  const Array &a = call.arrays[0], &b = call.arrays[1], &begin = call.arrays[2], &y = call.arrays[3];
  const long rows = call.batch, terms = call.steps, panels = gemm::ceil_div(outs, PANEL<T>), parts = gemm::ceil_div(terms, DEPTH);
  Memory memory;
  T* packed = memory.take<T>(panels * PANEL<T> * terms);
  const auto depth = [&](long part) { return std::min(DEPTH, terms - part * DEPTH); };
  const auto panel = [&](long part, long p) { return packed + (part * DEPTH * panels + p * depth(part)) * PANEL<T>; };
  parallel(call, parts * panels, [&](long unit, Memory&) {
    const long part = unit / panels, p = unit % panels, o = p * PANEL<T>;
    pack_panel(b.at<const T>(part * DEPTH, o), b.batch, b.time, depth(part), std::min(PANEL<T>, outs - o), panel(part, p));
  });
  // enough units for every thread to get about as much
  const long share = std::min(MOST_ROWS, gemm::ceil_div(gemm::ceil_div(rows, 4 * call.threads), STRIP) * STRIP);
  parallel(call, gemm::ceil_div(rows, share), [&](long unit, Memory& own) {
    const long first = unit * share, count = std::min(share, rows - first);
    T *strips = a.time == 1 ? nullptr : own.take<T>(MOST_ROWS * DEPTH), *edge = own.zeros<T>(gemm::TALLEST * PANEL<T>);
    for (long part = 0; part < parts; ++part) {
      const T* x = a.at<const T>(first, part * DEPTH);
      if (strips) pack_strips(x, a.batch, a.time, count, depth(part), strips);
      for (long p = 0; p < panels; ++p)
        for (long r = 0; r < count; r += gemm::TALLEST) {
          const long o = p * PANEL<T>, height = std::min(gemm::TALLEST, count - r), width = std::min(PANEL<T>, outs - o);
          const Array& from = part == 0 ? begin : y;
          const T *tile_x = strips ? strips + r / STRIP * STRIP * depth(part) + r % STRIP : x + r * a.batch, *at = from.at<const T>(first + r, o);
          T* to = y.at<T>(first + r, o);
          const long x_row = strips ? 1 : a.batch, x_in = strips ? STRIP : 1;
          if (width == PANEL<T>) {
            tile_of<T, gemm::TALLEST>(height, depth(part), tile_x, x_row, x_in, panel(part, p), at, from.batch, to, y.batch);
            continue;
          }
          for (long k = 0; k < height; ++k) copy(at + k * from.batch, edge + k * PANEL<T>, width);
          tile_of<T, gemm::TALLEST>(height, depth(part), tile_x, x_row, x_in, panel(part, p), edge, PANEL<T>, edge, PANEL<T>);
          for (long k = 0; k < height; ++k) copy(edge + k * PANEL<T>, to + k * y.batch, width);
        }
    }
  });
}

}  // namespace rnndsl
