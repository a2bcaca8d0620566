// Made by rnndsl 0.2.0 from gru.rnn, cell GRU. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

#ifndef ONE_STEP  // else only the function of a single step

// h, forwards: the states of all steps from the streams.
EXPORT void h_forward(const Call& call) {
  const T* W_h_ = call.arrays[4].at<const T>(0, 0);
  const Array h_first_[] = {call.arrays[6]};
  const Array h_1_initial_ = call.arrays[7];
  const Array h_all_ = call.arrays[8];
  const Array h_1_final_ = call.arrays[9];
  constexpr long MATRICES = (packed_size<T, H_, 3*H_>()) * sizeof(T);
  constexpr long AHEAD = 8;
  constexpr long ROWS = rows_with(MATRICES);
  const Units units(call, 1, ROWS, MATRICES);
  const Panels<T, H_, 3*H_> W_h_panels_(W_h_, 1, (3*H_) * H_, 1, H_);
  parallel(call, units, [&](long unit, Memory& memory, Crew& crew) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
    const auto ahead = [&](const Array& a) { return rows > 1 ? a.batch : a.time * AHEAD; };
    const Array W_x_product_ = call.arrays[0];
    const T* b_r_ = call.arrays[1].at<const T>(0, 0);
    const T* b_z_ = call.arrays[2].at<const T>(0, 0);
    const T* b_n_ = call.arrays[3].at<const T>(0, 0);
    const T* c_n_ = call.arrays[5].at<const T>(0, 0);
    const Array h_first_[] = {call.arrays[6]};
    const Array h_1_initial_ = call.arrays[7];
    const Array h_all_ = call.arrays[8];
    const Array W_h_h_1_saved_ = call.arrays[10];
    T* W_h_h_1_kept_ = memory.take<T>(ROWS * (3*H_));
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    for (long t = 0; t < call.steps; ++t) {
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      T* W_h_h_1_at_ = W_h_h_1_saved_.data ? W_h_h_1_saved_.at<T>(b, t) : W_h_h_1_kept_;
      const long W_h_h_1_apart_ = W_h_h_1_saved_.data ? W_h_h_1_saved_.batch : 3*H_;
      crew.rows(rows, [&](long r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        copy(h_1_r_, h_1_rows_ + r * H_, H_);
      });
      crew.each([&](long part, long parts) { multiply<T, H_, 3*H_>(rows, h_1_rows_, H_, W_h_panels_[0], W_h_h_1_at_, W_h_h_1_apart_, part, parts); });
      crew.rows(rows, [&](long r) {
        const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
        T* W_h_h_1_kept_r_ = W_h_h_1_at_ + r * W_h_h_1_apart_;
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_x_product_2_ = L::load_ahead(W_x_product_r_ + i0, ahead(W_x_product_));
          const L b_r_2_ = L::load(b_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_in_ = W_x_product_2_ + b_r_2_;
          const L W_x_product_3_ = L::load_ahead(W_x_product_r_ + H_ + i0, ahead(W_x_product_));
          const L b_z_2_ = L::load(b_z_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_in_ = W_x_product_3_ + b_z_2_;
          const L W_x_product_4_ = L::load_ahead(W_x_product_r_ + 2*H_ + i0, ahead(W_x_product_));
          const L b_n_2_ = L::load(b_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_in_ = W_x_product_4_ + b_n_2_;
          const L W_h_h_1_2_ = L::load(W_h_h_1_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(r_in_ + W_h_h_1_2_);
          const L W_h_h_1_3_ = L::load(W_h_h_1_kept_r_ + H_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_ = sigmoid(z_in_ + W_h_h_1_3_);
          const L W_h_h_1_4_ = L::load(W_h_h_1_kept_r_ + 2*H_ + i0);
          const L c_n_2_ = L::load(c_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_ = tanh(n_in_ + r_ * (W_h_h_1_4_ + c_n_2_));
          const L h_1_2_ = L::load(h_1_r_ + i0);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L h_2_ = (T(1) - z_) * n_ + z_ * h_1_2_;
          h_2_.store_ahead(h_all_.at<T>(b + r, t) + i0, ahead(h_all_));
        });
      });
    }
  });
  for (long b = 0; b < call.batch; ++b)
    copy(old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, call.steps, true), h_1_final_.at<T>(b, 0), H_);
}

// h, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void h_backward(const Call& call) {
  const T* W_h_ = call.arrays[4].at<const T>(0, 0);
  T* d_b_r_ = call.arrays[12].at<T>(0, 0);
  T* d_b_z_ = call.arrays[13].at<T>(0, 0);
  T* d_b_n_ = call.arrays[14].at<T>(0, 0);
  T* d_c_n_ = call.arrays[16].at<T>(0, 0);
  T* d_h_1_initial_ = call.arrays[18].at<T>(0, 0);
  constexpr long MATRICES = (packed_size<T, H_, 3*H_>() + packed_size<T, 3*H_, H_>()) * sizeof(T);
  constexpr long AHEAD = -8;
  constexpr long ROWS = rows_with(MATRICES);
  const Units units(call, 1, ROWS, MATRICES);
  const Panels<T, H_, 3*H_> W_h_panels_(W_h_, 1, (3*H_) * H_, 1, H_);
  const Panels<T, 3*H_, H_> W_h_panels_2_(W_h_, 1, (3*H_) * H_, H_, 1);
  Memory all;
  T* d_b_r_parts_ = all.zeros<T>(units.parts * H_);
  T* d_b_z_parts_ = all.zeros<T>(units.parts * H_);
  T* d_b_n_parts_ = all.zeros<T>(units.parts * H_);
  T* d_c_n_parts_ = all.zeros<T>(units.parts * H_);
  T* d_h_1_initial_parts_ = all.zeros<T>(units.parts * H_);
  parallel(call, units, [&](long unit, Memory& memory, Crew& crew) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
    const auto ahead = [&](const Array& a) { return rows > 1 ? a.batch : a.time * AHEAD; };
    const Array W_x_product_ = call.arrays[0];
    const T* b_r_ = call.arrays[1].at<const T>(0, 0);
    const T* b_z_ = call.arrays[2].at<const T>(0, 0);
    const T* b_n_ = call.arrays[3].at<const T>(0, 0);
    const T* c_n_ = call.arrays[5].at<const T>(0, 0);
    const Array h_first_[] = {call.arrays[6]};
    const Array h_1_initial_ = call.arrays[7];
    const Array h_all_ = call.arrays[8];
    const Array d_h_ = call.arrays[9];
    const Array d_h_1_final_ = call.arrays[10];
    const Array d_W_x_product_ = call.arrays[11];
    const Array d_h_1_first_ = call.arrays[17];
    const Array left0_ = call.arrays[19];
    const Array right0_ = call.arrays[20];
    const Array W_h_h_1_saved_ = call.arrays[21];
    T* W_h_h_1_kept_ = memory.take<T>(ROWS * (3*H_));
    T* z_kept_ = memory.take<T>(ROWS * H_);
    T* v_kept_ = memory.take<T>(ROWS * H_);
    T* d_c_n_2_kept_ = memory.take<T>(ROWS * H_);
    T* d_W_x_product_2_kept_ = memory.take<T>(ROWS * H_);
    T* d_W_x_product_3_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * (3*H_));
    T* W_h_d_kept_ = memory.take<T>(ROWS * H_);
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    T *d_h_1_next_ = memory.take<T>(ROWS * H_), *d_h_1_ = memory.take<T>(ROWS * H_);
    T* d_h_1_initial_sum_ = memory.zeros<T>(H_);
    for (long r = 0; r < rows; ++r)
      copy(d_h_1_final_.at<const T>(b + r, 0), d_h_1_next_ + r * H_, H_);
    T* d_b_r_sum_ = memory.zeros<T>(H_);
    T* d_b_z_sum_ = memory.zeros<T>(H_);
    T* d_b_n_sum_ = memory.zeros<T>(H_);
    T* d_c_n_sum_ = memory.zeros<T>(H_);
    for (long t = call.steps - 1; t >= 0; --t) {
      crew.rows(rows, [&](long r) {
        const T* d_h_1_next_r_ = d_h_1_next_ + r * H_;
        const T* d_h_r_ = d_h_.at<const T>(b + r, t);
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* v_kept_r_ = v_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L d_h_1_next_2_ = L::load(d_h_1_next_r_ + i0);
          const L d_h_2_ = L::load_ahead(d_h_r_ + i0, ahead(d_h_));
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L v_ = d_h_1_next_2_ + d_h_2_;
          v_.store(v_kept_r_ + i0);
          const L h_1_2_ = L::load_ahead(h_1_r_ + i0, ahead(h_all_));
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          h_1_2_.store_ahead(right0_.at<T>(b + r, t) + i0, ahead(right0_));
        });
      });
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      T* W_h_h_1_at_ = W_h_h_1_saved_.data ? W_h_h_1_saved_.at<T>(b, t) : W_h_h_1_kept_;
      const long W_h_h_1_apart_ = W_h_h_1_saved_.data ? W_h_h_1_saved_.batch : 3*H_;
      if (!W_h_h_1_saved_.data) {
        crew.rows(rows, [&](long r) {
          const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
          copy(h_1_r_, h_1_rows_ + r * H_, H_);
        });
        crew.each([&](long part, long parts) { multiply<T, H_, 3*H_>(rows, h_1_rows_, H_, W_h_panels_[0], W_h_h_1_at_, W_h_h_1_apart_, part, parts); });
      }
      for (long r = 0; r < rows; ++r) {
        const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
        T* W_h_h_1_kept_r_ = W_h_h_1_at_ + r * W_h_h_1_apart_;
        T* v_kept_r_ = v_kept_ + r * H_;
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        T* z_kept_r_ = z_kept_ + r * H_;
        T* d_c_n_2_kept_r_ = d_c_n_2_kept_ + r * H_;
        T* d_W_x_product_2_kept_r_ = d_W_x_product_2_kept_ + r * H_;
        T* d_W_x_product_3_kept_r_ = d_W_x_product_3_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_x_product_2_ = L::load_ahead(W_x_product_r_ + i0, ahead(W_x_product_));
          const L b_r_2_ = L::load(b_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_in_ = W_x_product_2_ + b_r_2_;
          const L W_x_product_3_ = L::load_ahead(W_x_product_r_ + H_ + i0, ahead(W_x_product_));
          const L b_z_2_ = L::load(b_z_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_in_ = W_x_product_3_ + b_z_2_;
          const L W_x_product_4_ = L::load_ahead(W_x_product_r_ + 2*H_ + i0, ahead(W_x_product_));
          const L b_n_2_ = L::load(b_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_in_ = W_x_product_4_ + b_n_2_;
          const L W_h_h_1_2_ = L::load(W_h_h_1_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(r_in_ + W_h_h_1_2_);
          const L W_h_h_1_3_ = L::load(W_h_h_1_kept_r_ + H_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_ = sigmoid(z_in_ + W_h_h_1_3_);
          z_.store(z_kept_r_ + i0);
          const L W_h_h_1_4_ = L::load(W_h_h_1_kept_r_ + 2*H_ + i0);
          const L c_n_2_ = L::load(c_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L v_3_ = W_h_h_1_4_ + c_n_2_;
          const L n_ = tanh(n_in_ + r_ * v_3_);
          // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
          const L v_4_ = T(1) - z_;
          const L v_5_ = L::load(v_kept_r_ + i0);
          const L h_1_3_ = L::load_ahead(h_1_r_ + i0, ahead(h_all_));
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L d_W_x_product_4_ = v_5_ * v_4_ * (T(1) - n_ * n_);
          d_W_x_product_4_.store_ahead(d_W_x_product_.at<T>(b + r, t) + 2*H_ + i0, ahead(d_W_x_product_));
          (L::load(d_b_n_sum_ + i0) + d_W_x_product_4_).store(d_b_n_sum_ + i0);
          const L d_c_n_2_ = d_W_x_product_4_ * r_;
          d_c_n_2_.store(d_c_n_2_kept_r_ + i0);
          (L::load(d_c_n_sum_ + i0) + d_c_n_2_).store(d_c_n_sum_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L d_W_x_product_2_ = (v_5_ * h_1_3_ - v_5_ * n_) * (v_4_ * z_);
          d_W_x_product_2_.store(d_W_x_product_2_kept_r_ + i0);
          d_W_x_product_2_.store_ahead(d_W_x_product_.at<T>(b + r, t) + H_ + i0, ahead(d_W_x_product_));
          (L::load(d_b_z_sum_ + i0) + d_W_x_product_2_).store(d_b_z_sum_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L d_W_x_product_3_ = d_W_x_product_4_ * v_3_ * ((T(1) - r_) * r_);
          d_W_x_product_3_.store(d_W_x_product_3_kept_r_ + i0);
          d_W_x_product_3_.store_ahead(d_W_x_product_.at<T>(b + r, t) + i0, ahead(d_W_x_product_));
          (L::load(d_b_r_sum_ + i0) + d_W_x_product_3_).store(d_b_r_sum_ + i0);
        });
      }
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      crew.rows(rows, [&](long r) {
        T* d_W_x_product_3_kept_r_ = d_W_x_product_3_kept_ + r * H_;
        T* d_W_x_product_2_kept_r_ = d_W_x_product_2_kept_ + r * H_;
        T* d_c_n_2_kept_r_ = d_c_n_2_kept_ + r * H_;
        T* v_2_kept_r_ = v_2_kept_ + r * (3*H_);
        copy(d_W_x_product_3_kept_r_, v_2_kept_r_, H_);
        copy(d_W_x_product_2_kept_r_, v_2_kept_r_ + H_, H_);
        copy(d_c_n_2_kept_r_, v_2_kept_r_ + 2*H_, H_);
      });
      crew.rows(rows, [&](long r) {
        T* v_2_kept_r_ = v_2_kept_ + r * (3*H_);
        over<T, 3*H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_2_2_ = L::load(v_2_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          v_2_2_.store_ahead(left0_.at<T>(b + r, t) + i0, ahead(left0_));
        });
      });
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      crew.each([&](long part, long parts) { multiply<T, 3*H_, H_>(rows, v_2_kept_, (3*H_), W_h_panels_2_[0], W_h_d_kept_, H_, part, parts); });
      crew.rows(rows, [&](long r) {
        T* v_kept_r_ = v_kept_ + r * H_;
        T* z_kept_r_ = z_kept_ + r * H_;
        T* W_h_d_kept_r_ = W_h_d_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_6_ = L::load(v_kept_r_ + i0);
          const L z_2_ = L::load(z_kept_r_ + i0);
          const L W_h_d_2_ = L::load(W_h_d_kept_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L d_h_1_2_ = v_6_ * z_2_ + W_h_d_2_;
          d_h_1_2_.store(d_h_1_ + r * H_ + i0);
        });
      });
      for (long r = 0; call.reset.data && r < rows; ++r)
        if (call.resets(b + r, t)) {
          reduce(d_h_1_ + r * H_, 1, H_, d_h_1_initial_sum_);
          zero(d_h_1_ + r * H_, H_);
        }
      std::swap(d_h_1_next_, d_h_1_);
    }
    for (long r = 0; r < rows; ++r)
      copy(d_h_1_next_ + r * H_, d_h_1_first_.at<T>(b + r, 0), H_);
    copy(d_h_1_initial_sum_, d_h_1_initial_parts_ + part * H_, H_);
    copy(d_b_r_sum_, d_b_r_parts_ + part * H_, H_);
    copy(d_b_z_sum_, d_b_z_parts_ + part * H_, H_);
    copy(d_b_n_sum_, d_b_n_parts_ + part * H_, H_);
    copy(d_c_n_sum_, d_c_n_parts_ + part * H_, H_);
  });
  reduce(d_b_r_parts_, units.parts, H_, d_b_r_);
  reduce(d_b_z_parts_, units.parts, H_, d_b_z_);
  reduce(d_b_n_parts_, units.parts, H_, d_b_n_);
  reduce(d_c_n_parts_, units.parts, H_, d_c_n_);
  reduce(d_h_1_initial_parts_, units.parts, H_, d_h_1_initial_);
}

// What follows: how many, and of each how many axes, and their sizes; entries of the streams and of the statics that only it reads.
EXPORT const int64_t h_shapes[] = { 0 };
EXPORT const int64_t h_further[] = { 0, 0 };

// Products that the call forwards may save for the one backwards: how many; entries of each, and terms that an entry is a sum of.
EXPORT const int64_t h_saves[] = { 1, 3*H_, H_ };

// Products over all steps that give gradients of matrices: static array, first slice, rounds, entries of [further, common, left, right], axes,
// sizes, order, and the stream whose gradient is the left factor, or -1.
EXPORT const int64_t h_outers[] = { 1, 3, 0, 1, 1, 1, 3*H_, H_, 2, 3*H_, H_, 0, 1, -1 };

#else

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  constexpr long ROWS = 8;
  const Units units(call, 1, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
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
    T* W_r_x_kept_ = memory.take<T>(ROWS * H_);
    T* R_r_h_1_kept_ = memory.take<T>(ROWS * H_);
    T* W_z_x_kept_ = memory.take<T>(ROWS * H_);
    T* R_z_h_1_kept_ = memory.take<T>(ROWS * H_);
    T* W_n_x_kept_ = memory.take<T>(ROWS * H_);
    T* R_n_h_1_kept_ = memory.take<T>(ROWS * H_);
    T* x_rows_ = memory.take<T>(ROWS * D_);
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    for (long t = 0; t < call.steps; ++t) {
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_r_, 1, D_, W_r_x_kept_, H_);
      // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        copy(h_1_r_, h_1_rows_ + r * H_, H_);
      }
      multiply_plain<T, H_, H_>(rows, h_1_rows_, H_, R_r_, 1, H_, R_r_h_1_kept_, H_);
      // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_z_, 1, D_, W_z_x_kept_, H_);
      // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        copy(h_1_r_, h_1_rows_ + r * H_, H_);
      }
      multiply_plain<T, H_, H_>(rows, h_1_rows_, H_, R_z_, 1, H_, R_z_h_1_kept_, H_);
      // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_n_, 1, D_, W_n_x_kept_, H_);
      // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
      for (long r = 0; r < rows; ++r) {
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        copy(h_1_r_, h_1_rows_ + r * H_, H_);
      }
      multiply_plain<T, H_, H_>(rows, h_1_rows_, H_, R_n_, 1, H_, R_n_h_1_kept_, H_);
      for (long r = 0; r < rows; ++r) {
        T* W_r_x_kept_r_ = W_r_x_kept_ + r * H_;
        T* R_r_h_1_kept_r_ = R_r_h_1_kept_ + r * H_;
        T* W_z_x_kept_r_ = W_z_x_kept_ + r * H_;
        T* R_z_h_1_kept_r_ = R_z_h_1_kept_ + r * H_;
        T* W_n_x_kept_r_ = W_n_x_kept_ + r * H_;
        T* R_n_h_1_kept_r_ = R_n_h_1_kept_ + r * H_;
        const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b + r, t);
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L W_r_x_2_ = L::load(W_r_x_kept_r_ + i0);
          const L R_r_h_1_2_ = L::load(R_r_h_1_kept_r_ + i0);
          const L b_r_2_ = L::load(b_r_ + i0);
          // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
          const L r_ = sigmoid(W_r_x_2_ + R_r_h_1_2_ + b_r_2_);
          const L W_z_x_2_ = L::load(W_z_x_kept_r_ + i0);
          const L R_z_h_1_2_ = L::load(R_z_h_1_kept_r_ + i0);
          const L b_z_2_ = L::load(b_z_ + i0);
          // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
          const L z_ = sigmoid(W_z_x_2_ + R_z_h_1_2_ + b_z_2_);
          const L W_n_x_2_ = L::load(W_n_x_kept_r_ + i0);
          const L b_n_2_ = L::load(b_n_ + i0);
          const L R_n_h_1_2_ = L::load(R_n_h_1_kept_r_ + i0);
          const L c_n_2_ = L::load(c_n_ + i0);
          // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
          const L n_ = tanh(W_n_x_2_ + b_n_2_ + r_ * (R_n_h_1_2_ + c_n_2_));
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

// Shapes of its outputs.
EXPORT const int64_t step_shapes[] = { 1, H_ };

#endif
