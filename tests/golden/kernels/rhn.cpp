// Made by rnndsl 0.1.0 from rhn.rnn, cell RHN. Change the equations there, not here.
// Before this stand the type T and the sizes, as constants; kernel.h has what is not said here.
#include "kernel.h"

using namespace rnndsl;

// s, forwards: the states of all steps from the streams.
EXPORT void s_forward(const Call& call) {
  const Array W_x_product = call.arrays[0];
  const T* R_t = call.arrays[1].at<const T>(0, 0);
  const T* R_h = call.arrays[2].at<const T>(0, 0);
  const Array s_first[] = {call.arrays[3]};
  const Array s_1_initial = call.arrays[4];
  const Array s_all = call.arrays[5];
  const Array s_1_final = call.arrays[6];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  Memory panels_memory;
  T* panels = panels_memory.take<T>(L_ * (packed_size<T, H, H>()));
  for (long head = 0; head < L_; ++head)
    pack<T, H, H>(R_t + head * (L_ * (H * H) / (L_)), 1, H, panels + head * packed_size<T, H, H>());
  Memory panels__memory;
  T* panels_ = panels__memory.take<T>(L_ * (packed_size<T, H, H>()));
  for (long head = 0; head < L_; ++head)
    pack<T, H, H>(R_h + head * (L_ * (H * H) / (L_)), 1, H, panels_ + head * packed_size<T, H, H>());
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * H);
    T* v_ = memory.take<T>(ROWS * 1);
    T* v_2 = memory.take<T>(ROWS * H);
    T* v_3 = memory.take<T>(ROWS * H);
    T* v_4 = memory.take<T>(ROWS * 1);
    T* v_5 = memory.take<T>(ROWS * H);
    T *v_6 = memory.take<T>(ROWS * H), *v_6_next = memory.take<T>(ROWS * H);
    T *v_7 = memory.take<T>(ROWS * H), *v_7_next = memory.take<T>(ROWS * H);
    for (long t = 0; t < call.steps; ++t) {
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          // rhn.rnn:10  v = s[t-1]
          const L v = L::fill(T(0));
          v.store(v_r + i0);
        });
      }
      // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        T* v_6_r = v_6 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_6_r + i0) = *(v_r + i0);
      }
      for (long r = 0; r < rows; ++r) {
        const T* s_1_r = old<T>(call, s_all, s_first, s_1_initial, 1, b + r, t);
        T* v_7_r = v_7 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_7_r + i0) = *(s_1_r + i0);
      }
      for (long k = 1; k <= L_; ++k) {
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k)), L::fill(T(1)));
            v_.store(v__r);
          });
        }
        // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        multiply<T, H, H>(rows, v_7, H, panels + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_2, H);
        // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        multiply<T, H, H>(rows, v_7, H, panels_ + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_3, H);
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
          T* v_2_r = v_2 + r * H;
          T* v_3_r = v_3 + r * H;
          T* v_7_r = v_7 + r * H;
          over<T, H>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_8 = L::fill(*(v__r));
            const L W_x_product_ = L::load(W_x_product_r + i0);
            const L v_2_ = L::load(v_2_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_9 = sigmoid(select(v_8, W_x_product_, L::fill(T(0))) + v_2_);
            v_9.store(v_6_next + r * H + i0);
            const L W_x_product_2 = L::load(W_x_product_r + H + i0);
            const L v_3_ = L::load(v_3_r + i0);
            const L v_7_ = L::load(v_7_r + i0);
            // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_10 = v_9 * tanh(select(v_8, W_x_product_2, L::fill(T(0))) + v_3_) + (T(1) - v_9) * v_7_;
            v_10.store(v_7_next + r * H + i0);
          });
        }
        std::copy_n(v_6_next, rows * H, v_6);
        std::copy_n(v_7_next, rows * H, v_7);
      }
      std::copy_n(v_7, rows * H, v_5);
      // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        T* v_5_r = v_5 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_5_ = L::load(v_5_r + i0);
          // rhn.rnn:15  s[t] = v
          const L v_11 = v_5_;
          v_11.store(s_all.at<T>(b + r, t) + i0);
        });
      }
    }
  });
  for (long b = 0; b < call.batch; ++b) {
    const T* from = old<T>(call, s_all, s_first, s_1_initial, 1, b, call.steps, true);
    std::copy(from, from + H, s_1_final.at<T>(b, 0));
  }
}

// s, backwards: gradients of streams, params and first states; each step is computed again from the saved states.
EXPORT void s_backward(const Call& call) {
  const Array W_x_product = call.arrays[0];
  const T* R_t = call.arrays[1].at<const T>(0, 0);
  const T* R_h = call.arrays[2].at<const T>(0, 0);
  const Array s_first[] = {call.arrays[3]};
  const Array s_1_initial = call.arrays[4];
  const Array s_all = call.arrays[5];
  const Array d_s = call.arrays[6];
  const Array d_s_1_final = call.arrays[7];
  const Array d_W_x_product = call.arrays[8];
  T* d_R_t = call.arrays[9].at<T>(0, 0);
  T* d_R_h = call.arrays[10].at<T>(0, 0);
  const Array d_s_1_first = call.arrays[11];
  T* d_s_1_initial = call.arrays[12].at<T>(0, 0);
  const Array left0 = call.arrays[13];
  const Array right0 = call.arrays[14];
  const Array left1 = call.arrays[15];
  const Array right1 = call.arrays[16];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  Memory panels_memory;
  T* panels = panels_memory.take<T>(L_ * (packed_size<T, H, H>()));
  for (long head = 0; head < L_; ++head)
    pack<T, H, H>(R_t + head * (L_ * (H * H) / (L_)), 1, H, panels + head * packed_size<T, H, H>());
  Memory panels__memory;
  T* panels_ = panels__memory.take<T>(L_ * (packed_size<T, H, H>()));
  for (long head = 0; head < L_; ++head)
    pack<T, H, H>(R_h + head * (L_ * (H * H) / (L_)), 1, H, panels_ + head * packed_size<T, H, H>());
  Memory panels_2_memory;
  T* panels_2 = panels_2_memory.take<T>(L_ * (packed_size<T, H, H>()));
  for (long head = 0; head < L_; ++head)
    pack<T, H, H>(R_h + head * (L_ * (H * H) / (L_)), H, 1, panels_2 + head * packed_size<T, H, H>());
  Memory panels_3_memory;
  T* panels_3 = panels_3_memory.take<T>(L_ * (packed_size<T, H, H>()));
  for (long head = 0; head < L_; ++head)
    pack<T, H, H>(R_t + head * (L_ * (H * H) / (L_)), H, 1, panels_3 + head * packed_size<T, H, H>());
  Memory all;
  T* parts_of_initial = all.take<T>(parts * H);
  zero(parts_of_initial, parts * H);
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * H);
    T* v_ = memory.take<T>(ROWS * 1);
    T* v_2 = memory.take<T>(ROWS * H);
    T* v_3 = memory.take<T>(ROWS * H);
    T* v_4 = memory.take<T>(ROWS * H);
    T* v_5 = memory.take<T>(ROWS * H);
    T* v_6 = memory.take<T>(ROWS * H);
    T* v_7 = memory.take<T>(ROWS * H);
    T* v_8 = memory.take<T>(ROWS * H);
    T* v_9 = memory.take<T>(ROWS * H);
    T* v_10 = memory.take<T>(ROWS * 1);
    T* v_11 = memory.take<T>(ROWS * H);
    T* v_12 = memory.take<T>(ROWS * H);
    T* v_13 = memory.take<T>(ROWS * H);
    T *v_14 = memory.take<T>(ROWS * H), *v_14_next = memory.take<T>(ROWS * H);
    T *v_15 = memory.take<T>(ROWS * H), *v_15_next = memory.take<T>(ROWS * H);
    T *v_16 = memory.take<T>(ROWS * H), *v_16_next = memory.take<T>(ROWS * H);
    T *v_17 = memory.take<T>(ROWS * H), *v_17_next = memory.take<T>(ROWS * H);
    T* v_14_rounds = memory.take<T>((L_ - 1 + 1) * ROWS * H);
    T* v_15_rounds = memory.take<T>((L_ - 1 + 1) * ROWS * H);
    T *d_s_1_next = memory.take<T>(ROWS * H), *d_s_1 = memory.take<T>(ROWS * H);
    T* initial_sum = memory.take<T>(H);
    zero(initial_sum, H);
    for (long r = 0; r < rows; ++r) {
      const T* from = d_s_1_final.at<const T>(b + r, 0);
      T* to = d_s_1_next + r * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    for (long t = call.steps - 1; t >= 0; --t) {
      for (long r = 0; r < rows; ++r) {
        const T* d_s_1_next_r = d_s_1_next + r * H;
        const T* d_s_r = d_s.at<const T>(b + r, t);
        T* v_r = v + r * H;
        T* v_5_r = v_5 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          // rhn.rnn:10  v = s[t-1]
          const L v = L::fill(T(0));
          v.store(v_r + i0);
          const L d_s_1_next_ = L::load(d_s_1_next_r + i0);
          const L d_s_ = L::load(d_s_r + i0);
          // rhn.rnn:15  s[t] = v
          const L v_5 = d_s_1_next_ + d_s_;
          v_5.store(v_5_r + i0);
        });
      }
      // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        T* v_14_r = v_14 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_14_r + i0) = *(v_r + i0);
      }
      for (long r = 0; r < rows; ++r) {
        const T* s_1_r = old<T>(call, s_all, s_first, s_1_initial, 1, b + r, t);
        T* v_15_r = v_15 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_15_r + i0) = *(s_1_r + i0);
      }
      for (long k = 1; k <= L_; ++k) {
        std::copy_n(v_14, rows * H, v_14_rounds + (k - 1) * ROWS * H);
        std::copy_n(v_15, rows * H, v_15_rounds + (k - 1) * ROWS * H);
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k)), L::fill(T(1)));
            v_.store(v__r);
          });
        }
        // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        multiply<T, H, H>(rows, v_15, H, panels + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_2, H);
        // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        multiply<T, H, H>(rows, v_15, H, panels_ + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_3, H);
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
          T* v_2_r = v_2 + r * H;
          T* v_3_r = v_3 + r * H;
          T* v_15_r = v_15 + r * H;
          T* v_4_r = v_4 + r * H;
          over<T, H>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_18 = L::fill(*(v__r));
            const L W_x_product_ = L::load(W_x_product_r + i0);
            const L v_2_ = L::load(v_2_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_19 = sigmoid(select(v_18, W_x_product_, L::fill(T(0))) + v_2_);
            v_19.store(v_14_next + r * H + i0);
            const L W_x_product_2 = L::load(W_x_product_r + H + i0);
            const L v_3_ = L::load(v_3_r + i0);
            // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_4 = T(1) - v_19;
            v_4.store(v_4_r + i0);
            const L v_15_ = L::load(v_15_r + i0);
            const L v_20 = v_19 * tanh(select(v_18, W_x_product_2, L::fill(T(0))) + v_3_) + v_4 * v_15_;
            v_20.store(v_15_next + r * H + i0);
          });
        }
        std::copy_n(v_14_next, rows * H, v_14);
        std::copy_n(v_15_next, rows * H, v_15);
      }
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        T* v_16_r = v_16 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_16_r + i0) = *(v_r + i0);
      }
      for (long r = 0; r < rows; ++r) {
        T* v_5_r = v_5 + r * H;
        T* v_17_r = v_17 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_17_r + i0) = *(v_5_r + i0);
      }
      zero(v_12, ROWS * H);
      zero(v_13, ROWS * H);
      for (long k = L_; k >= 1; --k) {
        std::copy_n(v_14_rounds + (k - 1) * ROWS * H, rows * H, v_14);
        std::copy_n(v_15_rounds + (k - 1) * ROWS * H, rows * H, v_15);
        for (long r = 0; r < rows; ++r) {
          T* v_15_r = v_15 + r * H;
          T* v_r = v + r * H;
          over<T, H>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:10  v = s[t-1]
            const L v = L::fill(T(0));
            v.store(v_r + i0);
            v.store(v_16_next + r * H + i0);
            const L v_15_2 = L::load(v_15_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_21 = v_15_2;
            v_21.store(right0.at<T>(b + r, t) + (k - 1) * H + i0);
            v_21.store(right1.at<T>(b + r, t) + (k - 1) * H + i0);
          });
        }
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k)), L::fill(T(1)));
            v_.store(v__r);
          });
        }
        // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        multiply<T, H, H>(rows, v_15, H, panels + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_2, H);
        // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        multiply<T, H, H>(rows, v_15, H, panels_ + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_3, H);
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          const T* W_x_product_r = W_x_product.at<const T>(b + r, t);
          T* v_2_r = v_2 + r * H;
          T* v_3_r = v_3 + r * H;
          T* v_17_r = v_17 + r * H;
          T* v_15_r = v_15 + r * H;
          T* v_16_r = v_16 + r * H;
          T* v_4_r = v_4 + r * H;
          T* v_6_r = v_6 + r * H;
          T* v_8_r = v_8 + r * H;
          over<T, H>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_22 = L::fill(*(v__r));
            const L W_x_product_3 = L::load(W_x_product_r + i0);
            const L v_2_2 = L::load(v_2_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_19 = sigmoid(select(v_22, W_x_product_3, L::fill(T(0))) + v_2_2);
            const L W_x_product_4 = L::load(W_x_product_r + H + i0);
            const L v_3_2 = L::load(v_3_r + i0);
            // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_23 = tanh(select(v_22, W_x_product_4, L::fill(T(0))) + v_3_2);
            const L v_4 = T(1) - v_19;
            v_4.store(v_4_r + i0);
            const L v_17_ = L::load(v_17_r + i0);
            const L v_15_3 = L::load(v_15_r + i0);
            const L v_6 = v_17_ * v_19 * (T(1) - v_23 * v_23);
            v_6.store(v_6_r + i0);
            v_6.store(left0.at<T>(b + r, t) + (k - 1) * H + i0);
            const L v_24 = select(v_22, v_6, L::fill(T(0)));
            (L::load(v_13 + r * H + i0) + v_24).store(v_13 + r * H + i0);
            const L v_16_ = L::load(v_16_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_8 = (v_16_ + -(v_17_ * v_15_3) + v_17_ * v_23) * (v_4 * v_19);
            v_8.store(v_8_r + i0);
            v_8.store(left1.at<T>(b + r, t) + (k - 1) * H + i0);
            const L v_25 = select(v_22, v_8, L::fill(T(0)));
            (L::load(v_12 + r * H + i0) + v_25).store(v_12 + r * H + i0);
          });
        }
        // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        multiply<T, H, H>(rows, v_6, H, panels_2 + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_7, H);
        // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        multiply<T, H, H>(rows, v_8, H, panels_3 + (long(T(k)) - 1) * (packed_size<T, H, H>()), v_9, H);
        for (long r = 0; r < rows; ++r) {
          T* v_17_r = v_17 + r * H;
          T* v_4_r = v_4 + r * H;
          T* v_7_r = v_7 + r * H;
          T* v_9_r = v_9 + r * H;
          over<T, H>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_17_2 = L::load(v_17_r + i0);
            const L v_4_ = L::load(v_4_r + i0);
            const L v_7_ = L::load(v_7_r + i0);
            const L v_9_ = L::load(v_9_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_26 = v_17_2 * v_4_ + v_7_ + v_9_;
            v_26.store(v_17_next + r * H + i0);
          });
        }
        std::copy_n(v_16_next, rows * H, v_16);
        std::copy_n(v_17_next, rows * H, v_17);
      }
      std::copy_n(v_17, rows * H, v_11);
      // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      for (long r = 0; r < rows; ++r) {
        T* v_12_r = v_12 + r * H;
        T* v_13_r = v_13 + r * H;
        T* v_11_r = v_11 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_12_ = L::load(v_12_r + i0);
          // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
          const L v_27 = v_12_;
          v_27.store(d_W_x_product.at<T>(b + r, t) + i0);
          const L v_13_ = L::load(v_13_r + i0);
          const L v_28 = v_13_;
          v_28.store(d_W_x_product.at<T>(b + r, t) + H + i0);
          const L v_11_ = L::load(v_11_r + i0);
          const L v_29 = v_11_;
          v_29.store(d_s_1 + r * H + i0);
        });
      }
      for (long r = 0; call.reset.data && r < rows; ++r)
        if (call.resets(b + r, t)) {
          reduce(d_s_1 + r * H, 1, H, initial_sum);
          zero(d_s_1 + r * H, H);
        }
      std::swap(d_s_1_next, d_s_1);
    }
    for (long r = 0; r < rows; ++r) {
      const T* from = d_s_1_next + r * H;
      T* to = d_s_1_first.at<T>(b + r, 0);
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
    {
      const T* from = initial_sum;
      T* to = parts_of_initial + part * H;
      for (long i0 = 0; i0 < H; ++i0)
        to[i0] = from[i0];
    }
  });
  reduce(parts_of_initial, parts, H, d_s_1_initial);
}

// Slices of params that are asked for: the first, the last, and how many there are.
EXPORT const int64_t s_slices[] = { 1, long(T(1)), long(T(L_)), L_ };

// Products over all steps that give gradients of matrices: static array, entries of [further, common, left, right], axes, sizes, order.
EXPORT const int64_t s_outers[] = { 2, 1, 1, L_ - 1 + 1, 1, 1, H, H, 2, H, H, 0, 1, 0, 1, L_ - 1 + 1, 1, 1, H, H, 2, H, H, 0, 1 };

// One step of the whole cell, from inputs and params to outputs and new states.
EXPORT void step(const Call& call) {
  const Array x_ = call.arrays[0];
  const T* W_h = call.arrays[1].at<const T>(0, 0);
  const T* W_t = call.arrays[2].at<const T>(0, 0);
  const T* R_h = call.arrays[3].at<const T>(0, 0);
  const T* R_t = call.arrays[4].at<const T>(0, 0);
  const Array s_first[] = {call.arrays[5]};
  const Array s_1_initial{};  // nothing is reset
  const Array s_all = call.arrays[6];
  const Array s_out = call.arrays[7];
  constexpr long ROWS = 8;
  constexpr long OTHERS = 1;
  const long share = rows_of(call.batch, call.threads, OTHERS, ROWS);
  const long parts = (call.batch + share - 1) / share;
  parallel(call, parts * OTHERS, [&](long unit, Memory& memory) {
    long rest = unit;
    const long part = rest, b = part * share, rows = std::min(share, call.batch - b);
    T* v = memory.take<T>(ROWS * H);
    T* v_ = memory.take<T>(ROWS * 1);
    T* v_2 = memory.take<T>(ROWS * H);
    T* v_3 = memory.take<T>(ROWS * H);
    T* v_4 = memory.take<T>(ROWS * H);
    T* v_5 = memory.take<T>(ROWS * H);
    T* v_6 = memory.take<T>(ROWS * 1);
    T* v_7 = memory.take<T>(ROWS * H);
    T *v_8 = memory.take<T>(ROWS * H), *v_8_next = memory.take<T>(ROWS * H);
    T *v_9 = memory.take<T>(ROWS * H), *v_9_next = memory.take<T>(ROWS * H);
    T* x_rows = memory.take<T>(ROWS * D);
    for (long t = 0; t < call.steps; ++t) {
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          // rhn.rnn:10  v = s[t-1]
          const L v = L::fill(T(0));
          v.store(v_r + i0);
        });
      }
      // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_2_r = v_2 + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_t, 1, D, v_2, H);
      // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        const T* x__r = x_.at<const T>(b + r, t);
        T* v_4_r = v_4 + r * H;
        for (long i0 = 0; i0 < D; ++i0)
          *(x_rows + r * D + i0) = *(x__r + i0);
      }
      multiply_plain<T, D, H>(rows, x_rows, D, W_h, 1, D, v_4, H);
      // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        T* v_r = v + r * H;
        T* v_8_r = v_8 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_8_r + i0) = *(v_r + i0);
      }
      for (long r = 0; r < rows; ++r) {
        const T* s_1_r = old<T>(call, s_all, s_first, s_1_initial, 1, b + r, t);
        T* v_9_r = v_9 + r * H;
        for (long i0 = 0; i0 < H; ++i0)
          *(v_9_r + i0) = *(s_1_r + i0);
      }
      for (long k = 1; k <= L_; ++k) {
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          over<T, 1>([&](auto tag, long i) INLINED {
            using L = typename decltype(tag)::type;
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_ = eq(L::fill(T(k)), L::fill(T(1)));
            v_.store(v__r);
          });
        }
        // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
        multiply_plain<T, H, H>(rows, v_9, H, R_t + (long(T(k)) - 1) * (H * H), 1, H, v_3, H);
        // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
        multiply_plain<T, H, H>(rows, v_9, H, R_h + (long(T(k)) - 1) * (H * H), 1, H, v_5, H);
        for (long r = 0; r < rows; ++r) {
          T* v__r = v_ + r * 1;
          T* v_2_r = v_2 + r * H;
          T* v_3_r = v_3 + r * H;
          T* v_4_r = v_4 + r * H;
          T* v_5_r = v_5 + r * H;
          T* v_9_r = v_9 + r * H;
          over<T, H>([&](auto tag, long i0) INLINED {
            using L = typename decltype(tag)::type;
            const L v_10 = L::fill(*(v__r));
            const L v_2_ = L::load(v_2_r + i0);
            const L v_3_ = L::load(v_3_r + i0);
            // rhn.rnn:12  g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
            const L v_11 = sigmoid(select(v_10, v_2_, L::fill(T(0))) + v_3_);
            v_11.store(v_8_next + r * H + i0);
            const L v_4_ = L::load(v_4_r + i0);
            const L v_5_ = L::load(v_5_r + i0);
            const L v_9_ = L::load(v_9_r + i0);
            // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
            const L v_12 = v_11 * tanh(select(v_10, v_4_, L::fill(T(0))) + v_5_) + (T(1) - v_11) * v_9_;
            v_12.store(v_9_next + r * H + i0);
          });
        }
        std::copy_n(v_8_next, rows * H, v_8);
        std::copy_n(v_9_next, rows * H, v_9);
      }
      std::copy_n(v_9, rows * H, v_7);
      // rhn.rnn:13  v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
      for (long r = 0; r < rows; ++r) {
        T* v_7_r = v_7 + r * H;
        over<T, H>([&](auto tag, long i0) INLINED {
          using L = typename decltype(tag)::type;
          const L v_7_ = L::load(v_7_r + i0);
          // rhn.rnn:15  s[t] = v
          const L v_13 = v_7_;
          v_13.store(s_all.at<T>(b + r, t) + i0);
          v_13.store(s_out.at<T>(b + r, t) + i0);
        });
      }
    }
  });
}

// Shapes of its outputs, and the slices of params that it asks for.
EXPORT const int64_t step_shapes[] = { 1, H };
EXPORT const int64_t step_slices[] = { 1, long(T(1)), long(T(L_)), L_ };
