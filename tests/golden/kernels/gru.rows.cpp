// Made by rnndsl 0.2.0 from gru.rnn, cell GRU. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// What no row changes.
EXPORT void h_once(const Call& call) {
  constexpr long ROWS = 24;
  const Units units(call.steps, call.threads, call.batch, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit / call.batch, b = unit % call.batch, t = units.first_row(part), rows = units.rows(part);
    const T* W_h_ = call.arrays[3].at<const T>(0, 0);
    const Array fixed_out_ = call.arrays[5];
    const Array fixed_out_2_ = call.arrays[6];
    const Array fixed_out_3_ = call.arrays[7];
    T* v_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    for (long r = 0; r < rows; ++r) {
      T* v_kept_r_ = v_kept_ + r * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        *(v_kept_r_ + i0) = *(W_h_ + i0 * H_ + i0);
    }
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    for (long r = 0; r < rows; ++r) {
      T* v_2_kept_r_ = v_2_kept_ + r * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        *(v_2_kept_r_ + i0) = *(W_h_ + H_ * H_ + i0 * H_ + i0);
    }
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    for (long r = 0; r < rows; ++r) {
      T* v_3_kept_r_ = v_3_kept_ + r * H_;
      for (long i0 = 0; i0 < H_; ++i0)
        *(v_3_kept_r_ + i0) = *(W_h_ + (2*H_) * H_ + i0 * H_ + i0);
    }
    for (long r = 0; r < rows; ++r) {
      T* v_kept_r_ = v_kept_ + r * H_;
      T* v_2_kept_r_ = v_2_kept_ + r * H_;
      T* v_3_kept_r_ = v_3_kept_ + r * H_;
      over<T, H_>([&](auto tag, long i0) INLINED {
        using L = typename decltype(tag)::type;
        const L v_4_ = L::load(v_kept_r_ + i0);
        // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
        v_4_.store(fixed_out_.at<T>(b, t + r) + i0);
        const L v_2_2_ = L::load(v_2_kept_r_ + i0);
        v_2_2_.store(fixed_out_2_.at<T>(b, t + r) + i0);
        const L v_3_2_ = L::load(v_3_kept_r_ + i0);
        v_3_2_.store(fixed_out_3_.at<T>(b, t + r) + i0);
      });
    }
  });
}

// Shapes of what it makes: how many, and of each how many axes, and their sizes.
EXPORT const int64_t h_once_shapes[] = { 3, 1, H_, 1, H_, 1, H_ };

// New states of all rows, and their derivatives in old ones of the same channel.
EXPORT void h_look(const Call& call) {
  const T* W_h_ = call.arrays[4].at<const T>(0, 0);
  constexpr long ROWS = 24;
  const Units units(call.steps, call.threads, call.batch, ROWS);
  const Panels<T, H_, 3*H_> W_h_panels_(W_h_, 1, (3*H_) * H_, 1, H_);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit / call.batch, b = unit % call.batch, t = units.first_row(part), rows = units.rows(part);
    const Array W_x_product_ = call.arrays[0];
    const T* b_r_ = call.arrays[1].at<const T>(0, 0);
    const T* b_z_ = call.arrays[2].at<const T>(0, 0);
    const T* b_n_ = call.arrays[3].at<const T>(0, 0);
    const T* c_n_ = call.arrays[5].at<const T>(0, 0);
    const T* fixed_ = call.arrays[6].at<const T>(0, 0);
    const T* fixed_2_ = call.arrays[7].at<const T>(0, 0);
    const T* fixed_3_ = call.arrays[8].at<const T>(0, 0);
    const Array h_first_[] = {call.arrays[9]};
    const Array h_1_initial_ = call.arrays[10];
    const Array h_all_ = call.arrays[11];
    const Array new_h_out_ = call.arrays[12];
    const Array slope_out_ = call.arrays[13];
    T* W_h_h_1_kept_ = memory.take<T>(ROWS * (3*H_));
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    for (long r = 0; r < rows; ++r) {
      const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, t + r);
      copy(h_1_r_, h_1_rows_ + r * H_, H_);
    }
    multiply<T, H_, 3*H_>(rows, h_1_rows_, H_, W_h_panels_[0], W_h_h_1_kept_, (3*H_));
    for (long r = 0; r < rows; ++r) {
      const T* W_x_product_r_ = W_x_product_.at<const T>(b, t + r);
      T* W_h_h_1_kept_r_ = W_h_h_1_kept_ + r * (3*H_);
      const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, t + r);
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
        const L W_h_h_1_2_ = L::load(W_h_h_1_kept_r_ + i0);
        // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
        const L r_ = sigmoid(r_in_ + W_h_h_1_2_);
        const L W_h_h_1_3_ = L::load(W_h_h_1_kept_r_ + H_ + i0);
        // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
        const L z_ = sigmoid(z_in_ + W_h_h_1_3_);
        const L W_h_h_1_4_ = L::load(W_h_h_1_kept_r_ + 2*H_ + i0);
        const L c_n_2_ = L::load(c_n_ + i0);
        // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
        const L v_ = W_h_h_1_4_ + c_n_2_;
        const L n_ = tanh(n_in_ + r_ * v_);
        // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
        const L v_2_ = T(1) - z_;
        const L h_1_2_ = L::load(h_1_r_ + i0);
        const L h_2_ = v_2_ * n_ + z_ * h_1_2_;
        h_2_.store(new_h_out_.at<T>(b, t + r) + i0);
        const L fixed_4_ = L::load(fixed_ + i0);
        const L fixed_2_2_ = L::load(fixed_2_ + i0);
        // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
        const L v_3_ = v_2_ * z_ * fixed_2_2_;
        const L fixed_3_2_ = L::load(fixed_3_ + i0);
        // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
        const L v_4_ = n_ * -v_3_ + v_2_ * ((T(1) - n_ * n_) * (v_ * ((T(1) - r_) * r_ * fixed_4_) + r_ * fixed_3_2_)) + (h_1_2_ * v_3_ + z_);
        v_4_.store(slope_out_.at<T>(b, t + r) + i0);
      });
    }
  });
}

// Shapes of what it makes: how many, and of each how many axes, and their sizes.
EXPORT const int64_t h_look_shapes[] = { 2, 1, H_, 1, H_ };

// What gradients read of the values of all rows.
EXPORT void h_linear(const Call& call) {
  const T* W_h_ = call.arrays[4].at<const T>(0, 0);
  constexpr long ROWS = 24;
  const Units units(call.steps, call.threads, call.batch, ROWS);
  const Panels<T, H_, 3*H_> W_h_panels_(W_h_, 1, (3*H_) * H_, 1, H_);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit / call.batch, b = unit % call.batch, t = units.first_row(part), rows = units.rows(part);
    const Array W_x_product_ = call.arrays[0];
    const T* b_r_ = call.arrays[1].at<const T>(0, 0);
    const T* b_z_ = call.arrays[2].at<const T>(0, 0);
    const T* b_n_ = call.arrays[3].at<const T>(0, 0);
    const T* c_n_ = call.arrays[5].at<const T>(0, 0);
    const Array h_first_[] = {call.arrays[9]};
    const Array h_1_initial_ = call.arrays[10];
    const Array h_all_ = call.arrays[11];
    const Array saved_out_ = call.arrays[12];
    const Array r_out_ = call.arrays[13];
    const Array z_out_ = call.arrays[14];
    const Array saved_out_2_ = call.arrays[15];
    const Array n_out_ = call.arrays[16];
    const Array saved_out_3_ = call.arrays[17];
    const Array saved_out_4_ = call.arrays[18];
    const Array saved_out_5_ = call.arrays[19];
    const Array saved_out_6_ = call.arrays[20];
    T* W_h_h_1_kept_ = memory.take<T>(ROWS * (3*H_));
    T* h_1_rows_ = memory.take<T>(ROWS * H_);
    for (long r = 0; r < rows; ++r) {
      const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, t + r);
      over<T, H_>([&](auto tag, long i0) INLINED {
        using L = typename decltype(tag)::type;
        const L h_1_2_ = L::load(h_1_r_ + i0);
        // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
        h_1_2_.store(saved_out_.at<T>(b, t + r) + i0);
      });
    }
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    for (long r = 0; r < rows; ++r) {
      const T* h_1_r_ = old<T>(call, h_all_, h_first_, h_1_initial_, 1, b, t + r);
      copy(h_1_r_, h_1_rows_ + r * H_, H_);
    }
    multiply<T, H_, 3*H_>(rows, h_1_rows_, H_, W_h_panels_[0], W_h_h_1_kept_, (3*H_));
    for (long r = 0; r < rows; ++r) {
      const T* W_x_product_r_ = W_x_product_.at<const T>(b, t + r);
      T* W_h_h_1_kept_r_ = W_h_h_1_kept_ + r * (3*H_);
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
        const L W_h_h_1_2_ = L::load(W_h_h_1_kept_r_ + i0);
        // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
        const L r_ = sigmoid(r_in_ + W_h_h_1_2_);
        r_.store(r_out_.at<T>(b, t + r) + i0);
        const L W_h_h_1_3_ = L::load(W_h_h_1_kept_r_ + H_ + i0);
        // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
        const L z_ = sigmoid(z_in_ + W_h_h_1_3_);
        z_.store(z_out_.at<T>(b, t + r) + i0);
        const L W_h_h_1_4_ = L::load(W_h_h_1_kept_r_ + 2*H_ + i0);
        const L c_n_2_ = L::load(c_n_ + i0);
        // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
        const L v_ = W_h_h_1_4_ + c_n_2_;
        v_.store(saved_out_2_.at<T>(b, t + r) + i0);
        const L n_ = tanh(n_in_ + r_ * v_);
        n_.store(n_out_.at<T>(b, t + r) + i0);
        // gru.rnn:15  h[t] = (1 - z) * n + z * h[t-1]
        const L v_2_ = T(1) - z_;
        v_2_.store(saved_out_3_.at<T>(b, t + r) + i0);
        // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
        const L v_3_ = (T(1) - r_) * r_;
        v_3_.store(saved_out_4_.at<T>(b, t + r) + i0);
        // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
        const L v_4_ = v_2_ * z_;
        v_4_.store(saved_out_5_.at<T>(b, t + r) + i0);
        // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
        const L v_5_ = T(1) - n_ * n_;
        v_5_.store(saved_out_6_.at<T>(b, t + r) + i0);
      });
    }
  });
}

// Shapes of what it makes: how many, and of each how many axes, and their sizes.
EXPORT const int64_t h_linear_shapes[] = { 9, 1, H_, 1, H_, 1, H_, 1, H_, 1, H_, 1, H_, 1, H_, 1, H_, 1, H_ };

// What gradients of new states make of those of old ones.
EXPORT void h_pull(const Call& call) {
  const T* W_h_ = call.arrays[14].at<const T>(0, 0);
  constexpr long ROWS = 24;
  const Units units(call.steps, call.threads, call.batch, ROWS);
  const Panels<T, 3*H_, H_> W_h_panels_(W_h_, 1, (3*H_) * H_, H_, 1);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit / call.batch, b = unit % call.batch, t = units.first_row(part), rows = units.rows(part);
    const Array saved_ = call.arrays[1];
    const Array r_ = call.arrays[2];
    const Array z_ = call.arrays[3];
    const Array saved_2_ = call.arrays[4];
    const Array n_ = call.arrays[5];
    const Array saved_3_ = call.arrays[6];
    const Array saved_4_ = call.arrays[7];
    const Array saved_5_ = call.arrays[8];
    const Array saved_6_ = call.arrays[9];
    const Array d_h_1_ = call.arrays[10];
    const Array d_h_1_out_ = call.arrays[19];
    T* v_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    T* v_4_kept_ = memory.take<T>(ROWS * (3*H_));
    T* W_h_v_kept_ = memory.take<T>(ROWS * H_);
    for (long r = 0; r < rows; ++r) {
      const T* d_h_1_r_ = d_h_1_.at<const T>(b, t + r);
      const T* saved_r_ = saved_.at<const T>(b, t + r);
      const T* n_r_ = n_.at<const T>(b, t + r);
      const T* saved_3_r_ = saved_3_.at<const T>(b, t + r);
      const T* saved_6_r_ = saved_6_.at<const T>(b, t + r);
      const T* saved_2_r_ = saved_2_.at<const T>(b, t + r);
      const T* r_r_ = r_.at<const T>(b, t + r);
      const T* saved_5_r_ = saved_5_.at<const T>(b, t + r);
      const T* saved_4_r_ = saved_4_.at<const T>(b, t + r);
      T* v_kept_r_ = v_kept_ + r * H_;
      T* v_2_kept_r_ = v_2_kept_ + r * H_;
      T* v_3_kept_r_ = v_3_kept_ + r * H_;
      over<T, H_>([&](auto tag, long i0) INLINED {
        using L = typename decltype(tag)::type;
        const L d_h_1_2_ = L::load(d_h_1_r_ + i0);
        const L saved_7_ = L::load(saved_r_ + i0);
        const L n_2_ = L::load(n_r_ + i0);
        const L saved_3_2_ = L::load(saved_3_r_ + i0);
        const L saved_6_2_ = L::load(saved_6_r_ + i0);
        // gru.rnn:14  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
        const L v_5_ = d_h_1_2_ * saved_3_2_ * saved_6_2_;
        const L saved_2_2_ = L::load(saved_2_r_ + i0);
        const L r_2_ = L::load(r_r_ + i0);
        const L v_ = v_5_ * r_2_;
        v_.store(v_kept_r_ + i0);
        const L saved_5_2_ = L::load(saved_5_r_ + i0);
        // gru.rnn:13  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
        const L v_2_ = (d_h_1_2_ * saved_7_ - d_h_1_2_ * n_2_) * saved_5_2_;
        v_2_.store(v_2_kept_r_ + i0);
        const L saved_4_2_ = L::load(saved_4_r_ + i0);
        // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
        const L v_3_ = v_5_ * saved_2_2_ * saved_4_2_;
        v_3_.store(v_3_kept_r_ + i0);
      });
    }
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    for (long r = 0; r < rows; ++r) {
      T* v_3_kept_r_ = v_3_kept_ + r * H_;
      T* v_2_kept_r_ = v_2_kept_ + r * H_;
      T* v_kept_r_ = v_kept_ + r * H_;
      T* v_4_kept_r_ = v_4_kept_ + r * (3*H_);
      copy(v_3_kept_r_, v_4_kept_r_, H_);
      copy(v_2_kept_r_, v_4_kept_r_ + H_, H_);
      copy(v_kept_r_, v_4_kept_r_ + 2*H_, H_);
    }
    // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
    multiply<T, 3*H_, H_>(rows, v_4_kept_, (3*H_), W_h_panels_[0], W_h_v_kept_, H_);
    for (long r = 0; r < rows; ++r) {
      const T* d_h_1_r_ = d_h_1_.at<const T>(b, t + r);
      const T* z_r_ = z_.at<const T>(b, t + r);
      T* W_h_v_kept_r_ = W_h_v_kept_ + r * H_;
      over<T, H_>([&](auto tag, long i0) INLINED {
        using L = typename decltype(tag)::type;
        const L d_h_1_3_ = L::load(d_h_1_r_ + i0);
        const L z_2_ = L::load(z_r_ + i0);
        const L W_h_v_2_ = L::load(W_h_v_kept_r_ + i0);
        // gru.rnn:12  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
        const L v_6_ = d_h_1_3_ * z_2_ + W_h_v_2_;
        v_6_.store(d_h_1_out_.at<T>(b, t + r) + i0);
      });
    }
  });
}

// Shapes of what it makes: how many, and of each how many axes, and their sizes.
EXPORT const int64_t h_pull_shapes[] = { 1, 1, H_ };
