// Made by rnndsl 0.1.0 from gru.rnn, cell GRU. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// h, forwards: the states of all steps from the streams.
EXPORT void h_forward(const Call& call) {
  const Array W_x_product = call.arrays[0];
  const T* b_r = call.arrays[1].at<const T>(0, 0);
  const T* b_z = call.arrays[2].at<const T>(0, 0);
  const T* b_n = call.arrays[3].at<const T>(0, 0);
  const T* W_h = call.arrays[4].at<const T>(0, 0);
  const T* c_n = call.arrays[5].at<const T>(0, 0);
  const Array h_first[] = {call.arrays[6]};
  const Array h_1_initial = call.arrays[7];
  const Array h_all = call.arrays[8];
  const Array h_1_final = call.arrays[9];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  Memory panels_memory;
  T* panels = panels_memory.take<T>(packed_size<T, H, 3*H>());
  for (long head = 0; head < 1; ++head)
    pack<T, H, 3*H>(W_h + head * ((3*H) * H / (1)), 1, H, panels + head * packed_size<T, H, 3*H>());
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * (3*H));
    T* h_1_rows = memory.take<T>(ROWS * H);
    for (long t = 0; t < call.steps; ++t) {
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v_r = v + r * (3*H);
        for (long i0 = 0; i0 < H; ++i0)
          *(h_1_rows + r * H + i0) = *(h_1_r + i0);
      }
      multiply<T, H, 3*H>(rows, h_1_rows, H, panels, v, (3*H));
      for (long r = 0; r < rows; ++r) {
        const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
        T* v_r = v + r * (3*H);
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_x_product_ = L::load(W_x_product_r + i0);
          const L b_r_ = L::load(b_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_in = W_x_product_ + b_r_;
          const L W_x_product_2 = L::load(W_x_product_r + H + i0);
          const L b_z_ = L::load(b_z + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_in = W_x_product_2 + b_z_;
          const L W_x_product_3 = L::load(W_x_product_r + 2*H + i0);
          const L b_n_ = L::load(b_n + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_in = W_x_product_3 + b_n_;
          const L v_ = L::load(v_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(r_in + v_);
          const L v_2 = L::load(v_r + H + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z = sigmoid(z_in + v_2);
          const L v_3 = L::load(v_r + 2*H + i0);
          const L c_n_ = L::load(c_n + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n = tanh(n_in + r_ * (v_3 + c_n_));
          const L h_1_ = L::load(h_1_r + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L h = (T(1) - z) * n + z * h_1_;
          h.store(h_all.at<T>(b + r, t) + i0);
        });
      }
    }
  });
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, h_all, h_first, h_1_initial, 1, b, call.steps, true);
    std::copy(from, from + H, h_1_final.at<T>(b, 0));
  }
}

// h, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void h_backward(const Call& call) {
  const Array W_x_product = call.arrays[0];
  const T* b_r = call.arrays[1].at<const T>(0, 0);
  const T* b_z = call.arrays[2].at<const T>(0, 0);
  const T* b_n = call.arrays[3].at<const T>(0, 0);
  const T* W_h = call.arrays[4].at<const T>(0, 0);
  const T* c_n = call.arrays[5].at<const T>(0, 0);
  const Array h_first[] = {call.arrays[6]};
  const Array h_1_initial = call.arrays[7];
  const Array h_all = call.arrays[8];
  const Array d_h = call.arrays[9];
  const Array d_h_1_final = call.arrays[10];
  const Array d_W_x_product = call.arrays[11];
  T* d_b_r = call.arrays[12].at<T>(0, 0);
  T* d_b_z = call.arrays[13].at<T>(0, 0);
  T* d_b_n = call.arrays[14].at<T>(0, 0);
  T* d_W_h = call.arrays[15].at<T>(0, 0);
  T* d_c_n = call.arrays[16].at<T>(0, 0);
  const Array d_h_1_first = call.arrays[17];
  T* d_h_1_initial = call.arrays[18].at<T>(0, 0);
  const Array left0 = call.arrays[19];
  const Array right0 = call.arrays[20];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  Memory panels_memory;
  T* panels = panels_memory.take<T>(packed_size<T, H, 3*H>());
  for (long head = 0; head < 1; ++head)
    pack<T, H, 3*H>(W_h + head * ((3*H) * H / (1)), 1, H, panels + head * packed_size<T, H, 3*H>());
  Memory panels__memory;
  T* panels_ = panels__memory.take<T>(packed_size<T, 3*H, H>());
  for (long head = 0; head < 1; ++head)
    pack<T, 3*H, H>(W_h + head * ((3*H) * H / (1)), H, 1, panels_ + head * packed_size<T, 3*H, H>());
  Memory all;
  T* parts_of_sum = all.take<T>(parts * H);
  zero(parts_of_sum, parts * H);
  T* parts_of_sum_ = all.take<T>(parts * H);
  zero(parts_of_sum_, parts * H);
  T* parts_of_sum_2 = all.take<T>(parts * H);
  zero(parts_of_sum_2, parts * H);
  T* parts_of_sum_3 = all.take<T>(parts * H);
  zero(parts_of_sum_3, parts * H);
  T* parts_of_initial = all.take<T>(parts * H);
  zero(parts_of_initial, parts * H);
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * (3*H));
    T* z = memory.take<T>(ROWS * H);
    T* v_ = memory.take<T>(ROWS * H);
    T* v_2 = memory.take<T>(ROWS * H);
    T* v_3 = memory.take<T>(ROWS * H);
    T* v_4 = memory.take<T>(ROWS * H);
    T* v_5 = memory.take<T>(ROWS * (3*H));
    T* v_6 = memory.take<T>(ROWS * H);
    T* h_1_rows = memory.take<T>(ROWS * H);
    T *d_h_1_next = memory.take<T>(ROWS * H), *d_h_1 = memory.take<T>(ROWS * H);
    T* initial_sum = memory.take<T>(H);
    zero(initial_sum, H);
    for (long r = 0; r < rows; ++r) {
      const T* from = d_h_1_final.at<const T>(b + r, 0);
      T* to = d_h_1_next + r * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    T* sum_ = memory.take<T>(H);
    zero(sum_, H);
    T* sum_2 = memory.take<T>(H);
    zero(sum_2, H);
    T* sum_3 = memory.take<T>(H);
    zero(sum_3, H);
    T* sum_4 = memory.take<T>(H);
    zero(sum_4, H);
    for (long t = call.steps - 1; t >= 0; --t) {
      for (long r = 0; r < rows; ++r) {
        const T* d_h_1_next_r = d_h_1_next + r * H;
        const T* d_h_r = d_h.at<const T>(b + r, t);
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v__r = v_ + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L d_h_1_next_ = L::load(d_h_1_next_r + i0);
          const L d_h_ = L::load(d_h_r + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L v_ = d_h_1_next_ + d_h_;
          v_.store(v__r + i0);
          const L h_1_ = L::load(h_1_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_7 = h_1_;
          v_7.store(right0.at<T>(b + r, t) + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v_r = v + r * (3*H);
        for (long i0 = 0; i0 < H; ++i0)
          *(h_1_rows + r * H + i0) = *(h_1_r + i0);
      }
      multiply<T, H, 3*H>(rows, h_1_rows, H, panels, v, (3*H));
      for (long r = 0; r < rows; ++r) {
        const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
        T* v_r = v + r * (3*H);
        T* v__r = v_ + r * H;
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* z_r = z + r * H;
        T* v_2_r = v_2 + r * H;
        T* v_3_r = v_3 + r * H;
        T* v_4_r = v_4 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_x_product_ = L::load(W_x_product_r + i0);
          const L b_r_ = L::load(b_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_in = W_x_product_ + b_r_;
          const L W_x_product_2 = L::load(W_x_product_r + H + i0);
          const L b_z_ = L::load(b_z + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_in = W_x_product_2 + b_z_;
          const L W_x_product_3 = L::load(W_x_product_r + 2*H + i0);
          const L b_n_ = L::load(b_n + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_in = W_x_product_3 + b_n_;
          const L v_8 = L::load(v_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(r_in + v_8);
          const L v_9 = L::load(v_r + H + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z = sigmoid(z_in + v_9);
          z.store(z_r + i0);
          const L v_10 = L::load(v_r + 2*H + i0);
          const L c_n_ = L::load(c_n + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L v_11 = v_10 + c_n_;
          const L n = tanh(n_in + r_ * v_11);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L v_12 = T(1) - z;
          const L v_13 = L::load(v__r + i0);
          const L h_1_2 = L::load(h_1_r + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L v_14 = v_13 * v_12 * (T(1) - n * n);
          v_14.store(d_W_x_product.at<T>(b + r, t) + 2*H + i0);
          (L::load(sum_3 + i0) + v_14).store(sum_3 + i0);
          const L v_2 = v_14 * r_;
          v_2.store(v_2_r + i0);
          (L::load(sum_4 + i0) + v_2).store(sum_4 + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L v_3 = (v_13 * h_1_2 + -(v_13 * n)) * (v_12 * z);
          v_3.store(v_3_r + i0);
          v_3.store(d_W_x_product.at<T>(b + r, t) + H + i0);
          (L::load(sum_2 + i0) + v_3).store(sum_2 + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_4 = v_14 * v_11 * ((T(1) - r_) * r_);
          v_4.store(v_4_r + i0);
          v_4.store(d_W_x_product.at<T>(b + r, t) + i0);
          (L::load(sum_ + i0) + v_4).store(sum_ + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        T* v_4_r = v_4 + r * H;
        T* v_3_r = v_3 + r * H;
        T* v_2_r = v_2 + r * H;
        T* v_5_r = v_5 + r * (3*H);
        for (long i0 = 0; i0 < H; ++i0)
          *(v_5_r + i0) = *(v_4_r + i0);
        for (long i0 = 0; i0 < H; ++i0)
          *(v_5_r + H + i0) = *(v_3_r + i0);
        for (long i0 = 0; i0 < H; ++i0)
          *(v_5_r + 2*H + i0) = *(v_2_r + i0);
      }
      for (long r = 0; r < rows; ++r) {
        T* v_5_r = v_5 + r * (3*H);
        over<T, 3*H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_5_ = L::load(v_5_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_15 = v_5_;
          v_15.store(left0.at<T>(b + r, t) + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      multiply<T, 3*H, H>(rows, v_5, (3*H), panels_, v_6, H);
      for (long r = 0; r < rows; ++r) {
        T* v__r = v_ + r * H;
        T* z_r = z + r * H;
        T* v_6_r = v_6 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_16 = L::load(v__r + i0);
          const L z_ = L::load(z_r + i0);
          const L v_6_ = L::load(v_6_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_17 = v_16 * z_ + v_6_;
          v_17.store(d_h_1 + r * H + i0);
        });
      }
      for (long r = 0; call.reset.data && r < rows; ++r)
        if (call.resets(b + r, t)) {
          reduce(d_h_1 + r * H, 1, H, initial_sum);
          zero(d_h_1 + r * H, H);
        }
      std::swap(d_h_1_next, d_h_1);
    }
    for (long r = 0; r < rows; ++r) {
      const T* from = d_h_1_next + r * H;
      T* to = d_h_1_first.at<T>(b + r, 0);
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = initial_sum;
      T* to = parts_of_initial + part * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_;
      T* to = parts_of_sum + part * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_2;
      T* to = parts_of_sum_ + part * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_3;
      T* to = parts_of_sum_2 + part * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_4;
      T* to = parts_of_sum_3 + part * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
  });
  reduce(parts_of_sum, parts, H, d_b_r);
  reduce(parts_of_sum_, parts, H, d_b_z);
  reduce(parts_of_sum_2, parts, H, d_b_n);
  reduce(parts_of_sum_3, parts, H, d_c_n);
  reduce(parts_of_initial, parts, H, d_h_1_initial);
}

// Slices of params that are asked for: the first, the last, and how many there are.
EXPORT const int64_t h_slices[] = { 0 };

// Products over all steps that give gradients of matrices: static array, entries of [further, common, left, right], axes, sizes, order.
EXPORT const int64_t h_outers[] = { 1, 3, 0, 1, 1, 1, 3*H, H, 2, 3*H, H, 0, 1 };

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  const Array x_ = call.arrays[0];
  const T* W_r = call.arrays[1].at<const T>(0, 0);
  const T* W_z = call.arrays[2].at<const T>(0, 0);
  const T* W_n = call.arrays[3].at<const T>(0, 0);
  const T* R_r = call.arrays[4].at<const T>(0, 0);
  const T* R_z = call.arrays[5].at<const T>(0, 0);
  const T* R_n = call.arrays[6].at<const T>(0, 0);
  const T* b_r = call.arrays[7].at<const T>(0, 0);
  const T* b_z = call.arrays[8].at<const T>(0, 0);
  const T* b_n = call.arrays[9].at<const T>(0, 0);
  const T* c_n = call.arrays[10].at<const T>(0, 0);
  const Array h_first[] = {call.arrays[11]};
  const Array h_1_initial{};  // nothing is reset
  const Array h_all = call.arrays[12];
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
    T* v_3 = memory.take<T>(ROWS * H);
    T* v_4 = memory.take<T>(ROWS * H);
    T* v_5 = memory.take<T>(ROWS * H);
    T* x_rows = memory.take<T>(ROWS * D);
    T* h_1_rows = memory.take<T>(ROWS * H);
    for (long t = 0; t < call.steps; ++t) {
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_r = v + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_r, 1, D, v, H);
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v__r = v_ + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(h_1_rows + r * H + i0) = *(h_1_r + i0);
      }
      multiply_plain<T, H, H>(rows, h_1_rows, H, R_r, 1, H, v_, H);
      // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_2_r = v_2 + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_z, 1, D, v_2, H);
      // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v_3_r = v_3 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(h_1_rows + r * H + i0) = *(h_1_r + i0);
      }
      multiply_plain<T, H, H>(rows, h_1_rows, H, R_z, 1, H, v_3, H);
      // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_4_r = v_4 + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_n, 1, D, v_4, H);
      // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        T* v_5_r = v_5 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(h_1_rows + r * H + i0) = *(h_1_r + i0);
      }
      multiply_plain<T, H, H>(rows, h_1_rows, H, R_n, 1, H, v_5, H);
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        T* v__r = v_ + r * H;
        T* v_2_r = v_2 + r * H;
        T* v_3_r = v_3 + r * H;
        T* v_4_r = v_4 + r * H;
        T* v_5_r = v_5 + r * H;
        const T* h_1_r = old<T>(call, h_all, h_first, h_1_initial, 1, b + r, t);
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_6 = L::load(v_r + i0);
          const L v_7 = L::load(v__r + i0);
          const L b_r_ = L::load(b_r + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(v_6 + v_7 + b_r_);
          const L v_2_ = L::load(v_2_r + i0);
          const L v_3_ = L::load(v_3_r + i0);
          const L b_z_ = L::load(b_z + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z = sigmoid(v_2_ + v_3_ + b_z_);
          const L v_4_ = L::load(v_4_r + i0);
          const L b_n_ = L::load(b_n + i0);
          const L v_5_ = L::load(v_5_r + i0);
          const L c_n_ = L::load(c_n + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n = tanh(v_4_ + b_n_ + r_ * (v_5_ + c_n_));
          const L h_1_ = L::load(h_1_r + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L h = (T(1) - z) * n + z * h_1_;
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
