// Made by rnndsl 0.2.0 from para_lstm.rnn, cell ParaLSTM. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

#ifndef ONE_STEP  // else only the function of a single step

// c, h, forwards: the states of all steps from the streams.
EXPORT void c_h_forward(const Call& call) {
  const Array c_first_[] = {call.arrays[6]};
  const Array h_first_[] = {call.arrays[7]};
  const Array c_1_initial_ = call.arrays[8];
  const Array h_1_initial_ = call.arrays[9];
  const Array c_all_ = call.arrays[10];
  const Array h_all_ = call.arrays[11];
  const Array c_1_final_ = call.arrays[12];
  const Array h_1_final_ = call.arrays[13];
  constexpr long AHEAD = 8;
  constexpr long BLOCK = block_of<T>(H_, 8), BLOCKS = (H_ + BLOCK - 1) / BLOCK, LAST = H_ - (BLOCKS - 1) * BLOCK;
  constexpr long ROWS = rows_beside<T>(BLOCK);
  const Units units(call, BLOCKS, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long block = unit % BLOCKS;
    const long part = unit / BLOCKS, b = units.first_row(part), rows = units.rows(part);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
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
      for (long t = 0; t < call.steps; ++t) {
        for (long r = 0; r < (ROWS == 1 ? 1 : rows); ++r) {
          const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
          const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
          const T* c_1_r_ = old<T>(call, c_all_, c_first_, c_1_initial_, 1, b + r, t);
          over<T, EXTENT>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L a_f_2_ = L::load(a_f_ + start + i0);
            const L h_1_2_ = L::load(h_1_r_ + start + i0);
            const L W_x_product_2_ = L::load_ahead(W_x_product_r_ + start + i0, W_x_product_.time * AHEAD);
            const L p_f_2_ = L::load(p_f_ + start + i0);
            const L c_1_2_ = L::load(c_1_r_ + start + i0);
            // para_lstm.rnn:12  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L f_ = sigmoid(W_x_product_2_ + a_f_2_ * h_1_2_ + p_f_2_ * c_1_2_);
            const L a_z_2_ = L::load(a_z_ + start + i0);
            const L W_x_product_3_ = L::load_ahead(W_x_product_r_ + H_ + start + i0, W_x_product_.time * AHEAD);
            // para_lstm.rnn:13  z = tanh(W_z @ x + a_z * h[t-1])
            const L z_ = tanh(W_x_product_3_ + a_z_2_ * h_1_2_);
            // para_lstm.rnn:14  c[t] = f * c[t-1] + (1 - f) * z
            const L c_ = f_ * c_1_2_ + (T(1) - f_) * z_;
            c_.store_ahead(c_all_.at<T>(b + r, t) + start + i0, c_all_.time * AHEAD);
            const L a_o_2_ = L::load(a_o_ + start + i0);
            const L W_x_product_4_ = L::load_ahead(W_x_product_r_ + 2*H_ + start + i0, W_x_product_.time * AHEAD);
            const L p_o_2_ = L::load(p_o_ + start + i0);
            // para_lstm.rnn:15  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L o_ = sigmoid(W_x_product_4_ + a_o_2_ * h_1_2_ + p_o_2_ * c_);
            // para_lstm.rnn:16  h[t] = o * tanh(c[t])
            const L h_ = o_ * tanh(c_);
            h_.store_ahead(h_all_.at<T>(b + r, t) + start + i0, h_all_.time * AHEAD);
          });
        }
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  for (long b = 0; b < call.batch; ++b)
    copy(old<T>(call, c_all_, c_first_, c_1_initial_, 1, b, call.steps, true), c_1_final_.at<T>(b, 0), H_);
  for (long b = 0; b < call.batch; ++b)
    copy(old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, call.steps, true), h_1_final_.at<T>(b, 0), H_);
}

// c, h, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void c_h_backward(const Call& call) {
  T* d_a_f_ = call.arrays[17].at<T>(0, 0);
  T* d_p_f_ = call.arrays[18].at<T>(0, 0);
  T* d_a_z_ = call.arrays[19].at<T>(0, 0);
  T* d_a_o_ = call.arrays[20].at<T>(0, 0);
  T* d_p_o_ = call.arrays[21].at<T>(0, 0);
  T* d_c_1_initial_ = call.arrays[24].at<T>(0, 0);
  T* d_h_1_initial_ = call.arrays[25].at<T>(0, 0);
  constexpr long AHEAD = -8;
  constexpr long BLOCK = block_of<T>(H_, 4), BLOCKS = (H_ + BLOCK - 1) / BLOCK, LAST = H_ - (BLOCKS - 1) * BLOCK;
  constexpr long ROWS = 1;
  const Units units(call, BLOCKS, ROWS);
  Memory all;
  T* d_a_f_parts_ = all.zeros<T>(units.parts * H_);
  T* d_p_f_parts_ = all.zeros<T>(units.parts * H_);
  T* d_a_z_parts_ = all.zeros<T>(units.parts * H_);
  T* d_a_o_parts_ = all.zeros<T>(units.parts * H_);
  T* d_p_o_parts_ = all.zeros<T>(units.parts * H_);
  T* d_c_1_initial_parts_ = all.zeros<T>(units.parts * H_);
  T* d_h_1_initial_parts_ = all.zeros<T>(units.parts * H_);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long block = unit % BLOCKS;
    const long part = unit / BLOCKS, b = units.first_row(part), rows = units.rows(part);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
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
      const Array d_c_1_first_ = call.arrays[22];
      const Array d_h_1_first_ = call.arrays[23];
      T *d_c_1_next_ = memory.take<T>(ROWS * EXTENT), *d_c_1_ = memory.take<T>(ROWS * EXTENT);
      T* d_c_1_initial_sum_ = memory.zeros<T>(EXTENT);
      for (long r = 0; r < rows; ++r)
        copy(d_c_1_final_.at<const T>(b + r, 0) + start, d_c_1_next_ + r * EXTENT, EXTENT);
      T *d_h_1_next_ = memory.take<T>(ROWS * EXTENT), *d_h_1_ = memory.take<T>(ROWS * EXTENT);
      T* d_h_1_initial_sum_ = memory.zeros<T>(EXTENT);
      for (long r = 0; r < rows; ++r)
        copy(d_h_1_final_.at<const T>(b + r, 0) + start, d_h_1_next_ + r * EXTENT, EXTENT);
      T* d_a_f_sum_ = memory.zeros<T>(EXTENT);
      T* d_p_f_sum_ = memory.zeros<T>(EXTENT);
      T* d_a_z_sum_ = memory.zeros<T>(EXTENT);
      T* d_a_o_sum_ = memory.zeros<T>(EXTENT);
      T* d_p_o_sum_ = memory.zeros<T>(EXTENT);
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
            const L h_1_2_ = L::load_ahead(h_1_r_ + start + i0, h_all_.time * AHEAD);
            const L W_x_product_2_ = L::load_ahead(W_x_product_r_ + start + i0, W_x_product_.time * AHEAD);
            const L p_f_2_ = L::load(p_f_ + start + i0);
            const L c_1_2_ = L::load_ahead(c_1_r_ + start + i0, c_all_.time * AHEAD);
            // para_lstm.rnn:12  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L f_ = sigmoid(W_x_product_2_ + a_f_2_ * h_1_2_ + p_f_2_ * c_1_2_);
            const L a_z_2_ = L::load(a_z_ + start + i0);
            const L W_x_product_3_ = L::load_ahead(W_x_product_r_ + H_ + start + i0, W_x_product_.time * AHEAD);
            // para_lstm.rnn:13  z = tanh(W_z @ x + a_z * h[t-1])
            const L z_ = tanh(W_x_product_3_ + a_z_2_ * h_1_2_);
            // para_lstm.rnn:14  c[t] = f * c[t-1] + (1 - f) * z
            const L v_ = T(1) - f_;
            const L c_ = f_ * c_1_2_ + v_ * z_;
            const L a_o_2_ = L::load(a_o_ + start + i0);
            const L W_x_product_4_ = L::load_ahead(W_x_product_r_ + 2*H_ + start + i0, W_x_product_.time * AHEAD);
            const L p_o_2_ = L::load(p_o_ + start + i0);
            // para_lstm.rnn:15  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L o_ = sigmoid(W_x_product_4_ + a_o_2_ * h_1_2_ + p_o_2_ * c_);
            // para_lstm.rnn:16  h[t] = o * tanh(c[t])
            const L v_2_ = tanh(c_);
            const L d_h_1_next_2_ = L::load(d_h_1_next_r_ + i0);
            const L d_h_2_ = L::load_ahead(d_h_r_ + start + i0, d_h_.time * AHEAD);
            const L v_3_ = d_h_1_next_2_ + d_h_2_;
            // para_lstm.rnn:15  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L d_W_x_product_2_ = v_3_ * v_2_ * ((T(1) - o_) * o_);
            d_W_x_product_2_.store_ahead(d_W_x_product_.at<T>(b + r, t) + 2*H_ + start + i0, d_W_x_product_.time * AHEAD);
            const L d_p_o_2_ = d_W_x_product_2_ * c_;
            (L::load(d_p_o_sum_ + i0) + d_p_o_2_).store(d_p_o_sum_ + i0);
            const L d_a_o_2_ = d_W_x_product_2_ * h_1_2_;
            (L::load(d_a_o_sum_ + i0) + d_a_o_2_).store(d_a_o_sum_ + i0);
            const L d_c_1_next_2_ = L::load(d_c_1_next_r_ + i0);
            const L d_c_2_ = L::load_ahead(d_c_r_ + start + i0, d_c_.time * AHEAD);
            const L v_4_ = d_c_1_next_2_ + d_c_2_ + v_3_ * o_ * (T(1) - v_2_ * v_2_) + d_W_x_product_2_ * p_o_2_;
            // para_lstm.rnn:13  z = tanh(W_z @ x + a_z * h[t-1])
            const L d_W_x_product_3_ = v_4_ * v_ * (T(1) - z_ * z_);
            d_W_x_product_3_.store_ahead(d_W_x_product_.at<T>(b + r, t) + H_ + start + i0, d_W_x_product_.time * AHEAD);
            const L d_a_z_2_ = d_W_x_product_3_ * h_1_2_;
            (L::load(d_a_z_sum_ + i0) + d_a_z_2_).store(d_a_z_sum_ + i0);
            // para_lstm.rnn:12  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L d_W_x_product_4_ = (v_4_ * c_1_2_ - v_4_ * z_) * (v_ * f_);
            d_W_x_product_4_.store_ahead(d_W_x_product_.at<T>(b + r, t) + start + i0, d_W_x_product_.time * AHEAD);
            const L d_p_f_2_ = d_W_x_product_4_ * c_1_2_;
            (L::load(d_p_f_sum_ + i0) + d_p_f_2_).store(d_p_f_sum_ + i0);
            const L d_a_f_2_ = d_W_x_product_4_ * h_1_2_;
            (L::load(d_a_f_sum_ + i0) + d_a_f_2_).store(d_a_f_sum_ + i0);
            const L d_h_1_2_ = d_W_x_product_2_ * a_o_2_ + d_W_x_product_3_ * a_z_2_ + d_W_x_product_4_ * a_f_2_;
            d_h_1_2_.store(d_h_1_ + r * EXTENT + i0);
            const L d_c_1_2_ = v_4_ * f_ + d_W_x_product_4_ * p_f_2_;
            d_c_1_2_.store(d_c_1_ + r * EXTENT + i0);
          });
        }
        for (long r = 0; call.reset.data && r < rows; ++r)
          if (call.resets(b + r, t)) {
            reduce(d_c_1_ + r * EXTENT, 1, EXTENT, d_c_1_initial_sum_);
            zero(d_c_1_ + r * EXTENT, EXTENT);
            reduce(d_h_1_ + r * EXTENT, 1, EXTENT, d_h_1_initial_sum_);
            zero(d_h_1_ + r * EXTENT, EXTENT);
          }
        std::swap(d_c_1_next_, d_c_1_);
        std::swap(d_h_1_next_, d_h_1_);
      }
      for (long r = 0; r < rows; ++r)
        copy(d_c_1_next_ + r * EXTENT, d_c_1_first_.at<T>(b + r, 0) + start, EXTENT);
      copy(d_c_1_initial_sum_, d_c_1_initial_parts_ + part * H_ + start, EXTENT);
      for (long r = 0; r < rows; ++r)
        copy(d_h_1_next_ + r * EXTENT, d_h_1_first_.at<T>(b + r, 0) + start, EXTENT);
      copy(d_h_1_initial_sum_, d_h_1_initial_parts_ + part * H_ + start, EXTENT);
      copy(d_a_f_sum_, d_a_f_parts_ + part * H_ + start, EXTENT);
      copy(d_p_f_sum_, d_p_f_parts_ + part * H_ + start, EXTENT);
      copy(d_a_z_sum_, d_a_z_parts_ + part * H_ + start, EXTENT);
      copy(d_a_o_sum_, d_a_o_parts_ + part * H_ + start, EXTENT);
      copy(d_p_o_sum_, d_p_o_parts_ + part * H_ + start, EXTENT);
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  reduce(d_a_f_parts_, units.parts, H_, d_a_f_);
  reduce(d_p_f_parts_, units.parts, H_, d_p_f_);
  reduce(d_a_z_parts_, units.parts, H_, d_a_z_);
  reduce(d_a_o_parts_, units.parts, H_, d_a_o_);
  reduce(d_p_o_parts_, units.parts, H_, d_p_o_);
  reduce(d_c_1_initial_parts_, units.parts, H_, d_c_1_initial_);
  reduce(d_h_1_initial_parts_, units.parts, H_, d_h_1_initial_);
}

// What follows: how many, and of each how many axes, and their sizes; entries of the streams and of the statics that only it reads.
EXPORT const int64_t c_h_shapes[] = { 0 };
EXPORT const int64_t c_h_further[] = { 0, 0 };

// Products that the call forwards may save for the one backwards: how many; entries of each, and terms that an entry is a sum of.
EXPORT const int64_t c_h_saves[] = { 0 };

// Products over all steps that give gradients of matrices: static array, first slice, rounds, entries of [further, common, left, right], axes,
// sizes, order, and the stream whose gradient is the left factor, or -1.
EXPORT const int64_t c_h_outers[] = { 0 };

#else

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  constexpr long ROWS = 8;
  const Units units(call, 1, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
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
    T* W_f_x_kept_ = memory.take<T>(ROWS * H_);
    T* W_z_x_kept_ = memory.take<T>(ROWS * H_);
    T* W_o_x_kept_ = memory.take<T>(ROWS * H_);
    T* x_rows_ = memory.take<T>(ROWS * D_);
    for (long t = 0; t < call.steps; ++t) {
      // para_lstm.rnn:12  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_f_, 1, D_, W_f_x_kept_, H_);
      // para_lstm.rnn:13  z = tanh(W_z @ x + a_z * h[t-1])
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_z_, 1, D_, W_z_x_kept_, H_);
      // para_lstm.rnn:15  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_o_, 1, D_, W_o_x_kept_, H_);
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* W_f_x_kept_r_ = W_f_x_kept_ + r * H_;
        const T* c_1_r_ = old<T>(call, c_all_, c_first_, c_1_initial_, 1, b + r, t);
        T* W_z_x_kept_r_ = W_z_x_kept_ + r * H_;
        T* W_o_x_kept_r_ = W_o_x_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L a_f_2_ = L::load(a_f_ + i0);
          const L h_1_2_ = L::load(h_1_r_ + i0);
          const L W_f_x_2_ = L::load(W_f_x_kept_r_ + i0);
          const L p_f_2_ = L::load(p_f_ + i0);
          const L c_1_2_ = L::load(c_1_r_ + i0);
          // para_lstm.rnn:12  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
          const L f_ = sigmoid(W_f_x_2_ + a_f_2_ * h_1_2_ + p_f_2_ * c_1_2_);
          const L a_z_2_ = L::load(a_z_ + i0);
          const L W_z_x_2_ = L::load(W_z_x_kept_r_ + i0);
          // para_lstm.rnn:13  z = tanh(W_z @ x + a_z * h[t-1])
          const L z_ = tanh(W_z_x_2_ + a_z_2_ * h_1_2_);
          // para_lstm.rnn:14  c[t] = f * c[t-1] + (1 - f) * z
          const L c_ = f_ * c_1_2_ + (T(1) - f_) * z_;
          c_.store(c_all_.at<T>(b + r, t) + i0);
          const L a_o_2_ = L::load(a_o_ + i0);
          const L W_o_x_2_ = L::load(W_o_x_kept_r_ + i0);
          const L p_o_2_ = L::load(p_o_ + i0);
          // para_lstm.rnn:15  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
          const L o_ = sigmoid(W_o_x_2_ + a_o_2_ * h_1_2_ + p_o_2_ * c_);
          // para_lstm.rnn:16  h[t] = o * tanh(c[t])
          const L h_ = o_ * tanh(c_);
          h_.store(h_all_.at<T>(b + r, t) + i0);
          h_.store(h_out_.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs.
EXPORT const int64_t step_shapes[] = { 1, H_ };

#endif
