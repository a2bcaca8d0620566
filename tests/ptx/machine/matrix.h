// Products of small matrices by a warp: D [16, 8] = A [16, K] B [K, 8] + C [16, 8].
#pragma once
#include "warp.h"

struct Bf16 {
  static const int per = 2;  // values in a register
  static float of(u32 x, int half) { return of_bf16(half ? x >> 16 : x & 0xffff); }
};
struct F16 {
  static const int per = 2;
  static float of(u32 x, int half) { return of_f16(half ? x >> 16 : x & 0xffff); }
};
struct Tf32 {
  static const int per = 1;
  static float of(u32 x, int) { return as_float(x & 0xffffe000u); }  // what lies below ten bits is not read
};

// a, b: registers of the fragments, each of 32 lanes; c and d: four each.
template <class Kind, int K> static void multiply(u32* const* a, u32* const* b, const float (*c)[32], u32* const* d) {
  const int per = Kind::per, block = 4 * per;  // columns of A that a register holds in a row of lanes
  float A[16][K], B[K][8], C[16][8];
  for (int l = 0; l < 32; l++) {
    int g = l >> 2, t = l & 3;
    for (int h = 0; h < per; h++) {
      for (int i = 0; i < 2 * K / block; i++) A[g + 8 * (i % 2)][per * t + h + block * (i / 2)] = Kind::of(a[i][l], h);
      for (int i = 0; i < K / block; i++) B[per * t + h + block * i][g] = Kind::of(b[i][l], h);
    }
    for (int i = 0; i < 4; i++) C[g + 8 * (i / 2)][2 * t + i % 2] = c[i][l];
  }
  for (auto i = 0; i < 16; i++)
    for (auto j = 0; j < 8; j++) {
      double sum = C[i][j];
      for (int k = 0; k < K; k++) sum += (double)A[i][k] * B[k][j];
      C[i][j] = (float)sum;
    }
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < 4; i++) d[i][l] = bits_of(C[(l >> 2) + 8 * (i / 2)][2 * (l & 3) + i % 2]);
}
