// Made by rnndsl 0.2.0 from gated_delta_net.rnn, cell GatedDeltaNet. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

#ifndef ONE_STEP  // else only the function of a single step

// S, forwards: the states of all steps from the streams.
EXPORT void S_forward(const Call& call) {
  constexpr long AHEAD = 8;
  constexpr long BLOCK = block_of<T>(V_, 8), BLOCKS = (V_ + BLOCK - 1) / BLOCK, LAST = V_ - (BLOCKS - 1) * BLOCK;
  constexpr long ROWS = 1;
  const Units units(call, N_ * BLOCKS, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long block = unit % BLOCKS;
    const long n0 = unit / BLOCKS % N_;
    const long part = unit / BLOCKS / N_, b = units.first_row(part), rows = units.rows(part);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      const Array Sd_in_ = call.arrays[0];
      const Array S_in_ = call.arrays[1];
      const Array k_ = call.arrays[2];
      const Array S_in2_ = call.arrays[3];
      const Array y_read_0_ = call.arrays[4];
      const Array S_first_[] = {call.arrays[5]};
      const Array S_1_initial_ = call.arrays[6];
      const Array S_all_ = call.arrays[7];
      const Array S_1_final_ = call.arrays[8];
      const Array y_read_out_ = call.arrays[9];
      T* Sd_kept_ = memory.take<T>(ROWS * (K_ * EXTENT));
      T* v_kept_ = memory.take<T>(ROWS * EXTENT);
      T* v_2_kept_ = memory.take<T>(ROWS * EXTENT);
      T* y_read_kept_ = memory.take<T>(ROWS * EXTENT);
      T *S_1_ = memory.take<T>(ROWS * (K_ * EXTENT)), *S_new_ = memory.take<T>(ROWS * (K_ * EXTENT));
      for (long r = 0; r < rows; ++r)
        for (long i1 = 0; i1 < K_; ++i1)
          copy(S_first_[0].at<const T>(b + r, 0) + n0 * (V_ * K_) + start + i1 * V_, S_1_ + r * (K_ * EXTENT) + i1 * EXTENT, EXTENT);
      for (long t = 0; t < call.steps; ++t) {
        for (long r = 0; call.reset.data && r < rows; ++r)
          if (call.resets(b + r, t)) {
            for (long i1 = 0; i1 < K_; ++i1)
              copy(S_1_initial_.at<const T>(0, 0) + n0 * (V_ * K_) + start + i1 * V_, S_1_ + r * (K_ * EXTENT) + i1 * EXTENT, EXTENT);
          }
        {
          constexpr long r = 0;
          const T* Sd_in_r_ = Sd_in_.at<const T>(b + r, t);
          const T* S_1_r_ = S_1_ + r * (K_ * EXTENT);
          const T* k_r_ = k_.at<const T>(b + r, t);
          T* Sd_kept_r_ = Sd_kept_ + r * (K_ * EXTENT);
          T* v_kept_r_ = v_kept_ + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i2) INLINED {
            using L = typename decltype(tag)::type;
            L v_sum_ = L::fill(T(0));
            const L Sd_in_2_ = L::fill(*(Sd_in_r_ + n0));
            for (long i1 = 0; i1 < K_; ++i1) {
              const L S_1_2_ = L::load(S_1_r_ + i1 * EXTENT + i2);
              // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L Sd_ = Sd_in_2_ * S_1_2_;
              Sd_.store(Sd_kept_r_ + i1 * EXTENT + i2);
              const L k_2_ = L::fill(*(k_r_ + n0 * K_ + i1));
              // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_3_ = k_2_ * Sd_;
              v_sum_ = v_sum_ + v_3_;
            }
            v_sum_.store(v_kept_r_ + i2);
          });
        }
        {
          constexpr long r = 0;
          const T* S_in2_r_ = S_in2_.at<const T>(b + r, t);
          T* v_kept_r_ = v_kept_ + r * EXTENT;
          T* v_2_kept_r_ = v_2_kept_ + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L S_in2_2_ = L::load_ahead(S_in2_r_ + n0 * V_ + start + i1, S_in2_.time * AHEAD);
            const L v_4_ = L::load(v_kept_r_ + i1);
            // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_2_ = S_in2_2_ - v_4_;
            v_2_.store(v_2_kept_r_ + i1);
          });
        }
        {
          constexpr long r = 0;
          const T* k_r_ = k_.at<const T>(b + r, t);
          T* v_2_kept_r_ = v_2_kept_ + r * EXTENT;
          const T* S_in_r_ = S_in_.at<const T>(b + r, t);
          T* Sd_kept_r_ = Sd_kept_ + r * (K_ * EXTENT);
          const T* y_read_0_r_ = y_read_0_.at<const T>(b + r, t);
          T* y_read_kept_r_ = y_read_kept_ + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i2) INLINED {
            using L = typename decltype(tag)::type;
            L y_read_sum_ = L::fill(T(0));
            const L v_2_2_ = L::load(v_2_kept_r_ + i2);
            const L S_in_2_ = L::fill(*(S_in_r_ + n0));
            for (long i1 = 0; i1 < K_; ++i1) {
              const L k_3_ = L::fill(*(k_r_ + n0 * K_ + i1));
              const L Sd_2_ = L::load(Sd_kept_r_ + i1 * EXTENT + i2);
              // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L S_2_ = Sd_2_ + S_in_2_ * (k_3_ * v_2_2_);
              S_2_.store(S_new_ + r * (K_ * EXTENT) + i1 * EXTENT + i2);
              const L y_read_0_2_ = L::fill(*(y_read_0_r_ + n0 * K_ + i1));
              // gated_delta_net.rnn:17  output y = merge((W_q @ x) @ S[t])
              const L v_5_ = y_read_0_2_ * S_2_;
              y_read_sum_ = y_read_sum_ + v_5_;
            }
            y_read_sum_.store(y_read_kept_r_ + i2);
          });
        }
        {
          constexpr long r = 0;
          T* y_read_kept_r_ = y_read_kept_ + r * EXTENT;
          over<T, EXTENT>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L y_read_2_ = L::load(y_read_kept_r_ + i1);
            // gated_delta_net.rnn:17  output y = merge((W_q @ x) @ S[t])
            y_read_2_.store_ahead(y_read_out_.at<T>(b + r, t) + n0 * V_ + start + i1, y_read_out_.time * AHEAD);
          });
        }
        if ((t + 1) % call.every == 0) {
          for (long r = 0; r < rows; ++r)
            for (long i1 = 0; i1 < K_; ++i1)
              copy_ahead<T, EXTENT>(S_new_ + r * (K_ * EXTENT) + i1 * EXTENT, S_all_.at<T>(b + r, t / call.every) + n0 * (V_ * K_) + start + i1 * V_, S_all_.time * AHEAD);
        }
        std::swap(S_1_, S_new_);
      }
      for (long r = 0; r < rows; ++r)
        for (long i1 = 0; i1 < K_; ++i1)
          copy(S_1_ + r * (K_ * EXTENT) + i1 * EXTENT, S_1_final_.at<T>(b + r, 0) + n0 * (V_ * K_) + start + i1 * V_, EXTENT);
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
}

// S, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void S_backward(const Call& call) {
  const Array d_Sd_in_ = call.arrays[11];
  const Array d_S_in_ = call.arrays[12];
  const Array d_k_ = call.arrays[13];
  const Array d_y_read_0_ = call.arrays[15];
  T* d_S_1_initial_ = call.arrays[17].at<T>(0, 0);
  constexpr long SEGMENT = segment_of<T>(K_ * V_);
  constexpr long AHEAD = -8;
  constexpr long BLOCK = block_of<T>(V_, 4), BLOCKS = (V_ + BLOCK - 1) / BLOCK, LAST = V_ - (BLOCKS - 1) * BLOCK;
  constexpr long ROWS = 1;
  const Units units(call, N_ * BLOCKS, ROWS);
  Memory all;
  T* d_S_1_initial_parts_ = all.zeros<T>(units.parts * ((N_ * K_) * V_));
  T* d_Sd_in_parts_ = BLOCKS == 1 ? d_Sd_in_.at<T>(0, 0) : all.zeros<T>(BLOCKS * ((call.batch * call.steps) * N_));
  T* d_S_in_parts_ = BLOCKS == 1 ? d_S_in_.at<T>(0, 0) : all.zeros<T>(BLOCKS * ((call.batch * call.steps) * N_));
  T* d_k_parts_ = BLOCKS == 1 ? d_k_.at<T>(0, 0) : all.zeros<T>(BLOCKS * ((call.batch * call.steps) * (N_ * K_)));
  T* d_y_read_0_parts_ = BLOCKS == 1 ? d_y_read_0_.at<T>(0, 0) : all.zeros<T>(BLOCKS * ((call.batch * call.steps) * (N_ * K_)));
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long block = unit % BLOCKS;
    const long n0 = unit / BLOCKS % N_;
    const long part = unit / BLOCKS / N_, b = units.first_row(part), rows = units.rows(part);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      const Array Sd_in_ = call.arrays[0];
      const Array S_in_ = call.arrays[1];
      const Array k_ = call.arrays[2];
      const Array S_in2_ = call.arrays[3];
      const Array y_read_0_ = call.arrays[4];
      const Array S_first_[] = {call.arrays[5]};
      const Array S_1_initial_ = call.arrays[6];
      const Array S_all_ = call.arrays[7];
      const Array d_S_ = call.arrays[8];
      const Array d_S_1_final_ = call.arrays[9];
      const Array d_y_read_ = call.arrays[10];
      const Array d_S_in2_ = call.arrays[14];
      const Array d_S_1_first_ = call.arrays[16];
      T* Sd_kept_ = memory.take<T>(ROWS * (K_ * EXTENT));
      T* v_kept_ = memory.take<T>(ROWS * EXTENT);
      T* v_2_kept_ = memory.take<T>(ROWS * EXTENT);
      T* v_3_kept_ = memory.take<T>(ROWS * K_);
      T* v_4_kept_ = memory.take<T>(ROWS * (K_ * EXTENT));
      T* v_5_kept_ = memory.take<T>(ROWS * 1);
      T* v_6_kept_ = memory.take<T>(ROWS * (K_ * EXTENT));
      T* v_7_kept_ = memory.take<T>(ROWS * K_);
      T* v_8_kept_ = memory.take<T>(ROWS * EXTENT);
      T* v_9_kept_ = memory.take<T>(ROWS * EXTENT);
      T* v_10_kept_ = memory.take<T>(ROWS * K_);
      T* v_11_kept_ = memory.take<T>(ROWS * 1);
      T *d_S_1_next_ = memory.take<T>(ROWS * (K_ * EXTENT)), *d_S_1_ = memory.take<T>(ROWS * (K_ * EXTENT));
      T* d_S_1_initial_sum_ = memory.zeros<T>((K_ * EXTENT));
      for (long r = 0; r < rows; ++r)
        for (long i1 = 0; i1 < K_; ++i1)
          copy(d_S_1_final_.at<const T>(b + r, 0) + n0 * (V_ * K_) + start + i1 * V_, d_S_1_next_ + r * (K_ * EXTENT) + i1 * EXTENT, EXTENT);
      T* S_begun_ = memory.take<T>(SEGMENT * ROWS * (K_ * EXTENT));
      for (long from, end = call.steps; end > 0; end = from) {
        from = (end - 1) / SEGMENT * SEGMENT;
        for (long r = 0; r < rows; ++r)
          for (long i1 = 0; i1 < K_; ++i1)
            copy((from ? S_all_.at<const T>(b + r, from / SEGMENT - 1) : S_first_[0].at<const T>(b + r, 0)) + n0 * (V_ * K_) + start + i1 * V_, S_begun_ + r * (K_ * EXTENT) + i1 * EXTENT, EXTENT);
        for (long t = from;; ++t) {
          T* S_1_ = S_begun_ + (t - from) * ROWS * (K_ * EXTENT);
          for (long r = 0; call.reset.data && r < rows; ++r)
            if (call.resets(b + r, t)) {
              for (long i1 = 0; i1 < K_; ++i1)
                copy(S_1_initial_.at<const T>(0, 0) + n0 * (V_ * K_) + start + i1 * V_, S_1_ + r * (K_ * EXTENT) + i1 * EXTENT, EXTENT);
            }
          if (t + 1 == end) break;
          T* S_new_ = S_1_ + ROWS * (K_ * EXTENT);
          {
            constexpr long r = 0;
            const T* Sd_in_r_ = Sd_in_.at<const T>(b + r, t);
            const T* S_1_r_ = S_1_ + r * (K_ * EXTENT);
            const T* k_r_ = k_.at<const T>(b + r, t);
            T* Sd_kept_r_ = Sd_kept_ + r * (K_ * EXTENT);
            T* v_kept_r_ = v_kept_ + r * EXTENT;
            over<T, EXTENT>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              L v_sum_ = L::fill(T(0));
              const L Sd_in_2_ = L::fill(*(Sd_in_r_ + n0));
              for (long i1 = 0; i1 < K_; ++i1) {
                const L S_1_2_ = L::load(S_1_r_ + i1 * EXTENT + i2);
                // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
                const L Sd_ = Sd_in_2_ * S_1_2_;
                Sd_.store(Sd_kept_r_ + i1 * EXTENT + i2);
                const L k_2_ = L::fill(*(k_r_ + n0 * K_ + i1));
                // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
                const L v_12_ = k_2_ * Sd_;
                v_sum_ = v_sum_ + v_12_;
              }
              v_sum_.store(v_kept_r_ + i2);
            });
          }
          {
            constexpr long r = 0;
            const T* S_in2_r_ = S_in2_.at<const T>(b + r, t);
            T* v_kept_r_ = v_kept_ + r * EXTENT;
            T* v_2_kept_r_ = v_2_kept_ + r * EXTENT;
            over<T, EXTENT>([&](auto tag, long i1) INLINED {
              using L = typename decltype(tag)::type;
              const L S_in2_2_ = L::load(S_in2_r_ + n0 * V_ + start + i1);
              const L v_13_ = L::load(v_kept_r_ + i1);
              // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_2_ = S_in2_2_ - v_13_;
              v_2_.store(v_2_kept_r_ + i1);
            });
          }
          {
            constexpr long r = 0;
            const T* k_r_ = k_.at<const T>(b + r, t);
            T* v_2_kept_r_ = v_2_kept_ + r * EXTENT;
            const T* S_in_r_ = S_in_.at<const T>(b + r, t);
            T* Sd_kept_r_ = Sd_kept_ + r * (K_ * EXTENT);
            for (long i1 = 0; i1 < K_; ++i1) {
              over<T, EXTENT>([&](auto tag, long i2) INLINED {
                using L = typename decltype(tag)::type;
                const L k_3_ = L::fill(*(k_r_ + n0 * K_ + i1));
                const L v_2_2_ = L::load(v_2_kept_r_ + i2);
                const L S_in_2_ = L::fill(*(S_in_r_ + n0));
                const L Sd_2_ = L::load(Sd_kept_r_ + i1 * EXTENT + i2);
                // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
                const L S_ = Sd_2_ + S_in_2_ * (k_3_ * v_2_2_);
                S_.store(S_new_ + r * (K_ * EXTENT) + i1 * EXTENT + i2);
              });
            }
          }
        }
        for (long t = end - 1; t >= from; --t) {
          T* S_1_ = S_begun_ + (t - from) * ROWS * (K_ * EXTENT);
          {
            constexpr long r = 0;
            const T* Sd_in_r_ = Sd_in_.at<const T>(b + r, t);
            const T* S_1_r_ = S_1_ + r * (K_ * EXTENT);
            const T* k_r_ = k_.at<const T>(b + r, t);
            const T* d_y_read_r_ = d_y_read_.at<const T>(b + r, t);
            const T* y_read_0_r_ = y_read_0_.at<const T>(b + r, t);
            const T* d_S_1_next_r_ = d_S_1_next_ + r * (K_ * EXTENT);
            const T* d_S_r_ = d_S_.at<const T>(b + r, t);
            const T* S_in_r_ = S_in_.at<const T>(b + r, t);
            T* Sd_kept_r_ = Sd_kept_ + r * (K_ * EXTENT);
            T* v_4_kept_r_ = v_4_kept_ + r * (K_ * EXTENT);
            T* v_6_kept_r_ = v_6_kept_ + r * (K_ * EXTENT);
            T* v_kept_r_ = v_kept_ + r * EXTENT;
            T* v_8_kept_r_ = v_8_kept_ + r * EXTENT;
            over<T, EXTENT>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              L v_sum_ = L::fill(T(0));
              L v_8_sum_ = L::fill(T(0));
              const L Sd_in_2_ = L::fill(*(Sd_in_r_ + n0));
              const L d_y_read_2_ = L::load_ahead(d_y_read_r_ + n0 * V_ + start + i2, d_y_read_.time * AHEAD);
              const L S_in_3_ = L::fill(*(S_in_r_ + n0));
              for (long i1 = 0; i1 < K_; ++i1) {
                const L S_1_2_ = L::load(S_1_r_ + i1 * EXTENT + i2);
                // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
                const L Sd_ = Sd_in_2_ * S_1_2_;
                Sd_.store(Sd_kept_r_ + i1 * EXTENT + i2);
                const L k_2_ = L::fill(*(k_r_ + n0 * K_ + i1));
                // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
                const L v_12_ = k_2_ * Sd_;
                v_sum_ = v_sum_ + v_12_;
                const L y_read_0_2_ = L::fill(*(y_read_0_r_ + n0 * K_ + i1));
                const L d_S_1_next_2_ = L::load(d_S_1_next_r_ + i1 * EXTENT + i2);
                const L d_S_2_ = L::load_ahead(d_S_r_ + n0 * (V_ * K_) + i1 * V_ + start + i2, d_S_.time * AHEAD);
                // gated_delta_net.rnn:17  output y = merge((W_q @ x) @ S[t])
                const L v_4_ = d_S_1_next_2_ + d_S_2_ + d_y_read_2_ * y_read_0_2_;
                v_4_.store(v_4_kept_r_ + i1 * EXTENT + i2);
                // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
                const L v_6_ = v_4_ * S_in_3_;
                v_6_.store(v_6_kept_r_ + i1 * EXTENT + i2);
                const L v_14_ = v_6_ * k_2_;
                v_8_sum_ = v_8_sum_ + v_14_;
              }
              v_sum_.store(v_kept_r_ + i2);
              v_8_sum_.store(v_8_kept_r_ + i2);
            });
          }
          {
            constexpr long r = 0;
            const T* S_in2_r_ = S_in2_.at<const T>(b + r, t);
            T* v_kept_r_ = v_kept_ + r * EXTENT;
            T* v_8_kept_r_ = v_8_kept_ + r * EXTENT;
            T* v_2_kept_r_ = v_2_kept_ + r * EXTENT;
            T* v_9_kept_r_ = v_9_kept_ + r * EXTENT;
            over<T, EXTENT>([&](auto tag, long i1) INLINED {
              using L = typename decltype(tag)::type;
              const L S_in2_2_ = L::load_ahead(S_in2_r_ + n0 * V_ + start + i1, S_in2_.time * AHEAD);
              const L v_13_ = L::load(v_kept_r_ + i1);
              // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_2_ = S_in2_2_ - v_13_;
              v_2_.store(v_2_kept_r_ + i1);
              const L v_8_2_ = L::load(v_8_kept_r_ + i1);
              const L v_9_ = -v_8_2_;
              v_9_.store(v_9_kept_r_ + i1);
              // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              v_8_2_.store_ahead(d_S_in2_.at<T>(b + r, t) + n0 * V_ + start + i1, d_S_in2_.time * AHEAD);
            });
          }
          {
            constexpr long r = 0;
            const T* k_r_ = k_.at<const T>(b + r, t);
            T* v_2_kept_r_ = v_2_kept_ + r * EXTENT;
            const T* S_in_r_ = S_in_.at<const T>(b + r, t);
            T* Sd_kept_r_ = Sd_kept_ + r * (K_ * EXTENT);
            const T* d_y_read_r_ = d_y_read_.at<const T>(b + r, t);
            T* v_4_kept_r_ = v_4_kept_ + r * (K_ * EXTENT);
            T* v_6_kept_r_ = v_6_kept_ + r * (K_ * EXTENT);
            T* v_9_kept_r_ = v_9_kept_ + r * EXTENT;
            const T* S_1_r_ = S_1_ + r * (K_ * EXTENT);
            const T* Sd_in_r_ = Sd_in_.at<const T>(b + r, t);
            T* v_3_kept_r_ = v_3_kept_ + r * K_;
            T* v_5_kept_r_ = v_5_kept_ + r * 1;
            T* v_7_kept_r_ = v_7_kept_ + r * K_;
            T* v_10_kept_r_ = v_10_kept_ + r * K_;
            T* v_11_kept_r_ = v_11_kept_ + r * 1;
            fill(v_3_kept_r_, K_, T(0));
            fill(v_5_kept_r_, 1, T(0));
            fill(v_7_kept_r_, K_, T(0));
            fill(v_10_kept_r_, K_, T(0));
            fill(v_11_kept_r_, 1, T(0));
            over<T, EXTENT>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L v_2_2_ = L::load(v_2_kept_r_ + i2);
              const L S_in_2_ = L::fill(*(S_in_r_ + n0));
              const L d_y_read_3_ = L::load_ahead(d_y_read_r_ + n0 * V_ + start + i2, d_y_read_.time * AHEAD);
              const L v_9_2_ = L::load(v_9_kept_r_ + i2);
              const L Sd_in_3_ = L::fill(*(Sd_in_r_ + n0));
              Rows<T, K_> v_3_sum_;
              Rows<T, K_> v_7_sum_;
              Rows<T, K_> v_10_sum_;
              for (long i1 = 0; i1 < K_; ++i1) {
                const L k_3_ = L::fill(*(k_r_ + n0 * K_ + i1));
                // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
                const L v_15_ = k_3_ * v_2_2_;
                const L Sd_2_ = L::load(Sd_kept_r_ + i1 * EXTENT + i2);
                const L S_ = Sd_2_ + S_in_2_ * v_15_;
                // gated_delta_net.rnn:17  output y = merge((W_q @ x) @ S[t])
                const L v_16_ = d_y_read_3_ * S_;
                v_3_sum_.add(i1, v_16_);
                const L v_4_2_ = L::load(v_4_kept_r_ + i1 * EXTENT + i2);
                // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
                const L v_17_ = v_4_2_ * v_15_;
                *(v_5_kept_r_) += v_17_.sum();
                const L v_6_2_ = L::load(v_6_kept_r_ + i1 * EXTENT + i2);
                const L v_18_ = v_6_2_ * v_2_2_;
                v_7_sum_.add(i1, v_18_);
                const L v_19_ = v_9_2_ * Sd_2_;
                v_10_sum_.add(i1, v_19_);
                const L v_20_ = v_4_2_ + v_9_2_ * k_3_;
                const L S_1_3_ = L::load(S_1_r_ + i1 * EXTENT + i2);
                // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
                const L v_21_ = v_20_ * S_1_3_;
                *(v_11_kept_r_) += v_21_.sum();
                const L d_S_1_2_ = v_20_ * Sd_in_3_;
                d_S_1_2_.store(d_S_1_ + r * (K_ * EXTENT) + i1 * EXTENT + i2);
              }
              v_3_sum_.add_to(v_3_kept_r_);
              v_7_sum_.add_to(v_7_kept_r_);
              v_10_sum_.add_to(v_10_kept_r_);
            });
          }
          {
            constexpr long r = 0;
            T* v_7_kept_r_ = v_7_kept_ + r * K_;
            T* v_10_kept_r_ = v_10_kept_ + r * K_;
            T* v_3_kept_r_ = v_3_kept_ + r * K_;
            over<T, K_>([&](auto tag, long i1) INLINED {
              using L = typename decltype(tag)::type;
              const L v_7_2_ = L::load(v_7_kept_r_ + i1);
              const L v_10_2_ = L::load(v_10_kept_r_ + i1);
              // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L d_k_2_ = v_7_2_ + v_10_2_;
              d_k_2_.store(d_k_parts_ + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * (N_ * K_) + n0 * K_ + i1);
              const L v_3_2_ = L::load(v_3_kept_r_ + i1);
              v_3_2_.store(d_y_read_0_parts_ + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * (N_ * K_) + n0 * K_ + i1);
            });
          }
          {
            constexpr long r = 0;
            T* v_11_kept_r_ = v_11_kept_ + r * 1;
            T* v_5_kept_r_ = v_5_kept_ + r * 1;
            over<T, 1>([&](auto tag, long i) INLINED {
              using L = typename decltype(tag)::type;
              const L v_11_2_ = L::fill(*(v_11_kept_r_));
              // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              v_11_2_.store(d_Sd_in_parts_ + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * N_ + n0);
              const L v_5_2_ = L::fill(*(v_5_kept_r_));
              v_5_2_.store(d_S_in_parts_ + (block * (call.batch * call.steps) + (b + r) * call.steps + t) * N_ + n0);
            });
          }
          for (long r = 0; call.reset.data && r < rows; ++r)
            if (call.resets(b + r, t)) {
              reduce(d_S_1_ + r * (K_ * EXTENT), 1, (K_ * EXTENT), d_S_1_initial_sum_);
              zero(d_S_1_ + r * (K_ * EXTENT), (K_ * EXTENT));
            }
          std::swap(d_S_1_next_, d_S_1_);
        }
      }
      for (long r = 0; r < rows; ++r)
        for (long i1 = 0; i1 < K_; ++i1)
          copy(d_S_1_next_ + r * (K_ * EXTENT) + i1 * EXTENT, d_S_1_first_.at<T>(b + r, 0) + n0 * (V_ * K_) + start + i1 * V_, EXTENT);
      for (long i1 = 0; i1 < K_; ++i1)
        copy(d_S_1_initial_sum_ + i1 * EXTENT, d_S_1_initial_parts_ + part * ((N_ * K_) * V_) + n0 * (V_ * K_) + start + i1 * V_, EXTENT);
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  reduce(d_S_1_initial_parts_, units.parts, (N_ * K_) * V_, d_S_1_initial_);
  if (BLOCKS > 1) add_up(d_Sd_in_parts_, BLOCKS, (call.batch * call.steps) * N_, d_Sd_in_.at<T>(0, 0));
  if (BLOCKS > 1) add_up(d_S_in_parts_, BLOCKS, (call.batch * call.steps) * N_, d_S_in_.at<T>(0, 0));
  if (BLOCKS > 1) add_up(d_k_parts_, BLOCKS, (call.batch * call.steps) * (N_ * K_), d_k_.at<T>(0, 0));
  if (BLOCKS > 1) add_up(d_y_read_0_parts_, BLOCKS, (call.batch * call.steps) * (N_ * K_), d_y_read_0_.at<T>(0, 0));
}

// What follows: how many, and of each how many axes, and their sizes; entries of the streams and of the statics that only it reads.
EXPORT const int64_t S_shapes[] = { 1, 2, N_, V_ };
EXPORT const int64_t S_further[] = { 1, N_ * K_, 0 };

// Products that the call forwards may save for the one backwards: how many; entries of each, and terms that an entry is a sum of.
EXPORT const int64_t S_saves[] = { 0 };

// Products over all steps that give gradients of matrices: static array, first slice, rounds, entries of [further, common, left, right], axes,
// sizes, order, and the stream whose gradient is the left factor, or -1.
EXPORT const int64_t S_outers[] = { 0 };

// How many steps lie between states that are kept where nothing needs those of all steps.
EXPORT const int64_t S_segment[] = { segment_of<T>(K_ * V_) };

#else

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  constexpr long ROWS = 1;
  const Units units(call, 1, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
    const Array x_ = call.arrays[0];
    const T* W_q_ = call.arrays[1].at<const T>(0, 0);
    const T* W_k_ = call.arrays[2].at<const T>(0, 0);
    const T* W_v_ = call.arrays[3].at<const T>(0, 0);
    const T* w_b_ = call.arrays[4].at<const T>(0, 0);
    const T* w_a_ = call.arrays[5].at<const T>(0, 0);
    const T* A_log_ = call.arrays[6].at<const T>(0, 0);
    const Array S_first_[] = {call.arrays[7]};
    const Array S_1_initial_{};  // nothing is reset
    const Array S_all_ = call.arrays[8];
    const Array y_out_ = call.arrays[9];
    T* W_k_x_kept_ = memory.take<T>(ROWS * (N_ * K_));
    T* v_kept_ = memory.take<T>(ROWS * (N_ * K_));
    T* v_2_kept_ = memory.take<T>(ROWS * N_);
    T* v_3_kept_ = memory.take<T>(ROWS * N_);
    T* k_kept_ = memory.take<T>(ROWS * (N_ * K_));
    T* v_4_kept_ = memory.take<T>(ROWS * N_);
    T* v_5_kept_ = memory.take<T>(ROWS * N_);
    T* Sd_kept_ = memory.take<T>(ROWS * ((N_ * K_) * V_));
    T* v_6_kept_ = memory.take<T>(ROWS * N_);
    T* v_7_kept_ = memory.take<T>(ROWS * N_);
    T* W_v_x_kept_ = memory.take<T>(ROWS * (N_ * V_));
    T* v_8_kept_ = memory.take<T>(ROWS * (N_ * V_));
    T* v_9_kept_ = memory.take<T>(ROWS * (N_ * V_));
    T* W_q_x_kept_ = memory.take<T>(ROWS * (N_ * K_));
    T* v_10_kept_ = memory.take<T>(ROWS * (N_ * V_));
    for (long t = 0; t < call.steps; ++t) {
      {
        constexpr long r = 0;
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_4_kept_r_ = v_4_kept_ + r * N_;
        T* v_6_kept_r_ = v_6_kept_ + r * N_;
        fill(v_4_kept_r_, N_, T(0));
        fill(v_6_kept_r_, N_, T(0));
        over<T, D_>([&](auto tag, long i1) INLINED {
          using L = typename decltype(tag)::type;
          const L x_2_ = L::load(x_r_ + i1);
          Rows<T, N_> v_4_sum_;
          Rows<T, N_> v_6_sum_;
          for (long i0 = 0; i0 < N_; ++i0) {
            const L w_a_2_ = L::load(w_a_ + i0 * D_ + i1);
            // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
            const L v_11_ = w_a_2_ * x_2_;
            v_4_sum_.add(i0, v_11_);
            const L w_b_2_ = L::load(w_b_ + i0 * D_ + i1);
            // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_12_ = w_b_2_ * x_2_;
            v_6_sum_.add(i0, v_12_);
          }
          v_4_sum_.add_to(v_4_kept_r_);
          v_6_sum_.add_to(v_6_kept_r_);
        });
      }
      // gated_delta_net.rnn:14  k = normalize(silu(W_k @ x))
      {
        constexpr long r = 0;
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* W_k_x_kept_r_ = W_k_x_kept_ + r * (N_ * K_);
        for (long i0 = 0; i0 < N_; ++i0)
          over<T, K_>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            L total = L::fill(T(0));
            for (long i2 = 0; i2 < D_; ++i2)
              total = total + L::load((W_k_ + i0 * (D_ * K_) + i1 * D_ + i2), D_) * L::fill(*(x_r_ + i2));
            total.store(W_k_x_kept_r_ + i0 * K_ + i1);
          });
      }
      // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
      {
        constexpr long r = 0;
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* W_v_x_kept_r_ = W_v_x_kept_ + r * (N_ * V_);
        for (long i0 = 0; i0 < N_; ++i0)
          over<T, V_>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            L total = L::fill(T(0));
            for (long i2 = 0; i2 < D_; ++i2)
              total = total + L::load((W_v_ + i0 * (D_ * V_) + i1 * D_ + i2), D_) * L::fill(*(x_r_ + i2));
            total.store(W_v_x_kept_r_ + i0 * V_ + i1);
          });
      }
      // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
      {
        constexpr long r = 0;
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* W_q_x_kept_r_ = W_q_x_kept_ + r * (N_ * K_);
        for (long i0 = 0; i0 < N_; ++i0)
          over<T, K_>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            L total = L::fill(T(0));
            for (long i2 = 0; i2 < D_; ++i2)
              total = total + L::load((W_q_ + i0 * (D_ * K_) + i1 * D_ + i2), D_) * L::fill(*(x_r_ + i2));
            total.store(W_q_x_kept_r_ + i0 * K_ + i1);
          });
      }
      {
        constexpr long r = 0;
        T* W_k_x_kept_r_ = W_k_x_kept_ + r * (N_ * K_);
        T* v_kept_r_ = v_kept_ + r * (N_ * K_);
        T* v_2_kept_r_ = v_2_kept_ + r * N_;
        fill(v_2_kept_r_, N_, T(0));
        over<T, K_>([&](auto tag, long i1) INLINED {
          using L = typename decltype(tag)::type;
          Rows<T, N_> v_2_sum_;
          for (long i0 = 0; i0 < N_; ++i0) {
            const L W_k_x_2_ = L::load(W_k_x_kept_r_ + i0 * K_ + i1);
            // gated_delta_net.rnn:14  k = normalize(silu(W_k @ x))
            const L v_ = W_k_x_2_ * sigmoid(W_k_x_2_);
            v_.store(v_kept_r_ + i0 * K_ + i1);
            const L v_13_ = v_ * v_;
            v_2_sum_.add(i0, v_13_);
          }
          v_2_sum_.add_to(v_2_kept_r_);
        });
      }
      {
        constexpr long r = 0;
        T* v_4_kept_r_ = v_4_kept_ + r * N_;
        T* v_6_kept_r_ = v_6_kept_ + r * N_;
        T* v_5_kept_r_ = v_5_kept_ + r * N_;
        T* v_7_kept_r_ = v_7_kept_ + r * N_;
        over<T, N_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L A_log_2_ = L::load(A_log_ + i0);
          const L v_4_2_ = L::load(v_4_kept_r_ + i0);
          // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
          const L v_5_ = exp(-exp(A_log_2_) * softplus(v_4_2_));
          v_5_.store(v_5_kept_r_ + i0);
          const L v_6_2_ = L::load(v_6_kept_r_ + i0);
          // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
          const L v_7_ = sigmoid(v_6_2_);
          v_7_.store(v_7_kept_r_ + i0);
        });
      }
      {
        constexpr long r = 0;
        T* v_2_kept_r_ = v_2_kept_ + r * N_;
        T* v_3_kept_r_ = v_3_kept_ + r * N_;
        over<T, N_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_2_2_ = L::load(v_2_kept_r_ + i0);
          // gated_delta_net.rnn:14  k = normalize(silu(W_k @ x))
          const L v_3_ = rsqrt(v_2_2_ + T(1e-12));
          v_3_.store(v_3_kept_r_ + i0);
        });
      }
      {
        constexpr long r = 0;
        T* v_5_kept_r_ = v_5_kept_ + r * N_;
        const T* S_1_r_ = old<T>(call, S_all_, S_first_, S_1_initial_, 1, b + r, t);
        T* Sd_kept_r_ = Sd_kept_ + r * ((N_ * K_) * V_);
        for (long i0 = 0; i0 < N_; ++i0) {
          for (long i1 = 0; i1 < K_; ++i1) {
            over<T, V_>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L v_5_2_ = L::fill(*(v_5_kept_r_ + i0));
              const L S_1_2_ = L::load(S_1_r_ + i0 * (V_ * K_) + i1 * V_ + i2);
              // gated_delta_net.rnn:15  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
              const L Sd_ = v_5_2_ * S_1_2_;
              Sd_.store(Sd_kept_r_ + i0 * (V_ * K_) + i1 * V_ + i2);
            });
          }
        }
      }
      {
        constexpr long r = 0;
        T* v_kept_r_ = v_kept_ + r * (N_ * K_);
        T* v_3_kept_r_ = v_3_kept_ + r * N_;
        T* k_kept_r_ = k_kept_ + r * (N_ * K_);
        for (long i0 = 0; i0 < N_; ++i0) {
          over<T, K_>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L v_14_ = L::load(v_kept_r_ + i0 * K_ + i1);
            const L v_3_2_ = L::fill(*(v_3_kept_r_ + i0));
            // gated_delta_net.rnn:14  k = normalize(silu(W_k @ x))
            const L k_ = v_14_ * v_3_2_;
            k_.store(k_kept_r_ + i0 * K_ + i1);
          });
        }
      }
      {
        constexpr long r = 0;
        T* k_kept_r_ = k_kept_ + r * (N_ * K_);
        T* Sd_kept_r_ = Sd_kept_ + r * ((N_ * K_) * V_);
        T* v_8_kept_r_ = v_8_kept_ + r * (N_ * V_);
        fill(v_8_kept_r_, N_ * V_, T(0));
        for (long i0 = 0; i0 < N_; ++i0) {
          for (long i1 = 0; i1 < K_; ++i1) {
            over<T, V_>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L k_2_ = L::fill(*(k_kept_r_ + i0 * K_ + i1));
              const L Sd_2_ = L::load(Sd_kept_r_ + i0 * (V_ * K_) + i1 * V_ + i2);
              // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L v_15_ = k_2_ * Sd_2_;
              (L::load(v_8_kept_r_ + i0 * V_ + i2) + v_15_).store(v_8_kept_r_ + i0 * V_ + i2);
            });
          }
        }
      }
      {
        constexpr long r = 0;
        T* W_v_x_kept_r_ = W_v_x_kept_ + r * (N_ * V_);
        T* v_8_kept_r_ = v_8_kept_ + r * (N_ * V_);
        T* v_9_kept_r_ = v_9_kept_ + r * (N_ * V_);
        for (long i0 = 0; i0 < N_; ++i0) {
          over<T, V_>([&](auto tag, long i1) INLINED {
            using L = typename decltype(tag)::type;
            const L W_v_x_2_ = L::load(W_v_x_kept_r_ + i0 * V_ + i1);
            const L v_8_2_ = L::load(v_8_kept_r_ + i0 * V_ + i1);
            // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
            const L v_9_ = W_v_x_2_ - v_8_2_;
            v_9_.store(v_9_kept_r_ + i0 * V_ + i1);
          });
        }
      }
      {
        constexpr long r = 0;
        T* k_kept_r_ = k_kept_ + r * (N_ * K_);
        T* v_9_kept_r_ = v_9_kept_ + r * (N_ * V_);
        T* v_7_kept_r_ = v_7_kept_ + r * N_;
        T* Sd_kept_r_ = Sd_kept_ + r * ((N_ * K_) * V_);
        T* W_q_x_kept_r_ = W_q_x_kept_ + r * (N_ * K_);
        T* v_10_kept_r_ = v_10_kept_ + r * (N_ * V_);
        fill(v_10_kept_r_, N_ * V_, T(0));
        for (long i0 = 0; i0 < N_; ++i0) {
          for (long i1 = 0; i1 < K_; ++i1) {
            over<T, V_>([&](auto tag, long i2) INLINED {
              using L = typename decltype(tag)::type;
              const L k_3_ = L::fill(*(k_kept_r_ + i0 * K_ + i1));
              const L v_9_2_ = L::load(v_9_kept_r_ + i0 * V_ + i2);
              const L v_7_2_ = L::fill(*(v_7_kept_r_ + i0));
              const L Sd_3_ = L::load(Sd_kept_r_ + i0 * (V_ * K_) + i1 * V_ + i2);
              // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
              const L S_2_ = Sd_3_ + v_7_2_ * (k_3_ * v_9_2_);
              S_2_.store(S_all_.at<T>(b + r, t) + i0 * (V_ * K_) + i1 * V_ + i2);
              const L W_q_x_2_ = L::fill(*(W_q_x_kept_r_ + i0 * K_ + i1));
              const L v_16_ = W_q_x_2_ * S_2_;
              (L::load(v_10_kept_r_ + i0 * V_ + i2) + v_16_).store(v_10_kept_r_ + i0 * V_ + i2);
            });
          }
        }
      }
      {
        constexpr long r = 0;
        T* v_10_kept_r_ = v_10_kept_ + r * (N_ * V_);
        over<T, N_*V_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_10_2_ = L::load(v_10_kept_r_ + i0);
          // gated_delta_net.rnn:16  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
          v_10_2_.store(y_out_.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs.
EXPORT const int64_t step_shapes[] = { 1, N_*V_ };

#endif
