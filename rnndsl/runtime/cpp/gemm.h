// The matrix product of a recurrence: a few rows of states with a matrix that stays the same over many steps.
#pragma once
#include <algorithm>
#include <utility>

#include "vector.h"

#define UNROLL _Pragma("GCC unroll 16")  // of loops over registers: all must have fixed indices

namespace rnndsl {

// Outputs of a panel. A matrix P[in][out] is packed into panels once a call: panel p holds the outputs p*PANEL ..
// p*PANEL+PANEL-1 for all inputs as [in][PANEL], the last one padded with zeros.
template <class T> constexpr long PANEL = 2 * WIDTH<T>;

namespace gemm {

constexpr long ceil_div(long a, long b) { return (a + b - 1) / b; }

template <class T, long LANES> INLINE Vec<T> load(const T* from) {
  if constexpr (LANES == WIDTH<T>) return whole(from);
  Vec<T> vector{};
  std::memcpy(&vector, from, LANES * sizeof(T));
  return vector;
}

template <class T, long LANES> INLINE void store(T* to, Vec<T> vector) {
  if constexpr (LANES == WIDTH<T>) return put(to, vector);
  std::memcpy(to, &vector, LANES * sizeof(T));
}

// ---- Products with panels ----

// The most rows of a tile: with PANEL outputs, its sums, one input and the panel's vectors stay in registers. More than 8 rows, where these lie a power of two
// apart, would not stay in the first cache together.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr long TALLEST = 8;
#else
constexpr long TALLEST = 6;
#endif

// The weights of one input for vector v of a tile that begins at panels, in panels of IN inputs. Those that several
// rows use are read as volatile, once: else the compiler reads them from memory anew for every row.
template <class T, long IN, long ROWS> INLINE Vec<T> weights(const T* panels, long v) {
  constexpr long PER_PANEL = PANEL<T> / WIDTH<T>;
  const T* from = panels + v / PER_PANEL * IN * PANEL<T> + v % PER_PANEL * WIDTH<T>;
  if (ROWS > 4 && v * BYTES % 64 == 0) __builtin_prefetch(from + 4096 / sizeof(T));  // 16 MB of panels: 10 % faster
  if (ROWS == 1) return *reinterpret_cast<const Vec<T>*>(from);
  return *reinterpret_cast<const volatile Vec<T>*>(from);
}

// gcc tuned for some CPUs makes multiplications and additions of the FMAs of a lone sum, and these round differently:
// not if the sum has passed through here.
template <class T> INLINE void hide(Vec<T>& sum) {
#if defined(__x86_64__)
  asm("" : "+v"(sum));
#elif defined(__aarch64__)
  asm("" : "+w"(sum));
#endif
}

// ROWS rows by OUTS outputs, all sums in registers. The inputs are added in order, whatever the tile: a row has the
// same result in any batch.
template <class T, long IN, long OUTS, long ROWS>
void tile(const T* __restrict x, long x_stride, const T* __restrict panels, T* __restrict y, long y_stride) {
  constexpr long W = WIDTH<T>, FULL = OUTS / W, REST = OUTS % W, VECTORS = FULL + (REST > 0);
  Vec<T> sum[ROWS][FULL + 1] = {};
  for (long i = 0; i < IN; ++i, ++x, panels += PANEL<T>) {
    if constexpr (ROWS * VECTORS == 1) hide<T>(sum[0][0]);
    if constexpr (ROWS < VECTORS) {  // holds an x of each row in registers
      UNROLL for (long v = 0; v < VECTORS; ++v) {
        const Vec<T> w = weights<T, IN, ROWS>(panels, v);
        UNROLL for (long r = 0; r < ROWS; ++r) sum[r][v] += x[r * x_stride] * w;
      }
    } else {  // holds the weights of all outputs in registers
      Vec<T> w[VECTORS];
      UNROLL for (long v = 0; v < VECTORS; ++v) w[v] = weights<T, IN, ROWS>(panels, v);
      UNROLL for (long r = 0; r < ROWS; ++r)
        UNROLL for (long v = 0; v < VECTORS; ++v) sum[r][v] += x[r * x_stride] * w[v];
    }
  }
  UNROLL for (long r = 0; r < ROWS; ++r) {
    UNROLL for (long v = 0; v < FULL; ++v) store<T, W>(y + r * y_stride + v * W, sum[r][v]);
    store<T, REST>(y + r * y_stride + FULL * W, sum[r][FULL]);
  }
}

// Odd tiles above this height are not worth their code.
constexpr long EACH = 6;

// The tile of a height from SHORTEST to ROWS.
template <class T, long IN, long OUTS, long SHORTEST, long ROWS>
INLINE void tile_of(long height, const T* x, long x_stride, const T* panels, T* y, long y_stride) {
  if constexpr (ROWS > SHORTEST)
    if (height < ROWS) return tile_of<T, IN, OUTS, SHORTEST, ROWS - (ROWS > EACH ? 2 : 1)>(height, x, x_stride, panels, y, y_stride);
  tile<T, IN, OUTS, ROWS>(x, x_stride, panels, y, y_stride);
}

// All rows by OUTS outputs, in tiles, of which the last may take a row of the one before again: the panels come from L3 once, then from L1 or L2.
template <class T, long IN, long OUTS, long SHORTEST, long HIGHEST>
void columns(long rows, const T* x, long x_stride, const T* panels, T* y, long y_stride) {
  for (long begin = 0, height; begin < rows; begin += height) {
    const long left = rows - begin;
    if (left == HIGHEST || left >= HIGHEST + SHORTEST) height = HIGHEST;
    else height = std::max(SHORTEST, left > EACH ? ceil_div(left, 2) : left);
    const long r = std::min(begin, rows - height);
    tile_of<T, IN, OUTS, SHORTEST, HIGHEST>(height, x + r * x_stride, x_stride, panels, y + r * y_stride, y_stride);
  }
}

// All rows by one of the parts of all outputs, PANELS panels at a time.
template <class T, long IN, long OUT, long PANELS, long SHORTEST, long HIGHEST>
void sweep(long rows, const T* x, long x_stride, const T* panels, T* y, long y_stride, long part, long parts) {
  constexpr long OUTS = PANELS * PANEL<T>, REST = OUT % OUTS, END = OUT - REST, ALL = ceil_div(OUT, OUTS);
  const long first = part * ALL / parts * OUTS, last = (part + 1) * ALL / parts * OUTS;
  for (long o = first; o < std::min(last, END); o += OUTS)
    columns<T, IN, OUTS, SHORTEST, HIGHEST>(rows, x, x_stride, panels + o * IN, y + o, y_stride);
  if (REST > 0 && last > END && first < last)
    if constexpr (REST > 0) columns<T, IN, REST, SHORTEST, HIGHEST>(rows, x, x_stride, panels + END * IN, y + END, y_stride);
}

// ---- Packing ----

// Every other of the lanes is from a, every other from b: their lower halves, or (HALF = 1) their upper ones.
template <class T, long HALF, std::size_t... LANE> INLINE Vec<T> zip(Vec<T> a, Vec<T> b, std::index_sequence<LANE...>) {
  return Vec<T>{(LANE % 2 ? b : a)[HALF * WIDTH<T> / 2 + LANE / 2]...};
}

// Transposes WIDTH vectors: each round of zips moves one bit of the lane into the vector's place, and one back.
template <class T> INLINE void transpose(Vec<T>* rows) {
  constexpr long W = WIDTH<T>;
  constexpr auto LANES = std::make_index_sequence<W>();
  UNROLL for (long round = 1; round < W; round *= 2) {
    Vec<T> zipped[W];
    UNROLL for (long k = 0; k < W / 2; ++k) {
      zipped[2 * k] = zip<T, 0>(rows[k], rows[k + W / 2], LANES);
      zipped[2 * k + 1] = zip<T, 1>(rows[k], rows[k + W / 2], LANES);
    }
    UNROLL for (long k = 0; k < W; ++k) rows[k] = zipped[k];
  }
}

// WIDTH outputs of a panel, from as many runs of IN contiguous inputs.
template <class T, long IN> void pack_runs(const T* matrix, long out_stride, T* panel) {
  constexpr long W = WIDTH<T>, END = IN - IN % W;
  for (long i = 0; i < END; i += W) {
    Vec<T> block[W];
    UNROLL for (long o = 0; o < W; ++o) block[o] = load<T, W>(matrix + o * out_stride + i);
    transpose<T>(block);
    UNROLL for (long k = 0; k < W; ++k) store<T, W>(panel + (i + k) * PANEL<T>, block[k]);
  }
  for (long i = END; i < IN; ++i)
    for (long o = 0; o < W; ++o) panel[i * PANEL<T> + o] = matrix[o * out_stride + i];
}

// A panel of OUTS outputs, from IN runs of contiguous outputs.
template <class T, long IN, long OUTS> void pack_rows(const T* matrix, long in_stride, T* panel) {
  for (long i = 0; i < IN; ++i) std::memcpy(panel + i * PANEL<T>, matrix + i * in_stride, OUTS * sizeof(T));
}

// A panel of OUTS outputs.
template <class T, long IN, long OUTS> void pack_panel(const T* matrix, long in_stride, long out_stride, T* panel) {
  constexpr long W = WIDTH<T>;
  if (OUTS < PANEL<T>) std::fill(panel, panel + IN * PANEL<T>, T(0));
  if (out_stride == 1) return pack_rows<T, IN, OUTS>(matrix, in_stride, panel);
  long o = 0;
  if (in_stride == 1)
    for (; o + W <= OUTS; o += W) pack_runs<T, IN>(matrix + o * out_stride, out_stride, panel + o);
  for (; o < OUTS; ++o)
    for (long i = 0; i < IN; ++i) panel[i * PANEL<T> + o] = matrix[i * in_stride + o * out_stride];
}

// ---- Products with an unpacked matrix ----

// Outputs of a group of dot products: a vector of them or more, and enough to hide the latency of an FMA.
template <class T> constexpr long GROUP = std::max(8, WIDTH<T>);

// A row by OUTS outputs: their dot products with as many runs of IN contiguous inputs.
template <class T, long IN, long OUTS> void dots(const T* x, const T* matrix, long out_stride, T* y) {
  constexpr long W = WIDTH<T>, END = IN - IN % W, VECTORS = ceil_div(OUTS, W);
  Vec<T> sum[VECTORS * W] = {};
  for (long i = 0; i < END; i += W) {
    const Vec<T> inputs = load<T, W>(x + i);
    UNROLL for (long o = 0; o < OUTS; ++o) sum[o] += inputs * load<T, W>(matrix + o * out_stride + i);
  }
  const Vec<T> inputs = load<T, IN - END>(x + END);
  UNROLL for (long o = 0; o < OUTS; ++o) sum[o] += inputs * load<T, IN - END>(matrix + o * out_stride + END);
  UNROLL for (long v = 0; v < VECTORS; ++v) {
    transpose<T>(sum + v * W);
    UNROLL for (long k = 1; k < W; ++k) sum[v * W] += sum[v * W + k];
    constexpr long LAST = OUTS - (VECTORS - 1) * W;
    if (v < VECTORS - 1) store<T, W>(y + v * W, sum[v * W]);
    else store<T, LAST>(y + v * W, sum[v * W]);
  }
}

// Adds a row's INPUTS inputs, times as many runs of contiguous outputs, to OUTS outputs.
template <class T, long INPUTS, long OUTS>
void add_runs(const T* __restrict x, const T* __restrict matrix, long in_stride, T* __restrict y) {
  constexpr long W = WIDTH<T>, END = OUTS - OUTS % W;
  for (long o = 0; o < END; o += W) {
    Vec<T> sum = load<T, W>(y + o);
    UNROLL for (long i = 0; i < INPUTS; ++i) sum += x[i] * load<T, W>(matrix + i * in_stride + o);
    store<T, W>(y + o, sum);
  }
  for (long o = END; o < OUTS; ++o)
    for (long i = 0; i < INPUTS; ++i) y[o] += x[i] * matrix[i * in_stride + o];
}

// All rows by OUTS outputs, eight inputs at a time: their runs are read from L1 by all rows but the first.
template <class T, long IN, long OUTS>
void sum_runs(long rows, const T* x, long x_stride, const T* matrix, long in_stride, T* y, long y_stride) {
  constexpr long INPUTS = 8, REST = IN % INPUTS, END = IN - REST;
  for (long r = 0; r < rows; ++r) std::fill(y + r * y_stride, y + r * y_stride + OUTS, T(0));
  for (long i = 0; i < END; i += INPUTS)
    for (long r = 0; r < rows; ++r)
      add_runs<T, INPUTS, OUTS>(x + r * x_stride + i, matrix + i * in_stride, in_stride, y + r * y_stride);
  for (long r = 0; r < rows; ++r)
    add_runs<T, REST, OUTS>(x + r * x_stride + END, matrix + END * in_stride, in_stride, y + r * y_stride);
}

// in_stride == 1: the runs of a group of outputs are read from L1 or L2 by all rows but the first.
template <class T, long IN, long OUT>
void multiply_dots(long rows, const T* x, long x_stride, const T* matrix, long out_stride, T* y, long y_stride) {
  constexpr long REST = OUT % GROUP<T>, END = OUT - REST;
  for (long o = 0; o < END; o += GROUP<T>)
    for (long r = 0; r < rows; ++r)
      dots<T, IN, GROUP<T>>(x + r * x_stride, matrix + o * out_stride, out_stride, y + r * y_stride + o);
  if constexpr (REST > 0)
    for (long r = 0; r < rows; ++r)
      dots<T, IN, REST>(x + r * x_stride, matrix + END * out_stride, out_stride, y + r * y_stride + END);
}

// out_stride == 1
template <class T, long IN, long OUT>
void multiply_runs(long rows, const T* x, long x_stride, const T* matrix, long in_stride, T* y, long y_stride) {
  constexpr long OUTS = 2048 / sizeof(T), REST = OUT % OUTS, END = OUT - REST;
  for (long o = 0; o < END; o += OUTS)
    sum_runs<T, IN, OUTS>(rows, x, x_stride, matrix + o, in_stride, y + o, y_stride);
  if constexpr (REST > 0) sum_runs<T, IN, REST>(rows, x, x_stride, matrix + END, in_stride, y + END, y_stride);
}

// Any strides.
template <class T, long IN, long OUT>
void multiply_strided(long rows, const T* x, long x_stride, const T* matrix, long in_stride, long out_stride, T* y,
                      long y_stride) {
  for (long r = 0; r < rows; ++r)
    for (long o = 0; o < OUT; ++o) {
      T sum = 0;
      for (long i = 0; i < IN; ++i) sum += x[r * x_stride + i] * matrix[i * in_stride + o * out_stride];
      y[r * y_stride + o] = sum;
    }
}

}  // namespace gemm

// The number of entries of all panels.
template <class T, long IN, long OUT> constexpr long packed_size() {
  return gemm::ceil_div(OUT, PANEL<T>) * PANEL<T> * IN;
}

// Packs P[i][o] = matrix[i * in_stride + o * out_stride].
template <class T, long IN, long OUT> void pack(const T* matrix, long in_stride, long out_stride, T* panels) {
  constexpr long REST = OUT % PANEL<T>, END = OUT - REST;
  for (long o = 0; o < END; o += PANEL<T>)
    gemm::pack_panel<T, IN, PANEL<T>>(matrix + o * out_stride, in_stride, out_stride, panels + o * IN);
  if constexpr (REST > 0)
    gemm::pack_panel<T, IN, REST>(matrix + END * out_stride, in_stride, out_stride, panels + END * IN);
}

// y[r][o] = sum of x[r][i] * P[i][o] over i, for r < rows. The panels are aligned to 64 bytes.
// Few rows take several panels at once, for enough independent sums to hide the latency of an FMA. Of the outputs only one of some parts is taken.
template <class T, long IN, long OUT>
void multiply(long rows, const T* x, long x_stride, const T* panels, T* y, long y_stride, long part = 0, long parts = 1) {
  constexpr long TALLEST = gemm::TALLEST, SHORTEST = std::min<long>(4, (TALLEST + 1) / 2);
  if (rows == 1) gemm::sweep<T, IN, OUT, 4, 1, 1>(rows, x, x_stride, panels, y, y_stride, part, parts);
  else if (rows <= 3) gemm::sweep<T, IN, OUT, 2, 2, 3>(rows, x, x_stride, panels, y, y_stride, part, parts);
  else gemm::sweep<T, IN, OUT, 1, SHORTEST, TALLEST>(rows, x, x_stride, panels, y, y_stride, part, parts);
}

// The same product straight from an unpacked matrix, for calls too short to repay packing: fast with a stride of 1.
template <class T, long IN, long OUT>
void multiply_plain(long rows, const T* x, long x_stride, const T* matrix, long in_stride, long out_stride, T* y,
                    long y_stride) {
  if (in_stride == 1) gemm::multiply_dots<T, IN, OUT>(rows, x, x_stride, matrix, out_stride, y, y_stride);
  else if (out_stride == 1) gemm::multiply_runs<T, IN, OUT>(rows, x, x_stride, matrix, in_stride, y, y_stride);
  else gemm::multiply_strided<T, IN, OUT>(rows, x, x_stride, matrix, in_stride, out_stride, y, y_stride);
}

}  // namespace rnndsl
