// Made by rnndsl 0.1.0 from gru.rnn, cell GRU. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// h, forwards: the states of all steps from the streams.
EXPORT void h_forward(const Call& call) {
  const Array W_x_product_ = call.arrays[0];
  const T* b_r_ = call.arrays[1].at<const T>(0, 0);
  const T* b_z_ = call.arrays[2].at<const T>(0, 0);
  const T* b_n_ = call.arrays[3].at<const T>(0, 0);
  const T* W_h_ = call.arrays[4].at<const T>(0, 0);
  const T* c_n_ = call.arrays[5].at<const T>(0, 0);
  const Array h_first_[] = {call.arrays[6]};
  const Array h_1_initial_ = call.arrays[7];
  const Array h_all_ = call.arrays[8];
  const Array h_1_final_ = call.arrays[9];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  Memory panels_memory_;
  T* panels_ = panels_memory_.take<T>(packed_size<T, H_, 3*H_>());
  for (long head = 0; head < 1; ++head)
    pack<T, H_, 3*H_>(W_h_ + head * ((3*H_) * H_ / (1)), 1, H_, panels_ + head * packed_size<T, H_, 3*H_>());
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v_kept_ = memory.take<T>(ROWS * (3*H_));
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    for (long t = 0; t < call.steps; ++t) {
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_kept_r_ = v_kept_ + r * (3*H_);
        for (long i0 = 0; i0 < H_; ++i0)
          *(h_1_rows_ + r * H_ + i0) = *(h_1_r_ + i0);
      }
      multiply<T, H_, 3*H_>(rows, h_1_rows_, H_, panels_, v_kept_, (3*H_));
      for (long r = 0; r < rows; ++r) {
        const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
        T* v_kept_r_ = v_kept_ + r * (3*H_);
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_x_product_2_ = L::load(W_x_product_r_ + i0);
          const L b_r_2_ = L::load(b_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_in_ = W_x_product_2_ + b_r_2_;
          const L W_x_product_3_ = L::load(W_x_product_r_ + H_ + i0);
          const L b_z_2_ = L::load(b_z_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_in_ = W_x_product_3_ + b_z_2_;
          const L W_x_product_4_ = L::load(W_x_product_r_ + 2*H_ + i0);
          const L b_n_2_ = L::load(b_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_in_ = W_x_product_4_ + b_n_2_;
          const L v_2_ = L::load(v_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(r_in_ + v_2_);
          const L v_3_ = L::load(v_kept_r_ + H_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_ = sigmoid(z_in_ + v_3_);
          const L v_4_ = L::load(v_kept_r_ + 2*H_ + i0);
          const L c_n_2_ = L::load(c_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_ = tanh(n_in_ + r_ * (v_4_ + c_n_2_));
          const L h_1_2_ = L::load(h_1_r_ + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L h_2_ = (T(1) - z_) * n_ + z_ * h_1_2_;
          h_2_.store(h_all_.at<T>(b + r, t) + i0);
        });
      }
    }
  });
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, call.steps, true);
    std::copy(from, from + H_, h_1_final_.at<T>(b, 0));
  }
}

// h, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void h_backward(const Call& call) {
  const Array W_x_product_ = call.arrays[0];
  const T* b_r_ = call.arrays[1].at<const T>(0, 0);
  const T* b_z_ = call.arrays[2].at<const T>(0, 0);
  const T* b_n_ = call.arrays[3].at<const T>(0, 0);
  const T* W_h_ = call.arrays[4].at<const T>(0, 0);
  const T* c_n_ = call.arrays[5].at<const T>(0, 0);
  const Array h_first_[] = {call.arrays[6]};
  const Array h_1_initial_ = call.arrays[7];
  const Array h_all_ = call.arrays[8];
  const Array d_h_ = call.arrays[9];
  const Array d_h_1_final_ = call.arrays[10];
  const Array d_W_x_product_ = call.arrays[11];
  T* d_b_r_ = call.arrays[12].at<T>(0, 0);
  T* d_b_z_ = call.arrays[13].at<T>(0, 0);
  T* d_b_n_ = call.arrays[14].at<T>(0, 0);
  T* d_W_h_ = call.arrays[15].at<T>(0, 0);
  T* d_c_n_ = call.arrays[16].at<T>(0, 0);
  const Array d_h_1_first_ = call.arrays[17];
  T* d_h_1_initial_ = call.arrays[18].at<T>(0, 0);
  const Array left0_ = call.arrays[19];
  const Array right0_ = call.arrays[20];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  Memory panels_memory_;
  T* panels_ = panels_memory_.take<T>(packed_size<T, H_, 3*H_>());
  for (long head = 0; head < 1; ++head)
    pack<T, H_, 3*H_>(W_h_ + head * ((3*H_) * H_ / (1)), 1, H_, panels_ + head * packed_size<T, H_, 3*H_>());
  Memory panels_2_memory_;
  T* panels_2_ = panels_2_memory_.take<T>(packed_size<T, 3*H_, H_>());
  for (long head = 0; head < 1; ++head)
    pack<T, 3*H_, H_>(W_h_ + head * ((3*H_) * H_ / (1)), H_, 1, panels_2_ + head * packed_size<T, 3*H_, H_>());
  Memory all;
  T* parts_of_sum_ = all.take<T>(parts * H_);
  zero(parts_of_sum_, parts * H_);
  T* parts_of_sum_2_ = all.take<T>(parts * H_);
  zero(parts_of_sum_2_, parts * H_);
  T* parts_of_sum_3_ = all.take<T>(parts * H_);
  zero(parts_of_sum_3_, parts * H_);
  T* parts_of_sum_4_ = all.take<T>(parts * H_);
  zero(parts_of_sum_4_, parts * H_);
  T* parts_of_initial_ = all.take<T>(parts * H_);
  zero(parts_of_initial_, parts * H_);
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v_kept_ = memory.take<T>(ROWS * (3*H_));
    T* z_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    T* v_4_kept_ = memory.take<T>(ROWS * H_);
    T* v_5_kept_ = memory.take<T>(ROWS * H_);
    T* v_6_kept_ = memory.take<T>(ROWS * (3*H_));
    T* v_7_kept_ = memory.take<T>(ROWS * H_);
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    T *d_h_1_next_ = memory.take<T>(ROWS * H_), *d_h_1_ = memory.take<T>(ROWS * H_);
    T* initial_sum_ = memory.take<T>(H_);
    zero(initial_sum_, H_);
    for (long r = 0; r < rows; ++r) {
      const T* from = d_h_1_final_.at<const T>(b + r, 0);
      T* to = d_h_1_next_ + r * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
    T* sum_ = memory.take<T>(H_);
    zero(sum_, H_);
    T* sum_2_ = memory.take<T>(H_);
    zero(sum_2_, H_);
    T* sum_3_ = memory.take<T>(H_);
    zero(sum_3_, H_);
    T* sum_4_ = memory.take<T>(H_);
    zero(sum_4_, H_);
    for (long t = call.steps - 1; t >= 0; --t) {
      for (long r = 0; r < rows; ++r) {
        const T* d_h_1_next_r_ = d_h_1_next_ + r * H_;
        const T* d_h_r_ = d_h_.at<const T>(b + r, t);
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L d_h_1_next_2_ = L::load(d_h_1_next_r_ + i0);
          const L d_h_2_ = L::load(d_h_r_ + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L v_2_ = d_h_1_next_2_ + d_h_2_;
          v_2_.store(v_2_kept_r_ + i0);
          const L h_1_2_ = L::load(h_1_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_8_ = h_1_2_;
          v_8_.store(right0_.at<T>(b + r, t) + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_kept_r_ = v_kept_ + r * (3*H_);
        for (long i0 = 0; i0 < H_; ++i0)
          *(h_1_rows_ + r * H_ + i0) = *(h_1_r_ + i0);
      }
      multiply<T, H_, 3*H_>(rows, h_1_rows_, H_, panels_, v_kept_, (3*H_));
      for (long r = 0; r < rows; ++r) {
        const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
        T* v_kept_r_ = v_kept_ + r * (3*H_);
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* z_kept_r_ = z_kept_ + r * H_;
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        T* v_4_kept_r_ = v_4_kept_ + r * H_;
        T* v_5_kept_r_ = v_5_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_x_product_2_ = L::load(W_x_product_r_ + i0);
          const L b_r_2_ = L::load(b_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_in_ = W_x_product_2_ + b_r_2_;
          const L W_x_product_3_ = L::load(W_x_product_r_ + H_ + i0);
          const L b_z_2_ = L::load(b_z_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_in_ = W_x_product_3_ + b_z_2_;
          const L W_x_product_4_ = L::load(W_x_product_r_ + 2*H_ + i0);
          const L b_n_2_ = L::load(b_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_in_ = W_x_product_4_ + b_n_2_;
          const L v_9_ = L::load(v_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(r_in_ + v_9_);
          const L v_10_ = L::load(v_kept_r_ + H_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_ = sigmoid(z_in_ + v_10_);
          z_.store(z_kept_r_ + i0);
          const L v_11_ = L::load(v_kept_r_ + 2*H_ + i0);
          const L c_n_2_ = L::load(c_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L v_12_ = v_11_ + c_n_2_;
          const L n_ = tanh(n_in_ + r_ * v_12_);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L v_13_ = T(1) - z_;
          const L v_2_2_ = L::load(v_2_kept_r_ + i0);
          const L h_1_3_ = L::load(h_1_r_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L v_14_ = v_2_2_ * v_13_ * (T(1) - n_ * n_);
          v_14_.store(d_W_x_product_.at<T>(b + r, t) + 2*H_ + i0);
          (L::load(sum_3_ + i0) + v_14_).store(sum_3_ + i0);
          const L v_3_ = v_14_ * r_;
          v_3_.store(v_3_kept_r_ + i0);
          (L::load(sum_4_ + i0) + v_3_).store(sum_4_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L v_4_ = (v_2_2_ * h_1_3_ - v_2_2_ * n_) * (v_13_ * z_);
          v_4_.store(v_4_kept_r_ + i0);
          v_4_.store(d_W_x_product_.at<T>(b + r, t) + H_ + i0);
          (L::load(sum_2_ + i0) + v_4_).store(sum_2_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_5_ = v_14_ * v_12_ * ((T(1) - r_) * r_);
          v_5_.store(v_5_kept_r_ + i0);
          v_5_.store(d_W_x_product_.at<T>(b + r, t) + i0);
          (L::load(sum_ + i0) + v_5_).store(sum_ + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        T* v_5_kept_r_ = v_5_kept_ + r * H_;
        T* v_4_kept_r_ = v_4_kept_ + r * H_;
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        T* v_6_kept_r_ = v_6_kept_ + r * (3*H_);
        for (long i0 = 0; i0 < H_; ++i0)
          *(v_6_kept_r_ + i0) = *(v_5_kept_r_ + i0);
        for (long i0 = 0; i0 < H_; ++i0)
          *(v_6_kept_r_ + H_ + i0) = *(v_4_kept_r_ + i0);
        for (long i0 = 0; i0 < H_; ++i0)
          *(v_6_kept_r_ + 2*H_ + i0) = *(v_3_kept_r_ + i0);
      }
      for (long r = 0; r < rows; ++r) {
        T* v_6_kept_r_ = v_6_kept_ + r * (3*H_);
        over<T, 3*H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_6_2_ = L::load(v_6_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_15_ = v_6_2_;
          v_15_.store(left0_.at<T>(b + r, t) + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      multiply<T, 3*H_, H_>(rows, v_6_kept_, (3*H_), panels_2_, v_7_kept_, H_);
      for (long r = 0; r < rows; ++r) {
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        T* z_kept_r_ = z_kept_ + r * H_;
        T* v_7_kept_r_ = v_7_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_2_3_ = L::load(v_2_kept_r_ + i0);
          const L z_2_ = L::load(z_kept_r_ + i0);
          const L v_7_2_ = L::load(v_7_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L v_16_ = v_2_3_ * z_2_ + v_7_2_;
          v_16_.store(d_h_1_ + r * H_ + i0);
        });
      }
      for (long r = 0; call.reset.data && r < rows; ++r)
        if (call.resets(b + r, t)) {
          reduce(d_h_1_ + r * H_, 1, H_, initial_sum_);
          zero(d_h_1_ + r * H_, H_);
        }
      std::swap(d_h_1_next_, d_h_1_);
    }
    for (long r = 0; r < rows; ++r) {
      const T* from = d_h_1_next_ + r * H_;
      T* to = d_h_1_first_.at<T>(b + r, 0);
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = initial_sum_;
      T* to = parts_of_initial_ + part * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_;
      T* to = parts_of_sum_ + part * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_2_;
      T* to = parts_of_sum_2_ + part * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_3_;
      T* to = parts_of_sum_3_ + part * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = sum_4_;
      T* to = parts_of_sum_4_ + part * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        to[i0] = from[i0];
    }
  });
  reduce(parts_of_sum_, parts, H_, d_b_r_);
  reduce(parts_of_sum_2_, parts, H_, d_b_z_);
  reduce(parts_of_sum_3_, parts, H_, d_b_n_);
  reduce(parts_of_sum_4_, parts, H_, d_c_n_);
  reduce(parts_of_initial_, parts, H_, d_h_1_initial_);
}

// Slices of params that are asked for: the first, the last, and how many there are.
EXPORT const int64_t h_slices[] = { 0 };

// Products over all steps that give gradients of matrices: static array, entries of [further, common, left, right], axes, sizes, order.
EXPORT const int64_t h_outers[] = { 1, 3, 0, 1, 1, 1, 3*H_, H_, 2, 3*H_, H_, 0, 1 };

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  const Array x_ = call.arrays[0];
  const T* W_r_ = call.arrays[1].at<const T>(0, 0);
  const T* W_z_ = call.arrays[2].at<const T>(0, 0);
  const T* W_n_ = call.arrays[3].at<const T>(0, 0);
  const T* R_r_ = call.arrays[4].at<const T>(0, 0);
  const T* R_z_ = call.arrays[5].at<const T>(0, 0);
  const T* R_n_ = call.arrays[6].at<const T>(0, 0);
  const T* b_r_ = call.arrays[7].at<const T>(0, 0);
  const T* b_z_ = call.arrays[8].at<const T>(0, 0);
  const T* b_n_ = call.arrays[9].at<const T>(0, 0);
  const T* c_n_ = call.arrays[10].at<const T>(0, 0);
  const Array h_first_[] = {call.arrays[11]};
  const Array h_1_initial_{};  // nothing is reset
  const Array h_all_ = call.arrays[12];
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
    T* v_4_kept_ = memory.take<T>(ROWS * H_);
    T* v_5_kept_ = memory.take<T>(ROWS * H_);
    T* v_6_kept_ = memory.take<T>(ROWS * H_);
    T* x_rows_ = memory.take<T>(ROWS * D_);
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    for (long t = 0; t < call.steps; ++t) {
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_kept_r_ = v_kept_ + r * H_;
        for (long i0 = 0; i0 < D_; ++i0)
          *(x_rows_ + r * D_ + i0) = *(x_r_ + i0);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_r_, 1, D_, v_kept_, H_);
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        for (long i0 = 0; i0 < H_; ++i0)
          *(h_1_rows_ + r * H_ + i0) = *(h_1_r_ + i0);
      }
      multiply_plain<T, H_, H_>(rows, h_1_rows_, H_, R_r_, 1, H_, v_2_kept_, H_);
      // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        for (long i0 = 0; i0 < D_; ++i0)
          *(x_rows_ + r * D_ + i0) = *(x_r_ + i0);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_z_, 1, D_, v_3_kept_, H_);
      // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_4_kept_r_ = v_4_kept_ + r * H_;
        for (long i0 = 0; i0 < H_; ++i0)
          *(h_1_rows_ + r * H_ + i0) = *(h_1_r_ + i0);
      }
      multiply_plain<T, H_, H_>(rows, h_1_rows_, H_, R_z_, 1, H_, v_4_kept_, H_);
      // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        T* v_5_kept_r_ = v_5_kept_ + r * H_;
        for (long i0 = 0; i0 < D_; ++i0)
          *(x_rows_ + r * D_ + i0) = *(x_r_ + i0);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_n_, 1, D_, v_5_kept_, H_);
      // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_6_kept_r_ = v_6_kept_ + r * H_;
        for (long i0 = 0; i0 < H_; ++i0)
          *(h_1_rows_ + r * H_ + i0) = *(h_1_r_ + i0);
      }
      multiply_plain<T, H_, H_>(rows, h_1_rows_, H_, R_n_, 1, H_, v_6_kept_, H_);
      for (long r = 0; r < rows; ++r) {
        T* v_kept_r_ = v_kept_ + r * H_;
        T* v_2_kept_r_ = v_2_kept_ + r * H_;
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        T* v_4_kept_r_ = v_4_kept_ + r * H_;
        T* v_5_kept_r_ = v_5_kept_ + r * H_;
        T* v_6_kept_r_ = v_6_kept_ + r * H_;
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_7_ = L::load(v_kept_r_ + i0);
          const L v_2_2_ = L::load(v_2_kept_r_ + i0);
          const L b_r_2_ = L::load(b_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(v_7_ + v_2_2_ + b_r_2_);
          const L v_3_2_ = L::load(v_3_kept_r_ + i0);
          const L v_4_2_ = L::load(v_4_kept_r_ + i0);
          const L b_z_2_ = L::load(b_z_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_ = sigmoid(v_3_2_ + v_4_2_ + b_z_2_);
          const L v_5_2_ = L::load(v_5_kept_r_ + i0);
          const L b_n_2_ = L::load(b_n_ + i0);
          const L v_6_2_ = L::load(v_6_kept_r_ + i0);
          const L c_n_2_ = L::load(c_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_ = tanh(v_5_2_ + b_n_2_ + r_ * (v_6_2_ + c_n_2_));
          const L h_1_2_ = L::load(h_1_r_ + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L h_2_ = (T(1) - z_) * n_ + z_ * h_1_2_;
          h_2_.store(h_all_.at<T>(b + r, t) + i0);
          h_2_.store(h_out_.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs, and the slices of params that it asks for.
EXPORT const int64_t step_shapes[] = { 1, H_ };
EXPORT const int64_t step_slices[] = { 0 };
