// Made by rnndsl 0.1.0 from para_lstm.rnn, cell ParaLSTM. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// c, h, forwards: the states of all steps from the streams.
EXPORT void c_h_forward(const Call& call) {
  const Array W_x_product = call.arrays[0];
  const T* a_f = call.arrays[1].at<const T>(0, 0);
  const T* p_f = call.arrays[2].at<const T>(0, 0);
  const T* a_z = call.arrays[3].at<const T>(0, 0);
  const T* a_o = call.arrays[4].at<const T>(0, 0);
  const T* p_o = call.arrays[5].at<const T>(0, 0);
  const Array c_first[] = {call.arrays[6]};
  const Array h_first[] = {call.arrays[7]};
  const Array c_1_initial = call.arrays[8];
  const Array h_1_initial = call.arrays[9];
  const Array c_all = call.arrays[10];
  const Array h_all = call.arrays[11];
  const Array c_1_final = call.arrays[12];
  const Array h_1_final = call.arrays[13];
  constexpr long ROWS = 1;
  constexpr long BLOCK = block_of<T>(H, 8), BLOCKS = (H + BLOCK - 1) / BLOCK, LAST = H - (BLOCKS - 1) * BLOCK;
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
          const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
          const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
          const T* c_1_r = old<T>(call, c_all, c_first, c_1_initial, 1, b + r, t);
          over<T, EXTENT>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L a_f_ = L::load(a_f + start + i0);
            const L h_1_ = L::load(h_1_r + start + i0);
            const L W_x_product_ = L::load(W_x_product_r + start + i0);
            const L p_f_ = L::load(p_f + start + i0);
            const L c_1_ = L::load(c_1_r + start + i0);
            // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L f = sigmoid(W_x_product_ + a_f_ * h_1_ + p_f_ * c_1_);
            const L a_z_ = L::load(a_z + start + i0);
            const L W_x_product_2 = L::load(W_x_product_r + H + start + i0);
            // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
            const L z = tanh(W_x_product_2 + a_z_ * h_1_);
            // para_lstm.rnn:13  c[t] = f * c[t-1] + (1 - f) * z
            const L c = f * c_1_ + (T(1) - f) * z;
            c.store(c_all.at<T>(b + r, t) + start + i0);
            const L a_o_ = L::load(a_o + start + i0);
            const L W_x_product_3 = L::load(W_x_product_r + 2*H + start + i0);
            const L p_o_ = L::load(p_o + start + i0);
            // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L o = sigmoid(W_x_product_3 + a_o_ * h_1_ + p_o_ * c);
            // para_lstm.rnn:15  h[t] = o * tanh(c[t])
            const L h = o * tanh(c);
            h.store(h_all.at<T>(b + r, t) + start + i0);
          });
        }
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, c_all, c_first, c_1_initial, 1, b, call.steps, true);
    std::copy(from, from + H, c_1_final.at<T>(b, 0));
  }
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, h_all, h_first, h_1_initial, 1, b, call.steps, true);
    std::copy(from, from + H, h_1_final.at<T>(b, 0));
  }
}

// c, h, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void c_h_backward(const Call& call) {
  const Array W_x_product = call.arrays[0];
  const T* a_f = call.arrays[1].at<const T>(0, 0);
  const T* p_f = call.arrays[2].at<const T>(0, 0);
  const T* a_z = call.arrays[3].at<const T>(0, 0);
  const T* a_o = call.arrays[4].at<const T>(0, 0);
  const T* p_o = call.arrays[5].at<const T>(0, 0);
  const Array c_first[] = {call.arrays[6]};
  const Array h_first[] = {call.arrays[7]};
  const Array c_1_initial = call.arrays[8];
  const Array h_1_initial = call.arrays[9];
  const Array c_all = call.arrays[10];
  const Array h_all = call.arrays[11];
  const Array d_c = call.arrays[12];
  const Array d_h = call.arrays[13];
  const Array d_c_1_final = call.arrays[14];
  const Array d_h_1_final = call.arrays[15];
  const Array d_W_x_product = call.arrays[16];
  T* d_a_f = call.arrays[17].at<T>(0, 0);
  T* d_p_f = call.arrays[18].at<T>(0, 0);
  T* d_a_z = call.arrays[19].at<T>(0, 0);
  T* d_a_o = call.arrays[20].at<T>(0, 0);
  T* d_p_o = call.arrays[21].at<T>(0, 0);
  const Array d_c_1_first = call.arrays[22];
  const Array d_h_1_first = call.arrays[23];
  T* d_c_1_initial = call.arrays[24].at<T>(0, 0);
  T* d_h_1_initial = call.arrays[25].at<T>(0, 0);
  constexpr long ROWS = 1;
  constexpr long BLOCK = block_of<T>(H, 4), BLOCKS = (H + BLOCK - 1) / BLOCK, LAST = H - (BLOCKS - 1) * BLOCK;
  constexpr long OTHERS = BLOCKS;
  const long share = 1;
  const long parts = (call.batch + share - 1) / share;
  Memory all;
  T* parts_of_sum = all.take<T>(parts * H);
  zero(parts_of_sum, parts * H);
  T* parts_of_sum_ = all.take<T>(parts * H);
  zero(parts_of_sum_, parts * H);
  T* parts_of_sum_2 = all.take<T>(parts * H);
  zero(parts_of_sum_2, parts * H);
  T* parts_of_sum_3 = all.take<T>(parts * H);
  zero(parts_of_sum_3, parts * H);
  T* parts_of_sum_4 = all.take<T>(parts * H);
  zero(parts_of_sum_4, parts * H);
  T* parts_of_initial = all.take<T>(parts * H);
  zero(parts_of_initial, parts * H);
  T* parts_of_initial_ = all.take<T>(parts * H);
  zero(parts_of_initial_, parts * H);
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long block = rest % (BLOCKS);
    rest /= BLOCKS;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    const long start = block * BLOCK;
    auto run = [&](auto extent) {
      constexpr long EXTENT = decltype(extent)::value;
      T *d_c_1_next = memory.take<T>(ROWS * EXTENT), *d_c_1 = memory.take<T>(ROWS * EXTENT);
      T* initial_sum = memory.take<T>(EXTENT);
      zero(initial_sum, EXTENT);
      for (long r = 0; r < rows; ++r) {
        const T* from = d_c_1_final.at<const T>(b + r, 0);
        T* to = d_c_1_next + r * EXTENT;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[i0] = from[start + i0];
      }
      T *d_h_1_next = memory.take<T>(ROWS * EXTENT), *d_h_1 = memory.take<T>(ROWS * EXTENT);
      T* initial_sum_ = memory.take<T>(EXTENT);
      zero(initial_sum_, EXTENT);
      for (long r = 0; r < rows; ++r) {
        const T* from = d_h_1_final.at<const T>(b + r, 0);
        T* to = d_h_1_next + r * EXTENT;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[i0] = from[start + i0];
      }
      T* sum_ = memory.take<T>(EXTENT);
      zero(sum_, EXTENT);
      T* sum_2 = memory.take<T>(EXTENT);
      zero(sum_2, EXTENT);
      T* sum_3 = memory.take<T>(EXTENT);
      zero(sum_3, EXTENT);
      T* sum_4 = memory.take<T>(EXTENT);
      zero(sum_4, EXTENT);
      T* sum_5 = memory.take<T>(EXTENT);
      zero(sum_5, EXTENT);
      for (long t = call.steps - 1; t >= 0; --t) {
        {
          constexpr long r = 0;
          const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
          const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
          const T* c_1_r = old<T>(call, c_all, c_first, c_1_initial, 1, b + r, t);
          const T* d_h_1_next_r = d_h_1_next + r * EXTENT;
          const T* d_h_r = d_h.at<const T>(b + r, t);
          const T* d_c_1_next_r = d_c_1_next + r * EXTENT;
          const T* d_c_r = d_c.at<const T>(b + r, t);
          over<T, EXTENT>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L a_f_ = L::load(a_f + start + i0);
            const L h_1_ = L::load(h_1_r + start + i0);
            const L W_x_product_ = L::load(W_x_product_r + start + i0);
            const L p_f_ = L::load(p_f + start + i0);
            const L c_1_ = L::load(c_1_r + start + i0);
            // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L f = sigmoid(W_x_product_ + a_f_ * h_1_ + p_f_ * c_1_);
            const L a_z_ = L::load(a_z + start + i0);
            const L W_x_product_2 = L::load(W_x_product_r + H + start + i0);
            // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
            const L z = tanh(W_x_product_2 + a_z_ * h_1_);
            // para_lstm.rnn:13  c[t] = f * c[t-1] + (1 - f) * z
            const L v = T(1) - f;
            const L c = f * c_1_ + v * z;
            const L a_o_ = L::load(a_o + start + i0);
            const L W_x_product_3 = L::load(W_x_product_r + 2*H + start + i0);
            const L p_o_ = L::load(p_o + start + i0);
            // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L o = sigmoid(W_x_product_3 + a_o_ * h_1_ + p_o_ * c);
            // para_lstm.rnn:15  h[t] = o * tanh(c[t])
            const L v_ = tanh(c);
            const L d_h_1_next_ = L::load(d_h_1_next_r + i0);
            const L d_h_ = L::load(d_h_r + start + i0);
            const L v_2 = d_h_1_next_ + d_h_;
            // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
            const L v_3 = v_2 * v_ * ((T(1) - o) * o);
            v_3.store(d_W_x_product.at<T>(b + r, t) + 2*H + start + i0);
            const L v_4 = v_3 * c;
            (L::load(sum_5 + i0) + v_4).store(sum_5 + i0);
            const L v_5 = v_3 * h_1_;
            (L::load(sum_4 + i0) + v_5).store(sum_4 + i0);
            const L d_c_1_next_ = L::load(d_c_1_next_r + i0);
            const L d_c_ = L::load(d_c_r + start + i0);
            const L v_6 = d_c_1_next_ + d_c_ + v_2 * o * (T(1) - v_ * v_) + v_3 * p_o_;
            // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
            const L v_7 = v_6 * v * (T(1) - z * z);
            v_7.store(d_W_x_product.at<T>(b + r, t) + H + start + i0);
            const L v_8 = v_7 * h_1_;
            (L::load(sum_3 + i0) + v_8).store(sum_3 + i0);
            // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
            const L v_9 = (-(v_6 * z) + v_6 * c_1_) * (v * f);
            v_9.store(d_W_x_product.at<T>(b + r, t) + start + i0);
            const L v_10 = v_9 * c_1_;
            (L::load(sum_2 + i0) + v_10).store(sum_2 + i0);
            const L v_11 = v_9 * h_1_;
            (L::load(sum_ + i0) + v_11).store(sum_ + i0);
            const L v_12 = v_3 * a_o_ + v_7 * a_z_ + v_9 * a_f_;
            v_12.store(d_h_1 + r * EXTENT + i0);
            const L v_13 = v_6 * f + v_9 * p_f_;
            v_13.store(d_c_1 + r * EXTENT + i0);
          });
        }
        for (long r = 0; call.reset.data && r < rows; ++r)
          if (call.resets(b + r, t)) {
            reduce(d_c_1 + r * EXTENT, 1, EXTENT, initial_sum);
            zero(d_c_1 + r * EXTENT, EXTENT);
            reduce(d_h_1 + r * EXTENT, 1, EXTENT, initial_sum_);
            zero(d_h_1 + r * EXTENT, EXTENT);
          }
        std::swap(d_c_1_next, d_c_1);
        std::swap(d_h_1_next, d_h_1);
      }
      for (long r = 0; r < rows; ++r) {
        const T* from = d_c_1_next + r * EXTENT;
        T* to = d_c_1_first.at<T>(b + r, 0);
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = initial_sum;
        T* to = parts_of_initial + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      for (long r = 0; r < rows; ++r) {
        const T* from = d_h_1_next + r * EXTENT;
        T* to = d_h_1_first.at<T>(b + r, 0);
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = initial_sum_;
        T* to = parts_of_initial_ + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_;
        T* to = parts_of_sum + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_2;
        T* to = parts_of_sum_ + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_3;
        T* to = parts_of_sum_2 + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_4;
        T* to = parts_of_sum_3 + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
      {
        const T* from = sum_5;
        T* to = parts_of_sum_4 + part * H;
        for (long i0 = 0; i0 < EXTENT; ++i0)
          to[start + i0] = from[i0];
      }
    };
    if (block < BLOCKS - 1 || LAST == BLOCK) run(std::integral_constant<long, BLOCK>{});
    else run(std::integral_constant<long, LAST>{});
  });
  reduce(parts_of_sum, parts, H, d_a_f);
  reduce(parts_of_sum_, parts, H, d_p_f);
  reduce(parts_of_sum_2, parts, H, d_a_z);
  reduce(parts_of_sum_3, parts, H, d_a_o);
  reduce(parts_of_sum_4, parts, H, d_p_o);
  reduce(parts_of_initial, parts, H, d_c_1_initial);
  reduce(parts_of_initial_, parts, H, d_h_1_initial);
}

// Slices of params that are asked for: the first, the last, and how many there are.
EXPORT const int64_t c_h_slices[] = { 0 };

// Products over all steps that give gradients of matrices: static array, entries of [further, common, left, right], axes, sizes, order.
EXPORT const int64_t c_h_outers[] = { 0 };

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  const Array x_ = call.arrays[0];
  const T* W_f = call.arrays[1].at<const T>(0, 0);
  const T* W_z = call.arrays[2].at<const T>(0, 0);
  const T* W_o = call.arrays[3].at<const T>(0, 0);
  const T* a_f = call.arrays[4].at<const T>(0, 0);
  const T* a_z = call.arrays[5].at<const T>(0, 0);
  const T* a_o = call.arrays[6].at<const T>(0, 0);
  const T* p_f = call.arrays[7].at<const T>(0, 0);
  const T* p_o = call.arrays[8].at<const T>(0, 0);
  const Array h_first[] = {call.arrays[9]};
  const Array c_first[] = {call.arrays[10]};
  const Array h_1_initial{};  // nothing is reset
  const Array c_1_initial{};  // nothing is reset
  const Array h_all = call.arrays[11];
  const Array c_all = call.arrays[12];
  const Array h_out = call.arrays[13];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * H);
    T* v_ = memory.take<T>(ROWS * H);
    T* v_2 = memory.take<T>(ROWS * H);
    T* x_rows = memory.take<T>(ROWS * D);
    for (long t = 0; t < call.steps; ++t) {
      // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_r = v + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_f, 1, D, v, H);
      // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v__r = v_ + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_z, 1, D, v_, H);
      // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_2_r = v_2 + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_o, 1, D, v_2, H);
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v_r = v + r * H;
        const T* c_1_r = old<T>(call, c_all, c_first, c_1_initial, 1, b + r, t);
        T* v__r = v_ + r * H;
        T* v_2_r = v_2 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L a_f_ = L::load(a_f + i0);
          const L h_1_ = L::load(h_1_r + i0);
          const L v_3 = L::load(v_r + i0);
          const L p_f_ = L::load(p_f + i0);
          const L c_1_ = L::load(c_1_r + i0);
          // para_lstm.rnn:11  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
          const L f = sigmoid(v_3 + a_f_ * h_1_ + p_f_ * c_1_);
          const L a_z_ = L::load(a_z + i0);
          const L v_4 = L::load(v__r + i0);
          // para_lstm.rnn:12  z = tanh(W_z @ x + a_z * h[t-1])
          const L z = tanh(v_4 + a_z_ * h_1_);
          // para_lstm.rnn:13  c[t] = f * c[t-1] + (1 - f) * z
          const L c = f * c_1_ + (T(1) - f) * z;
          c.store(c_all.at<T>(b + r, t) + i0);
          const L a_o_ = L::load(a_o + i0);
          const L v_2_ = L::load(v_2_r + i0);
          const L p_o_ = L::load(p_o + i0);
          // para_lstm.rnn:14  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
          const L o = sigmoid(v_2_ + a_o_ * h_1_ + p_o_ * c);
          // para_lstm.rnn:15  h[t] = o * tanh(c[t])
          const L h = o * tanh(c);
          h.store(h_all.at<T>(b + r, t) + i0);
          h.store(h_out.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs, and the slices of params that it asks for.
EXPORT const int64_t step_shapes[] = { 1, H };
EXPORT const int64_t step_slices[] = { 0 };
