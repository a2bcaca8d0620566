// Made by rnndsl 0.1.0 from gated_delta_net.rnn, cell GatedDeltaNet. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// S, forwards: the states of all steps from the streams.
EXPORT void S_forward(const Call& call) {
  const Array Sd_in = call.arrays[0];
  const Array S_in = call.arrays[1];
  const Array k = call.arrays[2];
  const Array S_in2 = call.arrays[3];
  const Array S_first[] = {call.arrays[4]};
  const Array S_1_initial = call.arrays[5];
  const Array S_all = call.arrays[6];
  const Array S_1_final = call.arrays[7];
  constexpr long ROWS = 1;
  constexpr long BLOCK = block_of<T>(V, 8), BLOCKS = (V + BLOCK - 1) / BLOCK, LAST = V - (BLOCKS - 1) * BLOCK;
  constexpr long OTHERS = N * BLOCKS;
  const long share = 1;
  const long parts = (call.batch + share - 1) / share;
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long block = rest % (BLOCKS);
    rest /= BLOCKS;
    const long n0 = rest % (N);
    rest /= N;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      T* Sd = memory.take<T>(ROWS * (K * EXTENT));
      T* v = memory.take<T>(ROWS * EXTENT);
      T* v_ = memory.take<T>(ROWS * EXTENT);
      for (long t = 0; t < call.steps; ++t) {
        {
          constexpr long r = 0;
          const T* Sd_in_r = Sd_in.at<const T>(b + r, t);
          const T* S_1_r = old<T>(call, S_all, S_first, S_1_initial, 1, b + r, t);
          const T* k_r = k.at<const T>(b + r, t);
          T* Sd_r = Sd + r * (K * EXTENT);
          T* v_r = v + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i2) INLINED {
            using L = typename decltype(tag)::type;
            L v_sum = L::fill(T(0));
            for (long i1 = 0; i1 < K; ++i1) {
              const L Sd_in_ = L::fill(*(Sd_in_r + n0));
              const L S_1_ = L::load(S_1_r + n0 * (V * K) + i1 * V + start + i2);
              // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L Sd = Sd_in_ * S_1_;
              Sd.store(Sd_r + i1 * EXTENT + i2);
              const L k_ = L::fill(*(k_r + n0 * K + i1));
              // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_2 = k_ * Sd;
              v_sum = v_sum + v_2;
            }
            v_sum.store(v_r + i2);
          });
        }
        {
          constexpr long r = 0;
          const T* S_in2_r = S_in2.at<const T>(b + r, t);
          T* v_r = v + r * EXTENT;
          T* v__r = v_ + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L S_in2_ = L::load(S_in2_r + n0 * V + start + i1);
            const L v_3 = L::load(v_r + i1);
            // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_ = S_in2_ - v_3;
            v_.store(v__r + i1);
          });
        }
        {
          constexpr long r = 0;
          const T* k_r = k.at<const T>(b + r, t);
          T* v__r = v_ + r * EXTENT;
          const T* S_in_r = S_in.at<const T>(b + r, t);
          T* Sd_r = Sd + r * (K * EXTENT);
          for (long i1 = 0; i1 < K; ++i1) {
            over<T, EXTENT>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L k_2 = L::fill(*(k_r + n0 * K + i1));
              const L v_4 = L::load(v__r + i2);
              const L S_in_ = L::fill(*(S_in_r + n0));
              const L Sd_ = L::load(Sd_r + i1 * EXTENT + i2);
              // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L S = Sd_ + S_in_ * (k_2 * v_4);
              S.store(S_all.at<T>(b + r, t) + n0 * (V * K) + i1 * V + start + i2);
            });
          }
        }
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, S_all, S_first, S_1_initial, 1, b, call.steps, true);
    std::copy(from, from + ((N * K) * V), S_1_final.at<T>(b, 0));
  }
}

// S, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void S_backward(const Call& call) {
  const Array Sd_in = call.arrays[0];
  const Array S_in = call.arrays[1];
  const Array k = call.arrays[2];
  const Array S_in2 = call.arrays[3];
  const Array S_first[] = {call.arrays[4]};
  const Array S_1_initial = call.arrays[5];
  const Array S_all = call.arrays[6];
  const Array d_S = call.arrays[7];
  const Array d_S_1_final = call.arrays[8];
  const Array d_Sd_in = call.arrays[9];
  const Array d_S_in = call.arrays[10];
  const Array d_k = call.arrays[11];
  const Array d_S_in2 = call.arrays[12];
  const Array d_S_1_first = call.arrays[13];
  T* d_S_1_initial = call.arrays[14].at<T>(0, 0);
  constexpr long ROWS = 1;
  constexpr long BLOCK = block_of<T>(V, 4), BLOCKS = (V + BLOCK - 1) / BLOCK, LAST = V - (BLOCKS - 1) * BLOCK;
  constexpr long OTHERS = N * BLOCKS;
  const long share = 1;
  const long parts = (call.batch + share - 1) / share;
  Memory all;
  T* parts_of_initial = all.take<T>(parts * ((N * K) * V));
  zero(parts_of_initial, parts * ((N * K) * V));
  T* parts_of_stream = all.take<T>(BLOCKS * ((call.batch * call.steps) * N));
  zero(parts_of_stream, BLOCKS * ((call.batch * call.steps) * N));
  T* parts_of_stream_ = all.take<T>(BLOCKS * ((call.batch * call.steps) * N));
  zero(parts_of_stream_, BLOCKS * ((call.batch * call.steps) * N));
  T* parts_of_stream_2 = all.take<T>(BLOCKS * ((call.batch * call.steps) * (N * K)));
  zero(parts_of_stream_2, BLOCKS * ((call.batch * call.steps) * (N * K)));
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long block = rest % (BLOCKS);
    rest /= BLOCKS;
    const long n0 = rest % (N);
    rest /= N;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      T* Sd = memory.take<T>(ROWS * (K * EXTENT));
      T* v = memory.take<T>(ROWS * EXTENT);
      T* v_ = memory.take<T>(ROWS * EXTENT);
      T* v_2 = memory.take<T>(ROWS * (K * EXTENT));
      T* v_3 = memory.take<T>(ROWS * 1);
      T* v_4 = memory.take<T>(ROWS * (K * EXTENT));
      T* v_5 = memory.take<T>(ROWS * K);
      T* v_6 = memory.take<T>(ROWS * EXTENT);
      T* v_7 = memory.take<T>(ROWS * EXTENT);
      T* v_8 = memory.take<T>(ROWS * K);
      T* v_9 = memory.take<T>(ROWS * 1);
      T *d_S_1_next = memory.take<T>(ROWS * (K * EXTENT)), *d_S_1 = memory.take<T>(ROWS * (K * EXTENT));
      T* initial_sum = memory.take<T>((K * EXTENT));
      zero(initial_sum, (K * EXTENT));
      for (long r = 0; r < rows; ++r) {
        const T* from = d_S_1_final.at<const T>(b + r, 0);
        T* to = d_S_1_next + r * (K * EXTENT);
        for (long i1 = 0; i1 < K; ++i1)
        for (long i2 = 0; i2 < EXTENT; ++i2)
          to[i1 * EXTENT + i2] = from[n0 * (V * K) + i1 * V + start + i2];
      }
      for (long t = call.steps - 1; t >= 0; --t) {
        {
          constexpr long r = 0;
          const T* Sd_in_r = Sd_in.at<const T>(b + r, t);
          const T* S_1_r = old<T>(call, S_all, S_first, S_1_initial, 1, b + r, t);
          const T* k_r = k.at<const T>(b + r, t);
          const T* d_S_1_next_r = d_S_1_next + r * (K * EXTENT);
          const T* d_S_r = d_S.at<const T>(b + r, t);
          const T* S_in_r = S_in.at<const T>(b + r, t);
          T* Sd_r = Sd + r * (K * EXTENT);
          T* v_2_r = v_2 + r * (K * EXTENT);
          T* v_4_r = v_4 + r * (K * EXTENT);
          T* v_r = v + r * EXTENT;
          T* v_6_r = v_6 + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i2) INLINED {
            using L = typename decltype(tag)::type;
            L v_sum = L::fill(T(0));
            L v_6_sum = L::fill(T(0));
            for (long i1 = 0; i1 < K; ++i1) {
              const L Sd_in_ = L::fill(*(Sd_in_r + n0));
              const L S_1_ = L::load(S_1_r + n0 * (V * K) + i1 * V + start + i2);
              // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L Sd = Sd_in_ * S_1_;
              Sd.store(Sd_r + i1 * EXTENT + i2);
              const L k_ = L::fill(*(k_r + n0 * K + i1));
              // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_10 = k_ * Sd;
              v_sum = v_sum + v_10;
              const L d_S_1_next_ = L::load(d_S_1_next_r + i1 * EXTENT + i2);
              const L d_S_ = L::load(d_S_r + n0 * (V * K) + i1 * V + start + i2);
              const L v_2 = d_S_1_next_ + d_S_;
              v_2.store(v_2_r + i1 * EXTENT + i2);
              const L S_in_ = L::fill(*(S_in_r + n0));
              const L v_4 = v_2 * S_in_;
              v_4.store(v_4_r + i1 * EXTENT + i2);
              const L v_11 = v_4 * k_;
              v_6_sum = v_6_sum + v_11;
            }
            v_sum.store(v_r + i2);
            v_6_sum.store(v_6_r + i2);
          });
        }
        {
          constexpr long r = 0;
          const T* S_in2_r = S_in2.at<const T>(b + r, t);
          T* v_r = v + r * EXTENT;
          T* v_6_r = v_6 + r * EXTENT;
          T* v__r = v_ + r * EXTENT;
          T* v_7_r = v_7 + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L S_in2_ = L::load(S_in2_r + n0 * V + start + i1);
            const L v_12 = L::load(v_r + i1);
            // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_ = S_in2_ - v_12;
            v_.store(v__r + i1);
            const L v_6_ = L::load(v_6_r + i1);
            const L v_7 = -v_6_;
            v_7.store(v_7_r + i1);
            // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
            const L v_13 = v_6_;
            v_13.store(d_S_in2.at<T>(b + r, t) + n0 * V + start + i1);
          });
        }
        {
          constexpr long r = 0;
          const T* k_r = k.at<const T>(b + r, t);
          T* v__r = v_ + r * EXTENT;
          T* v_2_r = v_2 + r * (K * EXTENT);
          T* v_4_r = v_4 + r * (K * EXTENT);
          T* v_7_r = v_7 + r * EXTENT;
          T* Sd_r = Sd + r * (K * EXTENT);
          const T* S_1_r = old<T>(call, S_all, S_first, S_1_initial, 1, b + r, t);
          const T* Sd_in_r = Sd_in.at<const T>(b + r, t);
          T* v_3_r = v_3 + r * 1;
          T* v_5_r = v_5 + r * K;
          T* v_8_r = v_8 + r * K;
          T* v_9_r = v_9 + r * 1;
          fill(v_3_r, 1, T(0));
          fill(v_5_r, K, T(0));
          fill(v_8_r, K, T(0));
          fill(v_9_r, 1, T(0));
          for (long i1 = 0; i1 < K; ++i1) {
            over<T, EXTENT>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L k_2 = L::fill(*(k_r + n0 * K + i1));
              const L v_14 = L::load(v__r + i2);
              const L v_2_ = L::load(v_2_r + i1 * EXTENT + i2);
              // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_15 = v_2_ * (k_2 * v_14);
              *(v_3_r) += v_15.sum();
              const L v_4_ = L::load(v_4_r + i1 * EXTENT + i2);
              const L v_16 = v_4_ * v_14;
              *(v_5_r + i1) += v_16.sum();
              const L v_7_ = L::load(v_7_r + i2);
              const L Sd_ = L::load(Sd_r + i1 * EXTENT + i2);
              const L v_17 = v_7_ * Sd_;
              *(v_8_r + i1) += v_17.sum();
              const L v_18 = v_2_ + v_7_ * k_2;
              const L S_1_2 = L::load(S_1_r + n0 * (V * K) + i1 * V + start + i2);
              // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L v_19 = v_18 * S_1_2;
              *(v_9_r) += v_19.sum();
              const L Sd_in_2 = L::fill(*(Sd_in_r + n0));
              const L v_20 = v_18 * Sd_in_2;
              v_20.store(d_S_1 + r * (K * EXTENT) + i1 * EXTENT + i2);
            });
          }
        }
        {
          constexpr long r = 0;
          T* v_5_r = v_5 + r * K;
          T* v_8_r = v_8 + r * K;
          over<T, K>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L v_5_ = L::load(v_5_r + i1);
            const L v_8_ = L::load(v_8_r + i1);
            // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
            const L v_21 = v_5_ + v_8_;
            v_21.store(parts_of_stream_2 + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * (N * K) + n0 * K + i1);
          });
        }
        {
          constexpr long r = 0;
          T* v_9_r = v_9 + r * 1;
          T* v_3_r = v_3 + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            const L v_9_ = L::fill(*(v_9_r));
            // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
            const L v_22 = v_9_;
            v_22.store(parts_of_stream + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * N + n0);
            const L v_3_ = L::fill(*(v_3_r));
            const L v_23 = v_3_;
            v_23.store(parts_of_stream_ + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * N + n0);
          });
        }
        for (long r = 0; call.reset.data && r < rows; ++r)
          if (call.resets(b + r, t)) {
            reduce(d_S_1 + r * (K * EXTENT), 1, (K * EXTENT), initial_sum);
            zero(d_S_1 + r * (K * EXTENT), (K * EXTENT));
          }
        std::swap(d_S_1_next, d_S_1);
      }
      for (long r = 0; r < rows; ++r) {
        const T* from = d_S_1_next + r * (K * EXTENT);
        T* to = d_S_1_first.at<T>(b + r, 0);
        for (long i1 = 0; i1 < K; ++i1)
        for (long i2 = 0; i2 < EXTENT; ++i2)
          to[n0 * (V * K) + i1 * V + start + i2] = from[i1 * EXTENT + i2];
      }
      {
        const T* from = initial_sum;
        T* to = parts_of_initial + part * ((N * K) * V);
        for (long i1 = 0; i1 < K; ++i1)
        for (long i2 = 0; i2 < EXTENT; ++i2)
          to[n0 * (V * K) + i1 * V + start + i2] = from[i1 * EXTENT + i2];
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  reduce(parts_of_initial, parts, (N * K) * V, d_S_1_initial);
  zero(d_Sd_in.at<T>(0, 0), (call.batch * call.steps) * N);
  reduce(parts_of_stream, BLOCKS, (call.batch * call.steps) * N, d_Sd_in.at<T>(0, 0));
  zero(d_S_in.at<T>(0, 0), (call.batch * call.steps) * N);
  reduce(parts_of_stream_, BLOCKS, (call.batch * call.steps) * N, d_S_in.at<T>(0, 0));
  zero(d_k.at<T>(0, 0), (call.batch * call.steps) * (N * K));
  reduce(parts_of_stream_2, BLOCKS, (call.batch * call.steps) * (N * K), d_k.at<T>(0, 0));
}

// Slices of params that are asked for: the first, the last, and how many there are.
EXPORT const int64_t S_slices[] = { 0 };

// Products over all steps that give gradients of matrices: static array, entries of [further, common, left, right], axes, sizes, order.
EXPORT const int64_t S_outers[] = { 0 };

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  const Array x_ = call.arrays[0];
  const T* W_q = call.arrays[1].at<const T>(0, 0);
  const T* W_k = call.arrays[2].at<const T>(0, 0);
  const T* W_v = call.arrays[3].at<const T>(0, 0);
  const T* w_b = call.arrays[4].at<const T>(0, 0);
  const T* w_a = call.arrays[5].at<const T>(0, 0);
  const T* A_log = call.arrays[6].at<const T>(0, 0);
  const Array S_first[] = {call.arrays[7]};
  const Array S_1_initial{};  // nothing is reset
  const Array S_all = call.arrays[8];
  const Array y_out = call.arrays[9];
  constexpr long ROWS = 1;
  constexpr long OTHERS = 1;
  const long share = 1;
  const long parts = (call.batch + share - 1) / share;
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * (N * K));
    T* v_ = memory.take<T>(ROWS * (N * K));
    T* v_2 = memory.take<T>(ROWS * N);
    T* v_3 = memory.take<T>(ROWS * N);
    T* k = memory.take<T>(ROWS * (N * K));
    T* v_4 = memory.take<T>(ROWS * N);
    T* v_5 = memory.take<T>(ROWS * N);
    T* Sd = memory.take<T>(ROWS * ((N * K) * V));
    T* v_6 = memory.take<T>(ROWS * N);
    T* v_7 = memory.take<T>(ROWS * N);
    T* v_8 = memory.take<T>(ROWS * (N * V));
    T* v_9 = memory.take<T>(ROWS * (N * V));
    T* v_10 = memory.take<T>(ROWS * (N * V));
    T* v_11 = memory.take<T>(ROWS * (N * K));
    T* v_12 = memory.take<T>(ROWS * (N * V));
    for (long t = 0; t < call.steps; ++t) {
      {
        constexpr long r = 0;
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_4_r = v_4 + r * N;
        T* v_6_r = v_6 + r * N;
        fill(v_4_r, N, T(0));
        fill(v_6_r, N, T(0));
        for (long i0 = 0; i0 < N; ++i0) {
          over<T, D>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L w_a_ = L::load(w_a + i0 * D + i1);
            const L x_2 = L::load(x__r + i1);
            // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
            const L v_13 = w_a_ * x_2;
            *(v_4_r + i0) += v_13.sum();
            const L w_b_ = L::load(w_b + i0 * D + i1);
            // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_14 = w_b_ * x_2;
            *(v_6_r + i0) += v_14.sum();
          });
        }
      }
      // gated_delta_net.rnn:12  k = normalize(silu(W_k @ x))
      {
        constexpr long r = 0;
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_r = v + r * (N * K);
        for (long i0 = 0; i0 < N; ++i0)
          over<T, K>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            L total = L::fill(T(0));
            for (long i2 = 0; i2 < D; ++i2)
              total = total + L::load((W_k + i0 * (D * K) + i1 * D + i2), D) * L::fill(*(x__r + i2));
            total.store(v_r + i0 * K + i1);
          });
      }
      // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
      {
        constexpr long r = 0;
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_8_r = v_8 + r * (N * V);
        for (long i0 = 0; i0 < N; ++i0)
          over<T, V>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            L total = L::fill(T(0));
            for (long i2 = 0; i2 < D; ++i2)
              total = total + L::load((W_v + i0 * (D * V) + i1 * D + i2), D) * L::fill(*(x__r + i2));
            total.store(v_8_r + i0 * V + i1);
          });
      }
      // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
      {
        constexpr long r = 0;
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_11_r = v_11 + r * (N * K);
        for (long i0 = 0; i0 < N; ++i0)
          over<T, K>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            L total = L::fill(T(0));
            for (long i2 = 0; i2 < D; ++i2)
              total = total + L::load((W_q + i0 * (D * K) + i1 * D + i2), D) * L::fill(*(x__r + i2));
            total.store(v_11_r + i0 * K + i1);
          });
      }
      {
        constexpr long r = 0;
        T* v_r = v + r * (N * K);
        T* v__r = v_ + r * (N * K);
        T* v_2_r = v_2 + r * N;
        fill(v_2_r, N, T(0));
        for (long i0 = 0; i0 < N; ++i0) {
          over<T, K>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L v_15 = L::load(v_r + i0 * K + i1);
            // gated_delta_net.rnn:12  k = normalize(silu(W_k @ x))
            const L v_ = v_15 * sigmoid(v_15);
            v_.store(v__r + i0 * K + i1);
            const L v_16 = v_ * v_;
            *(v_2_r + i0) += v_16.sum();
          });
        }
      }
      {
        constexpr long r = 0;
        T* v_4_r = v_4 + r * N;
        T* v_6_r = v_6 + r * N;
        T* v_5_r = v_5 + r * N;
        T* v_7_r = v_7 + r * N;
        over<T, N>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L A_log_ = L::load(A_log + i0);
          const L v_4_ = L::load(v_4_r + i0);
          // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
          const L v_5 = exp(-exp(A_log_) * softplus(v_4_));
          v_5.store(v_5_r + i0);
          const L v_6_ = L::load(v_6_r + i0);
          // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
          const L v_7 = sigmoid(v_6_);
          v_7.store(v_7_r + i0);
        });
      }
      {
        constexpr long r = 0;
        T* v_2_r = v_2 + r * N;
        T* v_3_r = v_3 + r * N;
        over<T, N>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_2_ = L::load(v_2_r + i0);
          // gated_delta_net.rnn:12  k = normalize(silu(W_k @ x))
          const L v_3 = rsqrt(v_2_ + T(1e-12));
          v_3.store(v_3_r + i0);
        });
      }
      {
        constexpr long r = 0;
        T* v_5_r = v_5 + r * N;
        const T* S_1_r = old<T>(call, S_all, S_first, S_1_initial, 1, b + r, t);
        T* Sd_r = Sd + r * ((N * K) * V);
        for (long i0 = 0; i0 < N; ++i0) {
          for (long i1 = 0; i1 < K; ++i1) {
            over<T, V>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L v_5_ = L::fill(*(v_5_r + i0));
              const L S_1_ = L::load(S_1_r + i0 * (V * K) + i1 * V + i2);
              // gated_delta_net.rnn:13  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L Sd = v_5_ * S_1_;
              Sd.store(Sd_r + i0 * (V * K) + i1 * V + i2);
            });
          }
        }
      }
      {
        constexpr long r = 0;
        T* v__r = v_ + r * (N * K);
        T* v_3_r = v_3 + r * N;
        T* k_r = k + r * (N * K);
        for (long i0 = 0; i0 < N; ++i0) {
          over<T, K>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L v_17 = L::load(v__r + i0 * K + i1);
            const L v_3_ = L::fill(*(v_3_r + i0));
            // gated_delta_net.rnn:12  k = normalize(silu(W_k @ x))
            const L k = v_17 * v_3_;
            k.store(k_r + i0 * K + i1);
          });
        }
      }
      {
        constexpr long r = 0;
        T* k_r = k + r * (N * K);
        T* Sd_r = Sd + r * ((N * K) * V);
        T* v_9_r = v_9 + r * (N * V);
        fill(v_9_r, N * V, T(0));
        for (long i0 = 0; i0 < N; ++i0) {
          for (long i1 = 0; i1 < K; ++i1) {
            over<T, V>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L k_ = L::fill(*(k_r + i0 * K + i1));
              const L Sd_ = L::load(Sd_r + i0 * (V * K) + i1 * V + i2);
              // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_18 = k_ * Sd_;
              (L::load(v_9_r + i0 * V + i2) + v_18).store(v_9_r + i0 * V + i2);
            });
          }
        }
      }
      {
        constexpr long r = 0;
        T* v_8_r = v_8 + r * (N * V);
        T* v_9_r = v_9 + r * (N * V);
        T* v_10_r = v_10 + r * (N * V);
        for (long i0 = 0; i0 < N; ++i0) {
          over<T, V>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L v_8_ = L::load(v_8_r + i0 * V + i1);
            const L v_9_ = L::load(v_9_r + i0 * V + i1);
            // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_10 = v_8_ - v_9_;
            v_10.store(v_10_r + i0 * V + i1);
          });
        }
      }
      {
        constexpr long r = 0;
        T* k_r = k + r * (N * K);
        T* v_10_r = v_10 + r * (N * V);
        T* v_7_r = v_7 + r * N;
        T* Sd_r = Sd + r * ((N * K) * V);
        T* v_11_r = v_11 + r * (N * K);
        T* v_12_r = v_12 + r * (N * V);
        fill(v_12_r, N * V, T(0));
        for (long i0 = 0; i0 < N; ++i0) {
          for (long i1 = 0; i1 < K; ++i1) {
            over<T, V>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L k_2 = L::fill(*(k_r + i0 * K + i1));
              const L v_10_ = L::load(v_10_r + i0 * V + i2);
              const L v_7_ = L::fill(*(v_7_r + i0));
              const L Sd_2 = L::load(Sd_r + i0 * (V * K) + i1 * V + i2);
              // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L S = Sd_2 + v_7_ * (k_2 * v_10_);
              S.store(S_all.at<T>(b + r, t) + i0 * (V * K) + i1 * V + i2);
              const L v_11_ = L::fill(*(v_11_r + i0 * K + i1));
              const L v_19 = v_11_ * S;
              (L::load(v_12_r + i0 * V + i2) + v_19).store(v_12_r + i0 * V + i2);
            });
          }
        }
      }
      {
        constexpr long r = 0;
        T* v_12_r = v_12 + r * (N * V);
        over<T, N*V>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_12_ = L::load(v_12_r + i0);
          // gated_delta_net.rnn:14  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
          const L v_20 = v_12_;
          v_20.store(y_out.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs, and the slices of params that it asks for.
EXPORT const int64_t step_shapes[] = { 1, N*V };
EXPORT const int64_t step_slices[] = { 0 };
