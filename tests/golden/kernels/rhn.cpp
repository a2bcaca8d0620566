// Made by rnndsl 0.2.0 from rhn.rnn, cell RHN. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

#ifndef ONE_STEP  // else only the function of a single step

// s, forwards: the states of all steps from the streams.
EXPORT void s_forward(const Call& call) {
  const T* R_t_ = call.arrays[1].at<const T>(0, 0);
  const T* R_h_ = call.arrays[2].at<const T>(0, 0);
  const Array s_first_[] = {call.arrays[3]};
  const Array s_1_initial_ = call.arrays[4];
  const Array s_all_ = call.arrays[5];
  const Array s_1_final_ = call.arrays[6];
  constexpr long MATRICES = (packed_size<T, H_, H_>() + packed_size<T, H_, H_>()) * sizeof(T);
  constexpr long AHEAD = 8;
  constexpr long ROWS = rows_with(MATRICES);
  const Units units(call, 1, ROWS, MATRICES);
  const Panels<T, H_, H_> R_t_panels_(R_t_, L_, L_ * (H_ * H_) / L_, 1, H_);
  const Panels<T, H_, H_> R_h_panels_(R_h_, L_, L_ * (H_ * H_) / L_, 1, H_);
  parallel(call, units, [&](long unit, Memory& memory, Crew& crew) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
    const auto ahead = [&](const Array& a) { return rows > 1 ? a.batch : a.time * AHEAD; };
    const Array W_x_product_ = call.arrays[0];
    const Array s_first_[] = {call.arrays[3]};
    const Array s_1_initial_ = call.arrays[4];
    const Array s_all_ = call.arrays[5];
    T* v_kept_ = memory.take<T>(ROWS * 1);
    T* R_t_v_2_kept_ = memory.take<T>(ROWS * H_);
    T* R_h_v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * 1);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    T *v_2_2_kept_ = memory.take<T>(ROWS * H_), *v_2_2_next_ = memory.take<T>(ROWS * H_);
    for (long t = 0; t < call.steps; ++t) {
      // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      crew.rows(rows, [&](long r) {
        const T* s_1_r_ = old<T>(call, s_all_, s_first_, s_1_initial_, 1, b + r, t);
        T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
        copy(s_1_r_, v_2_2_kept_r_, H_);
      });
      for (long k_ = 1; k_ <= L_; ++k_) {
        crew.rows(rows, [&](long r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k_)), L::fill(T(1)));
            v_.store(v_kept_r_);
          });
        });
        // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_2_2_kept_, H_, R_t_panels_[(long(T(k_)) - 1)], R_t_v_2_kept_, H_, part, parts); });
        // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_2_2_kept_, H_, R_h_panels_[(long(T(k_)) - 1)], R_h_v_2_kept_, H_, part, parts); });
        crew.rows(rows, [&](long r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
          T* R_t_v_2_kept_r_ = R_t_v_2_kept_ + r * H_;
          T* R_h_v_2_kept_r_ = R_h_v_2_kept_ + r * H_;
          T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
          over<T, H_>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_4_ = L::fill(*(v_kept_r_));
            const L W_x_product_2_ = L::load_ahead(W_x_product_r_ + i0, ahead(W_x_product_));
            const L R_t_v_2_2_ = L::load(R_t_v_2_kept_r_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L g_ = sigmoid(select(v_4_, W_x_product_2_, L::fill(T(0))) + R_t_v_2_2_);
            const L W_x_product_3_ = L::load_ahead(W_x_product_r_ + H_ + i0, ahead(W_x_product_));
            const L R_h_v_2_2_ = L::load(R_h_v_2_kept_r_ + i0);
            const L v_2_2_2_ = L::load(v_2_2_kept_r_ + i0);
            // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_5_ = g_ * tanh(select(v_4_, W_x_product_3_, L::fill(T(0))) + R_h_v_2_2_) + (T(1) - g_) * v_2_2_2_;
            v_5_.store(v_2_2_next_ + r * H_ + i0);
          });
        });
        copy(v_2_2_next_, v_2_2_kept_, rows * H_);
      }
      copy(v_2_2_kept_, v_3_kept_, rows * H_);
      // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      crew.rows(rows, [&](long r) {
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_3_2_ = L::load(v_3_kept_r_ + i0);
          // rhn.rnn:16  s[t] = v
          v_3_2_.store_ahead(s_all_.at<T>(b + r, t) + i0, ahead(s_all_));
        });
      });
    }
  });
  for (long b = 0; b < call.batch; ++b)
    copy(old<T>(call, s_all_, s_first_, s_1_initial_, 1, b, call.steps, true), s_1_final_.at<T>(b, 0), H_);
}

// s, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void s_backward(const Call& call) {
  const T* R_t_ = call.arrays[1].at<const T>(0, 0);
  const T* R_h_ = call.arrays[2].at<const T>(0, 0);
  T* d_s_1_initial_ = call.arrays[12].at<T>(0, 0);
  constexpr long MATRICES = (packed_size<T, H_, H_>() + packed_size<T, H_, H_>() + packed_size<T, H_, H_>() + packed_size<T, H_, H_>()) * sizeof(T);
  constexpr long AHEAD = -8;
  constexpr long ROWS = rows_with(MATRICES);
  const Units units(call, 1, ROWS, MATRICES);
  const Panels<T, H_, H_> R_t_panels_(R_t_, L_, L_ * (H_ * H_) / L_, 1, H_);
  const Panels<T, H_, H_> R_h_panels_(R_h_, L_, L_ * (H_ * H_) / L_, 1, H_);
  const Panels<T, H_, H_> R_h_panels_2_(R_h_, L_, L_ * (H_ * H_) / L_, H_, 1);
  const Panels<T, H_, H_> R_t_panels_2_(R_t_, L_, L_ * (H_ * H_) / L_, H_, 1);
  Memory all;
  T* d_s_1_initial_parts_ = all.zeros<T>(units.parts * H_);
  parallel(call, units, [&](long unit, Memory& memory, Crew& crew) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
    const auto ahead = [&](const Array& a) { return rows > 1 ? a.batch : a.time * AHEAD; };
    const Array W_x_product_ = call.arrays[0];
    const Array s_first_[] = {call.arrays[3]};
    const Array s_1_initial_ = call.arrays[4];
    const Array s_all_ = call.arrays[5];
    const Array d_s_ = call.arrays[6];
    const Array d_s_1_final_ = call.arrays[7];
    const Array d_W_x_product_ = call.arrays[8];
    const Array d_s_1_first_ = call.arrays[11];
    const Array left0_ = call.arrays[13];
    const Array right0_ = call.arrays[14];
    const Array left1_ = call.arrays[15];
    const Array right1_ = call.arrays[16];
    T* v_kept_ = memory.take<T>(ROWS * 1);
    T* R_t_v_2_kept_ = memory.take<T>(ROWS * H_);
    T* R_h_v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    T* v_4_kept_ = memory.take<T>(ROWS * H_);
    T* R_h_d_kept_ = memory.take<T>(ROWS * H_);
    T* v_5_kept_ = memory.take<T>(ROWS * H_);
    T* R_t_d_kept_ = memory.take<T>(ROWS * H_);
    T* v_6_kept_ = memory.take<T>(ROWS * 1);
    T* v_7_kept_ = memory.take<T>(ROWS * H_);
    T* v_8_kept_ = memory.take<T>(ROWS * H_);
    T* v_9_kept_ = memory.take<T>(ROWS * H_);
    T *v_2_2_kept_ = memory.take<T>(ROWS * H_), *v_2_2_next_ = memory.take<T>(ROWS * H_);
    T *v_10_kept_ = memory.take<T>(ROWS * H_), *v_10_next_ = memory.take<T>(ROWS * H_);
    T* v_2_2_rounds_ = memory.take<T>((L_ - 1 + 1) * ROWS * H_);
    T *d_s_1_next_ = memory.take<T>(ROWS * H_), *d_s_1_ = memory.take<T>(ROWS * H_);
    T* d_s_1_initial_sum_ = memory.zeros<T>(H_);
    for (long r = 0; r < rows; ++r)
      copy(d_s_1_final_.at<const T>(b + r, 0), d_s_1_next_ + r * H_, H_);
    for (long t = call.steps - 1; t >= 0; --t) {
      crew.rows(rows, [&](long r) {
        const T* d_s_1_next_r_ = d_s_1_next_ + r * H_;
        const T* d_s_r_ = d_s_.at<const T>(b + r, t);
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L d_s_1_next_2_ = L::load(d_s_1_next_r_ + i0);
          const L d_s_2_ = L::load_ahead(d_s_r_ + i0, ahead(d_s_));
          // rhn.rnn:16  s[t] = v
          const L v_3_ = d_s_1_next_2_ + d_s_2_;
          v_3_.store(v_3_kept_r_ + i0);
        });
      });
      // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      crew.rows(rows, [&](long r) {
        const T* s_1_r_ = old<T>(call, s_all_, s_first_, s_1_initial_, 1, b + r, t);
        T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
        copy(s_1_r_, v_2_2_kept_r_, H_);
      });
      for (long k_ = 1; k_ <= L_; ++k_) {
        copy(v_2_2_kept_, v_2_2_rounds_ + (k_ - 1) * ROWS * H_, rows * H_);
        crew.rows(rows, [&](long r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k_)), L::fill(T(1)));
            v_.store(v_kept_r_);
          });
        });
        // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_2_2_kept_, H_, R_t_panels_[(long(T(k_)) - 1)], R_t_v_2_kept_, H_, part, parts); });
        // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_2_2_kept_, H_, R_h_panels_[(long(T(k_)) - 1)], R_h_v_2_kept_, H_, part, parts); });
        crew.rows(rows, [&](long r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
          T* R_t_v_2_kept_r_ = R_t_v_2_kept_ + r * H_;
          T* R_h_v_2_kept_r_ = R_h_v_2_kept_ + r * H_;
          T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
          T* v_2_kept_r_ = v_2_kept_ + r * H_;
          over<T, H_>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_11_ = L::fill(*(v_kept_r_));
            const L W_x_product_2_ = L::load_ahead(W_x_product_r_ + i0, ahead(W_x_product_));
            const L R_t_v_2_2_ = L::load(R_t_v_2_kept_r_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L g_ = sigmoid(select(v_11_, W_x_product_2_, L::fill(T(0))) + R_t_v_2_2_);
            const L W_x_product_3_ = L::load_ahead(W_x_product_r_ + H_ + i0, ahead(W_x_product_));
            const L R_h_v_2_2_ = L::load(R_h_v_2_kept_r_ + i0);
            // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_2_ = T(1) - g_;
            v_2_.store(v_2_kept_r_ + i0);
            const L v_2_2_2_ = L::load(v_2_2_kept_r_ + i0);
            const L v_12_ = g_ * tanh(select(v_11_, W_x_product_3_, L::fill(T(0))) + R_h_v_2_2_) + v_2_ * v_2_2_2_;
            v_12_.store(v_2_2_next_ + r * H_ + i0);
          });
        });
        copy(v_2_2_next_, v_2_2_kept_, rows * H_);
      }
      crew.rows(rows, [&](long r) {
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        T* v_10_kept_r_ = v_10_kept_ + r * H_;
        copy(v_3_kept_r_, v_10_kept_r_, H_);
      });
      zero(v_8_kept_, ROWS * H_);
      zero(v_9_kept_, ROWS * H_);
      for (long k_ = L_; k_ >= 1; --k_) {
        copy(v_2_2_rounds_ + (k_ - 1) * ROWS * H_, v_2_2_kept_, rows * H_);
        crew.rows(rows, [&](long r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k_)), L::fill(T(1)));
            v_.store(v_kept_r_);
          });
        });
        crew.rows(rows, [&](long r) {
          T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
          over<T, H_>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_2_2_3_ = L::load(v_2_2_kept_r_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            v_2_2_3_.store_ahead(right0_.at<T>(b + r, t) + (k_ - 1) * H_ + i0, ahead(right0_));
            v_2_2_3_.store_ahead(right1_.at<T>(b + r, t) + (k_ - 1) * H_ + i0, ahead(right1_));
          });
        });
        // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_2_2_kept_, H_, R_t_panels_[(long(T(k_)) - 1)], R_t_v_2_kept_, H_, part, parts); });
        // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_2_2_kept_, H_, R_h_panels_[(long(T(k_)) - 1)], R_h_v_2_kept_, H_, part, parts); });
        crew.rows(rows, [&](long r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          const T* W_x_product_r_ = W_x_product_.at<const T>(b + r, t);
          T* R_t_v_2_kept_r_ = R_t_v_2_kept_ + r * H_;
          T* R_h_v_2_kept_r_ = R_h_v_2_kept_ + r * H_;
          T* v_10_kept_r_ = v_10_kept_ + r * H_;
          T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
          T* v_2_kept_r_ = v_2_kept_ + r * H_;
          T* v_4_kept_r_ = v_4_kept_ + r * H_;
          T* v_5_kept_r_ = v_5_kept_ + r * H_;
          over<T, H_>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_13_ = L::fill(*(v_kept_r_));
            const L W_x_product_4_ = L::load_ahead(W_x_product_r_ + i0, ahead(W_x_product_));
            const L R_t_v_2_3_ = L::load(R_t_v_2_kept_r_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L g_ = sigmoid(select(v_13_, W_x_product_4_, L::fill(T(0))) + R_t_v_2_3_);
            const L W_x_product_5_ = L::load_ahead(W_x_product_r_ + H_ + i0, ahead(W_x_product_));
            const L R_h_v_2_3_ = L::load(R_h_v_2_kept_r_ + i0);
            // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_14_ = tanh(select(v_13_, W_x_product_5_, L::fill(T(0))) + R_h_v_2_3_);
            const L v_2_ = T(1) - g_;
            v_2_.store(v_2_kept_r_ + i0);
            const L v_10_2_ = L::load(v_10_kept_r_ + i0);
            const L v_2_2_4_ = L::load(v_2_2_kept_r_ + i0);
            const L v_4_ = v_10_2_ * g_ * (T(1) - v_14_ * v_14_);
            v_4_.store(v_4_kept_r_ + i0);
            v_4_.store_ahead(left0_.at<T>(b + r, t) + (k_ - 1) * H_ + i0, ahead(left0_));
            const L v_15_ = select(v_13_, v_4_, L::fill(T(0)));
            (L::load(v_9_kept_ + r * H_ + i0) + v_15_).store(v_9_kept_ + r * H_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_5_ = (v_10_2_ * v_14_ - v_10_2_ * v_2_2_4_) * (v_2_ * g_);
            v_5_.store(v_5_kept_r_ + i0);
            v_5_.store_ahead(left1_.at<T>(b + r, t) + (k_ - 1) * H_ + i0, ahead(left1_));
            const L v_16_ = select(v_13_, v_5_, L::fill(T(0)));
            (L::load(v_8_kept_ + r * H_ + i0) + v_16_).store(v_8_kept_ + r * H_ + i0);
          });
        });
        // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_4_kept_, H_, R_h_panels_2_[(long(T(k_)) - 1)], R_h_d_kept_, H_, part, parts); });
        // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        crew.each([&](long part, long parts) { multiply<T, H_, H_>(rows, v_5_kept_, H_, R_t_panels_2_[(long(T(k_)) - 1)], R_t_d_kept_, H_, part, parts); });
        crew.rows(rows, [&](long r) {
          T* v_10_kept_r_ = v_10_kept_ + r * H_;
          T* v_2_kept_r_ = v_2_kept_ + r * H_;
          T* R_h_d_kept_r_ = R_h_d_kept_ + r * H_;
          T* R_t_d_kept_r_ = R_t_d_kept_ + r * H_;
          over<T, H_>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_10_3_ = L::load(v_10_kept_r_ + i0);
            const L v_2_3_ = L::load(v_2_kept_r_ + i0);
            const L R_h_d_2_ = L::load(R_h_d_kept_r_ + i0);
            const L R_t_d_2_ = L::load(R_t_d_kept_r_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_17_ = v_10_3_ * v_2_3_ + R_h_d_2_ + R_t_d_2_;
            v_17_.store(v_10_next_ + r * H_ + i0);
          });
        });
        copy(v_10_next_, v_10_kept_, rows * H_);
      }
      copy(v_10_kept_, v_7_kept_, rows * H_);
      // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      crew.rows(rows, [&](long r) {
        T* v_8_kept_r_ = v_8_kept_ + r * H_;
        T* v_9_kept_r_ = v_9_kept_ + r * H_;
        T* v_7_kept_r_ = v_7_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_8_2_ = L::load(v_8_kept_r_ + i0);
          // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
          v_8_2_.store_ahead(d_W_x_product_.at<T>(b + r, t) + i0, ahead(d_W_x_product_));
          const L v_9_2_ = L::load(v_9_kept_r_ + i0);
          v_9_2_.store_ahead(d_W_x_product_.at<T>(b + r, t) + H_ + i0, ahead(d_W_x_product_));
          const L v_7_2_ = L::load(v_7_kept_r_ + i0);
          v_7_2_.store(d_s_1_ + r * H_ + i0);
        });
      });
      for (long r = 0; call.reset.data && r < rows; ++r)
        if (call.resets(b + r, t)) {
          reduce(d_s_1_ + r * H_, 1, H_, d_s_1_initial_sum_);
          zero(d_s_1_ + r * H_, H_);
        }
      std::swap(d_s_1_next_, d_s_1_);
    }
    for (long r = 0; r < rows; ++r)
      copy(d_s_1_next_ + r * H_, d_s_1_first_.at<T>(b + r, 0), H_);
    copy(d_s_1_initial_sum_, d_s_1_initial_parts_ + part * H_, H_);
  });
  reduce(d_s_1_initial_parts_, units.parts, H_, d_s_1_initial_);
}

// What follows: how many, and of each how many axes, and their sizes; entries of the streams and of the statics that only it reads.
EXPORT const int64_t s_shapes[] = { 0 };
EXPORT const int64_t s_further[] = { 0, 0 };

// Products that the call forwards may save for the one backwards: how many; entries of each, and terms that an entry is a sum of.
EXPORT const int64_t s_saves[] = { 0 };

// Products over all steps that give gradients of matrices: static array, first slice, rounds, entries of [further, common, left, right], axes,
// sizes, order, and the stream whose gradient is the left factor, or -1.
EXPORT const int64_t s_outers[] = { 2, 1, 1, L_ - 1 + 1, 1, 1, H_, H_, 2, H_, H_, 0, 1, -1, 0, 1, L_ - 1 + 1, 1, 1, H_, H_, 2, H_, H_, 0, 1, -1 };

#else

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  constexpr long ROWS = 8;
  const Units units(call, 1, ROWS);
  parallel(call, units.count(), [&](long unit, Memory& memory) {
    const long part = unit, b = units.first_row(part), rows = units.rows(part);
    const Array x_ = call.arrays[0];
    const T* W_h_ = call.arrays[1].at<const T>(0, 0);
    const T* W_t_ = call.arrays[2].at<const T>(0, 0);
    const T* R_h_ = call.arrays[3].at<const T>(0, 0);
    const T* R_t_ = call.arrays[4].at<const T>(0, 0);
    const Array s_first_[] = {call.arrays[5]};
    const Array s_1_initial_{};  // nothing is reset
    const Array s_all_ = call.arrays[6];
    const Array s_out_ = call.arrays[7];
    T* v_kept_ = memory.take<T>(ROWS * 1);
    T* W_t_x_kept_ = memory.take<T>(ROWS * H_);
    T* R_t_v_2_kept_ = memory.take<T>(ROWS * H_);
    T* W_h_x_kept_ = memory.take<T>(ROWS * H_);
    T* R_h_v_2_kept_ = memory.take<T>(ROWS * H_);
    T* v_2_kept_ = memory.take<T>(ROWS * 1);
    T* v_3_kept_ = memory.take<T>(ROWS * H_);
    T *v_2_2_kept_ = memory.take<T>(ROWS * H_), *v_2_2_next_ = memory.take<T>(ROWS * H_);
    T* x_rows_ = memory.take<T>(ROWS * D_);
    for (long t = 0; t < call.steps; ++t) {
      // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_t_, 1, D_, W_t_x_kept_, H_);
      // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        const T* x_r_ = x_.at<const T>(b + r, t);
        copy(x_r_, x_rows_ + r * D_, D_);
      }
      multiply_plain<T, D_, H_>(rows, x_rows_, D_, W_h_, 1, D_, W_h_x_kept_, H_);
      // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        const T* s_1_r_ = old<T>(call, s_all_, s_first_, s_1_initial_, 1, b + r, t);
        T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
        copy(s_1_r_, v_2_2_kept_r_, H_);
      }
      for (long k_ = 1; k_ <= L_; ++k_) {
        for (long r = 0; r < rows; ++r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k_)), L::fill(T(1)));
            v_.store(v_kept_r_);
          });
        }
        // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        multiply_plain<T, H_, H_>(rows, v_2_2_kept_, H_, R_t_ + (long(T(k_)) - 1) * (H_ * H_), 1, H_, R_t_v_2_kept_, H_);
        // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        multiply_plain<T, H_, H_>(rows, v_2_2_kept_, H_, R_h_ + (long(T(k_)) - 1) * (H_ * H_), 1, H_, R_h_v_2_kept_, H_);
        for (long r = 0; r < rows; ++r) {
          T* v_kept_r_ = v_kept_ + r * 1;
          T* W_t_x_kept_r_ = W_t_x_kept_ + r * H_;
          T* R_t_v_2_kept_r_ = R_t_v_2_kept_ + r * H_;
          T* W_h_x_kept_r_ = W_h_x_kept_ + r * H_;
          T* R_h_v_2_kept_r_ = R_h_v_2_kept_ + r * H_;
          T* v_2_2_kept_r_ = v_2_2_kept_ + r * H_;
          over<T, H_>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_4_ = L::fill(*(v_kept_r_));
            const L W_t_x_2_ = L::load(W_t_x_kept_r_ + i0);
            const L R_t_v_2_2_ = L::load(R_t_v_2_kept_r_ + i0);
            // rhn.rnn:13  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L g_ = sigmoid(select(v_4_, W_t_x_2_, L::fill(T(0))) + R_t_v_2_2_);
            const L W_h_x_2_ = L::load(W_h_x_kept_r_ + i0);
            const L R_h_v_2_2_ = L::load(R_h_v_2_kept_r_ + i0);
            const L v_2_2_2_ = L::load(v_2_2_kept_r_ + i0);
            // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_5_ = g_ * tanh(select(v_4_, W_h_x_2_, L::fill(T(0))) + R_h_v_2_2_) + (T(1) - g_) * v_2_2_2_;
            v_5_.store(v_2_2_next_ + r * H_ + i0);
          });
        }
        copy(v_2_2_next_, v_2_2_kept_, rows * H_);
      }
      copy(v_2_2_kept_, v_3_kept_, rows * H_);
      // rhn.rnn:14  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        T* v_3_kept_r_ = v_3_kept_ + r * H_;
        over<T, H_>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_3_2_ = L::load(v_3_kept_r_ + i0);
          // rhn.rnn:16  s[t] = v
          v_3_2_.store(s_all_.at<T>(b + r, t) + i0);
          v_3_2_.store(s_out_.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs.
EXPORT const int64_t step_shapes[] = { 1, H_ };

#endif
