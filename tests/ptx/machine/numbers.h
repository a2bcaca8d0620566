// What instructions compute: values as registers hold them, and the operations that C++ leaves undefined or lacks.
#pragma once
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

typedef uint64_t u64;
typedef uint32_t u32;

extern int NOISE;  // by how many units in the last place an approximate instruction may be off

static inline float as_float(u32 x) { float f; memcpy(&f, &x, 4); return f; }
static inline u32 bits_of(float f) { u32 x; memcpy(&x, &f, 4); return x; }
static inline double as_double(u64 x) { double f; memcpy(&f, &x, 8); return f; }
static inline u64 bits_of(double f) { u64 x; memcpy(&x, &f, 8); return x; }

static inline float of_bf16(u32 x) { return as_float(x << 16); }
static inline u32 to_bf16(float f) {
  u32 x = bits_of(f);
  return std::isnan(f) ? 0x7fff : (x + 0x7fff + ((x >> 16) & 1)) >> 16;
}
static inline u32 to_tf32(float f) {  // ten bits of the fraction, ties away from zero
  u32 x = bits_of(f);
  return f - f != 0 ? x : (x + 0x1000) & ~0x1fffu;
}
static inline float of_f16(u32 x) { uint16_t h = x; _Float16 f; memcpy(&f, &h, 2); return f; }
static inline u32 to_f16(float f) { _Float16 h = (_Float16)f; uint16_t x; memcpy(&x, &h, 2); return x; }

// A few units in the last place, the same for the same value.
static inline float noisy(float f) {
  if (!NOISE || !std::isfinite(f) || f == 0) return f;
  u32 x = bits_of(f), h = x * 2654435761u;
  h ^= h >> 15;
  h *= 2246822519u;
  h ^= h >> 13;
  return as_float(x + (int)(h % (2 * NOISE + 1)) - NOISE);
}
static inline float flushed(float a) { return std::fabs(a) < 1.17549435e-38f ? std::copysign(0.f, a) : a; }
static inline float tanh_approx(float a) { return as_float(bits_of(std::tanh(a)) & ~0xfffu); }  // 11 bits

// The one NaN that arithmetic gives; that of a CPU has the sign and bits of an operand.
template <class T> static inline T canonical(T a) { return a == a ? a : (T)NAN; }
template <class T> static inline T maximum(T a, T b, bool nan) {
  return nan && (std::isnan(a) || std::isnan(b)) ? (T)NAN : std::fmax(a, b);
}
template <class T> static inline T minimum(T a, T b, bool nan) {
  return nan && (std::isnan(a) || std::isnan(b)) ? (T)NAN : std::fmin(a, b);
}
// A number as an integer: NaN is 0, what is too large the largest.
template <class T> static inline T whole(double x) {
  typedef std::numeric_limits<T> limits;
  if (std::isnan(x)) return 0;
  return x <= (double)limits::min() ? limits::min() : x >= (double)limits::max() ? limits::max() : (T)x;
}
template <class T> static inline T shl(T a, u32 n) { return n >= 8 * sizeof(T) ? (T)0 : (T)(a << n); }
template <class T> static inline T shr(T a, u32 n) { return n >= 8 * sizeof(T) ? (T)(a < 0 ? -1 : 0) : (T)(a >> n); }
template <class T> static inline T quotient(T a, T b) { return b == 0 ? (T)-1 : (T)(a / b); }
template <class T> static inline T remainder_of(T a, T b) { return b == 0 ? a : (T)(a % b); }

template <class T> static inline T field_of(T v, u32 at, u32 n) {
  const u32 bits = 8 * sizeof(T);
  if (n == 0) return 0;
  if (at >= bits) return v < 0 ? (T)-1 : (T)0;
  if (n > bits - at) n = bits - at;
  return (T)((T)(v << (bits - at - n)) >> (bits - n));
}
template <class T> static inline T reversed(T x) {
  T o = 0;
  for (u32 i = 0; i < 8 * sizeof(T); i++) o |= ((x >> i) & 1) << (8 * sizeof(T) - 1 - i);
  return o;
}
static inline u32 permuted(u32 a, u32 b, u32 selector) {
  u64 x = a | (u64)b << 32;
  u32 o = 0;
  for (int i = 0; i < 4; i++) {
    u32 n = selector >> (4 * i), byte = (x >> (8 * (n & 7))) & 255;
    if (n & 8) byte = byte & 128 ? 255 : 0;
    o |= byte << (8 * i);
  }
  return o;
}
