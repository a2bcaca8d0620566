// Made by rnndsl 0.1.0 from para_lstm.rnn, cell ParaLSTM. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// c, h, forwards: the states of all steps from the streams.
EXPORT void c_h_forward(const Call& call) {
  const Array W_x_product_ = call.arrays[0];
  const T* a_f_ = call.arrays[1].at<const T>(0, 0);
  const T* p_f_ = call.arrays[2].at<const T>(0, 0);
  const T* a_z_ = call.arrays[3].at<const T>(0, 0);
  const T* a_o_ = call.arrays[4].at<const T>(0, 0);
  const T* p_o_ = call.arrays[5].at<const T>(0, 0);
  const Array c_first_[] = {call.arrays[6]};
  const Array h_first_[] = {call.arrays[7]};
  const Array c_1_initial_ = call.arrays[8];
  const Array h_1_initial_ = call.arrays[9];
  const Array c_all_ = call.arrays[10];
  const Array h_all_ = call.arrays[11];
  const Array c_1_final_ = call.arrays[12];
  const Array h_1_final_ = call.arrays[13];
  constexpr long ROWS = 1;
  constexpr long BLOCK = block_of<T>(H_, 8), BLOCKS = (H_ + BLOCK - 1) / BLOCK, LAST = H_ - (BLOCKS - 1) * BLOCK;
  constexpr long OTHERS = BLOCKS;
  const long share = 1;
  const long parts = (call.batch + share - 1) / share;
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long block = rest % (BLOCKS);
    rest /= BLOCKS;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      for (long t = 0; t < call.steps; ++t) {
        {
          constexpr long r = 0;
          const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
          const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
          const T* c_1_r_ = old<T>(call, c_all_, c_first_, c_1_initial_, 1, b + r, t);
          over<T, EXTENT>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L a_f_2_ = L::load(a_f_ + start + i0);
            const L h_1_2_ = L::load(h_1_r_ + start + i0);
            const L W_x_product_2_ = L::load(W_x_product_r_ + start + i0);
            const L p_f_2_ = L::load(p_f_ + start + i0);
            const L c_1_2_ = L::load(c_1_r_ + start + i0);
            // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L f_ = sigmoid(W_x_product_2_ + a_f_2_ * h_1_2_ + p_f_2_ * c_1_2_);
            const L a_z_2_ = L::load(a_z_ + start + i0);
            const L W_x_product_3_ = L::load(W_x_product_r_ + H_ + start + i0);
            // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
            const L z_ = tanh(W_x_product_3_ + a_z_2_ * h_1_2_);
            // para_lstm.rnn:13  c[t] = f * c[t-1] + (1 - f) * z
            const L c_ = f_ * c_1_2_ + (T(1) - f_) * z_;
            c_.store(c_all_.at<T>(b + r, t) + start + i0);
            const L a_o_2_ = L::load(a_o_ + start + i0);
            const L W_x_product_4_ = L::load(W_x_product_r_ + 2*H_ + start + i0);
            const L p_o_2_ = L::load(p_o_ + start + i0);
            // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L o_ = sigmoid(W_x_product_4_ + a_o_2_ * h_1_2_ + p_o_2_ * c_);
            // para_lstm.rnn:15  h[t] = o * tanh(c[t])
            const L h_ = o_ * tanh(c_);
            h_.store(h_all_.at<T>(b + r, t) + start + i0);
          });
        }
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, c_all_, c_first_, c_1_initial_, 1, b, call.steps, true);
    std::copy(from, from + H_, c_1_final_.at<T>(b, 0));
  }
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, call.steps, true);
    std::copy(from, from + H_, h_1_final_.at<T>(b, 0));
  }
}

// c, h, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void c_h_backward(const Call& call) {
  const Array W_x_product_ = call.arrays[0];
  const T* a_f_ = call.arrays[1].at<const T>(0, 0);
  const T* p_f_ = call.arrays[2].at<const T>(0, 0);
  const T* a_z_ = call.arrays[3].at<const T>(0, 0);
  const T* a_o_ = call.arrays[4].at<const T>(0, 0);
  const T* p_o_ = call.arrays[5].at<const T>(0, 0);
  const Array c_first_[] = {call.arrays[6]};
  const Array h_first_[] = {call.arrays[7]};
  const Array c_1_initial_ = call.arrays[8];
  const Array h_1_initial_ = call.arrays[9];
  const Array c_all_ = call.arrays[10];
  const Array h_all_ = call.arrays[11];
  const Array d_c_ = call.arrays[12];
  const Array d_h_ = call.arrays[13];
  const Array d_c_1_final_ = call.arrays[14];
  const Array d_h_1_final_ = call.arrays[15];
  const Array d_W_x_product_ = call.arrays[16];
  T* d_a_f_ = call.arrays[17].at<T>(0, 0);
  T* d_p_f_ = call.arrays[18].at<T>(0, 0);
  T* d_a_z_ = call.arrays[19].at<T>(0, 0);
  T* d_a_o_ = call.arrays[20].at<T>(0, 0);
  T* d_p_o_ = call.arrays[21].at<T>(0, 0);
  const Array d_c_1_first_ = call.arrays[22];
  const Array d_h_1_first_ = call.arrays[23];
  T* d_c_1_initial_ = call.arrays[24].at<T>(0, 0);
  T* d_h_1_initial_ = call.arrays[25].at<T>(0, 0);
  constexpr long ROWS = 1;
  constexpr long BLOCK = block_of<T>(H_, 4), BLOCKS = (H_ + BLOCK - 1) / BLOCK, LAST = H_ - (BLOCKS - 1) * BLOCK;
  constexpr long OTHERS = BLOCKS;
  const long share = 1;
  const long parts = (call.batch + share - 1) / share;
  Memory all;
  T* parts_of_sum_ = all.take<T>(parts * H_);
  zero(parts_of_sum_, parts * H_);
  T* parts_of_sum_2_ = all.take<T>(parts * H_);
  zero(parts_of_sum_2_, parts * H_);
  T* parts_of_sum_3_ = all.take<T>(parts * H_);
  zero(parts_of_sum_3_, parts * H_);
  T* parts_of_sum_4_ = all.take<T>(parts * H_);
  zero(parts_of_sum_4_, parts * H_);
  T* parts_of_sum_5_ = all.take<T>(parts * H_);
  zero(parts_of_sum_5_, parts * H_);
  T* parts_of_initial_ = all.take<T>(parts * H_);
  zero(parts_of_initial_, parts * H_);
  T* parts_of_initial_2_ = all.take<T>(parts * H_);
  zero(parts_of_initial_2_, parts * H_);
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long block = rest % (BLOCKS);
    rest /= BLOCKS;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      T *d_c_1_next_ = memory.take<T>(ROWS * EXTENT), *d_c_1_ = memory.take<T>(ROWS * EXTENT);
      T* initial_sum_ = memory.take<T>(EXTENT);
      zero(initial_sum_, EXTENT);
      for (long r = 0; r < rows; ++r) {
        const T* from = d_c_1_final_.at<const T>(b + r, 0);
        T* to = d_c_1_next_ + r * EXTENT;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[i0] = from[start + i0];
      }
      T *d_h_1_next_ = memory.take<T>(ROWS * EXTENT), *d_h_1_ = memory.take<T>(ROWS * EXTENT);
      T* initial_sum_2_ = memory.take<T>(EXTENT);
      zero(initial_sum_2_, EXTENT);
      for (long r = 0; r < rows; ++r) {
        const T* from = d_h_1_final_.at<const T>(b + r, 0);
        T* to = d_h_1_next_ + r * EXTENT;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[i0] = from[start + i0];
      }
      T* sum_ = memory.take<T>(EXTENT);
      zero(sum_, EXTENT);
      T* sum_2_ = memory.take<T>(EXTENT);
      zero(sum_2_, EXTENT);
      T* sum_3_ = memory.take<T>(EXTENT);
      zero(sum_3_, EXTENT);
      T* sum_4_ = memory.take<T>(EXTENT);
      zero(sum_4_, EXTENT);
      T* sum_5_ = memory.take<T>(EXTENT);
      zero(sum_5_, EXTENT);
      for (long t = call.steps - 1; t >= 0; --t) {
        {
          constexpr long r = 0;
          const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
          const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
          const T* c_1_r_ = old<T>(call, c_all_, c_first_, c_1_initial_, 1, b + r, t);
          const T* d_h_1_next_r_ = d_h_1_next_ + r * EXTENT;
          const T* d_h_r_ = d_h_.at<const T>(b + r, t);
          const T* d_c_1_next_r_ = d_c_1_next_ + r * EXTENT;
          const T* d_c_r_ = d_c_.at<const T>(b + r, t);
          over<T, EXTENT>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L a_f_2_ = L::load(a_f_ + start + i0);
            const L h_1_2_ = L::load(h_1_r_ + start + i0);
            const L W_x_product_2_ = L::load(W_x_product_r_ + start + i0);
            const L p_f_2_ = L::load(p_f_ + start + i0);
            const L c_1_2_ = L::load(c_1_r_ + start + i0);
            // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L f_ = sigmoid(W_x_product_2_ + a_f_2_ * h_1_2_ + p_f_2_ * c_1_2_);
            const L a_z_2_ = L::load(a_z_ + start + i0);
            const L W_x_product_3_ = L::load(W_x_product_r_ + H_ + start + i0);
            // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
            const L z_ = tanh(W_x_product_3_ + a_z_2_ * h_1_2_);
            // para_lstm.rnn:13  c[t] = f * c[t-1] + (1 - f) * z
            const L v_ = T(1) - f_;
            const L c_ = f_ * c_1_2_ + v_ * z_;
            const L a_o_2_ = L::load(a_o_ + start + i0);
            const L W_x_product_4_ = L::load(W_x_product_r_ + 2*H_ + start + i0);
            const L p_o_2_ = L::load(p_o_ + start + i0);
            // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L o_ = sigmoid(W_x_product_4_ + a_o_2_ * h_1_2_ + p_o_2_ * c_);
            // para_lstm.rnn:15  h[t] = o * tanh(c[t])
            const L v_2_ = tanh(c_);
            const L d_h_1_next_2_ = L::load(d_h_1_next_r_ + i0);
            const L d_h_2_ = L::load(d_h_r_ + start + i0);
            const L v_3_ = d_h_1_next_2_ + d_h_2_;
            // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L v_4_ = v_3_ * v_2_ * ((T(1) - o_) * o_);
            v_4_.store(d_W_x_product_.at<T>(b + r, t) + 2*H_ + start + i0);
            const L v_5_ = v_4_ * c_;
            (L::load(sum_5_ + i0) + v_5_).store(sum_5_ + i0);
            const L v_6_ = v_4_ * h_1_2_;
            (L::load(sum_4_ + i0) + v_6_).store(sum_4_ + i0);
            const L d_c_1_next_2_ = L::load(d_c_1_next_r_ + i0);
            const L d_c_2_ = L::load(d_c_r_ + start + i0);
            const L v_7_ = d_c_1_next_2_ + d_c_2_ + v_3_ * o_ * (T(1) - v_2_ * v_2_) + v_4_ * p_o_2_;
            // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
            const L v_8_ = v_7_ * v_ * (T(1) - z_ * z_);
            v_8_.store(d_W_x_product_.at<T>(b + r, t) + H_ + start + i0);
            const L v_9_ = v_8_ * h_1_2_;
            (L::load(sum_3_ + i0) + v_9_).store(sum_3_ + i0);
            // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L v_10_ = (v_7_ * c_1_2_ - v_7_ * z_) * (v_ * f_);
            v_10_.store(d_W_x_product_.at<T>(b + r, t) + start + i0);
            const L v_11_ = v_10_ * c_1_2_;
            (L::load(sum_2_ + i0) + v_11_).store(sum_2_ + i0);
            const L v_12_ = v_10_ * h_1_2_;
            (L::load(sum_ + i0) + v_12_).store(sum_ + i0);
            const L v_13_ = v_4_ * a_o_2_ + v_8_ * a_z_2_ + v_10_ * a_f_2_;
            v_13_.store(d_h_1_ + r * EXTENT + i0);
            const L v_14_ = v_7_ * f_ + v_10_ * p_f_2_;
            v_14_.store(d_c_1_ + r * EXTENT + i0);
          });
        }
        for (long r = 0; call.reset.data && r < rows; ++r)
          if (call.resets(b + r, t)) {
            reduce(d_c_1_ + r * EXTENT, 1, EXTENT, initial_sum_);
            zero(d_c_1_ + r * EXTENT, EXTENT);
            reduce(d_h_1_ + r * EXTENT, 1, EXTENT, initial_sum_2_);
            zero(d_h_1_ + r * EXTENT, EXTENT);
          }
        std::swap(d_c_1_next_, d_c_1_);
        std::swap(d_h_1_next_, d_h_1_);
      }
      for (long r = 0; r < rows; ++r) {
        const T* from = d_c_1_next_ + r * EXTENT;
        T* to = d_c_1_first_.at<T>(b + r, 0);
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = initial_sum_;
        T* to = parts_of_initial_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      for (long r = 0; r < rows; ++r) {
        const T* from = d_h_1_next_ + r * EXTENT;
        T* to = d_h_1_first_.at<T>(b + r, 0);
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = initial_sum_2_;
        T* to = parts_of_initial_2_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_;
        T* to = parts_of_sum_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_2_;
        T* to = parts_of_sum_2_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_3_;
        T* to = parts_of_sum_3_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_4_;
        T* to = parts_of_sum_4_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_5_;
        T* to = parts_of_sum_5_ + part * H_;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  reduce(parts_of_sum_, parts, H_, d_a_f_);
  reduce(parts_of_sum_2_, parts, H_, d_p_f_);
  reduce(parts_of_sum_3_, parts, H_, d_a_z_);
  reduce(parts_of_sum_4_, parts, H_, d_a_o_);
  reduce(parts_of_sum_5_, parts, H_, d_p_o_);
  reduce(parts_of_initial_, parts, H_, d_c_1_initial_);
  reduce(parts_of_initial_2_, parts, H_, d_h_1_initial_);
}

// Slices of params that are asked for: the first, the last, and how many there are.
EXPORT const int64_t c_h_slices[] = { 0 };

// Products over all steps that give gradients of matrices: static array, entries of [further, common, left, right], axes, sizes, order.
EXPORT const int64_t c_h_outers[] = { 0 };

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  const Array x_ = call.arrays[0];
  const T* W_f_ = call.arrays[1].at<const T>(0, 0);
  const T* W_z_ = call.arrays[2].at<const T>(0, 0);
  const T* W_o_ = call.arrays[3].at<const T>(0, 0);
  const T* a_f_ = call.arrays[4].at<const T>(0, 0);
  const T* a_z_ = call.arrays[5].at<const T>(0, 0);
  const T* a_o_ = call.arrays[6].at<const T>(0, 0);
  const T* p_f_ = call.arrays[7].at<const T>(0, 0);
  const T* p_o_ = call.arrays[8].at<const T>(0, 0);
  const Array h_first_[] = {call.arrays[9]};
  const Array c_first_[] = {call.arrays[10]};
  const Array h_1_initial_{};  // nothing is reset
  const Array c_1_initial_{};  // nothing is reset
  const Array h_all_ = call.arrays[11];
  const Array c_all_ = call.arrays[12];
  const Array h_out_ = call.arrays[13];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    T* x_rows_ = memory.take<T>(ROWS * D_);
    for (long t = 0; t < call.steps; ++t) {
      // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_kept_r_ = v_kept_ + r * H_;
        for (long i0 = 0; i0 < D_; ++i0)
          *(x_rows_ + r * D_ + i0) = *(x_r_ + i0);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_f_, 1, D_, v_kept_, H_);
      // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        for (long i0 = 0; i0 < D_; ++i0)
          *(x_rows_ + r * D_ + i0) = *(x_r_ + i0);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_z_, 1, D_, v_2_kept_, H_);
      // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        for (long i0 = 0; i0 < D_; ++i0)
          *(x_rows_ + r * D_ + i0) = *(x_r_ + i0);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_o_, 1, D_, v_3_kept_, H_);
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_kept_r_ = v_kept_ + r * H_;
        const T* c_1_r_ = old<T>(call, c_all_, c_first_, c_1_initial_, 1, b + r, t);
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L a_f_2_ = L::load(a_f_ + i0);
          const L h_1_2_ = L::load(h_1_r_ + i0);
          const L v_4_ = L::load(v_kept_r_ + i0);
          const L p_f_2_ = L::load(p_f_ + i0);
          const L c_1_2_ = L::load(c_1_r_ + i0);
          // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
          const L f_ = sigmoid(v_4_ + a_f_2_ * h_1_2_ + p_f_2_ * c_1_2_);
          const L a_z_2_ = L::load(a_z_ + i0);
          const L v_2_2_ = L::load(v_2_kept_r_ + i0);
          // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
          const L z_ = tanh(v_2_2_ + a_z_2_ * h_1_2_);
          // para_lstm.rnn:13  c[t] = f * c[t-1] + (1 - f) * z
          const L c_ = f_ * c_1_2_ + (T(1) - f_) * z_;
          c_.store(c_all_.at<T>(b + r, t) + i0);
          const L a_o_2_ = L::load(a_o_ + i0);
          const L v_3_2_ = L::load(v_3_kept_r_ + i0);
          const L p_o_2_ = L::load(p_o_ + i0);
          // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
          const L o_ = sigmoid(v_3_2_ + a_o_2_ * h_1_2_ + p_o_2_ * c_);
          // para_lstm.rnn:15  h[t] = o * tanh(c[t])
          const L h_ = o_ * tanh(c_);
          h_.store(h_all_.at<T>(b + r, t) + i0);
          h_.store(h_out_.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs, and the slices of params that it asks for.
EXPORT const int64_t step_shapes[] = { 1, H_ };
EXPORT const int64_t step_slices[] = { 0 };
