// Lanes: a few native vectors that are computed with as one, and the elementary functions of them.
//
// The functions stand in namespace math, written once for a number or a native vector V of them: a range reduction and
// a polynomial, without branches. benchmarks/coefficients.py derives the polynomials. The reductions lean on the order
// in which they are written, so no -ffast-math; but a * b + c may become one instruction, as gcc and clang make it.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "vector.h"

#define INLINED __attribute__((always_inline))  // of a lambda, behind its parameters

// Whether a * b + c is one instruction, with one rounding
#if defined(__FMA__) || defined(__aarch64__)
#define FUSED 1
#else
#define FUSED 0
#endif

namespace rnndsl {
namespace math {

// -- Numbers, vectors and their bits ----------------------------------------------------------------------------------

template <class V> constexpr bool IS_NUMBER = std::is_floating_point<V>::value;

template <class V> struct EntryOf { using type = std::decay_t<decltype(std::declval<V&>()[0])>; };
template <> struct EntryOf<float> { using type = float; };
template <> struct EntryOf<double> { using type = double; };
template <class V> using Entry = typename EntryOf<V>::type;  // float or double

template <class V> constexpr bool IS_FLOAT = std::is_same<Entry<V>, float>::value;

// Integers as wide as the entries, as many as there are entries
template <class V> using Integer = std::conditional_t<IS_FLOAT<V>, int32_t, int64_t>;
template <class V, class I> using Like = std::conditional_t<IS_NUMBER<V>, I, Vec<I>>;
template <class V> using Signed = Like<V, Integer<V>>;
template <class V> using Bits = Like<V, std::make_unsigned_t<Integer<V>>>;

template <class V> INLINE Bits<V> bits(V x) {
  Bits<V> result;
  std::memcpy(&result, &x, sizeof(x));
  return result;
}

template <class V> INLINE V from_bits(Bits<V> x) {
  V result;
  std::memcpy(&result, &x, sizeof(x));
  return result;
}

// c - 0 is c, for -0 too.
template <class V> INLINE V broadcast(Entry<V> c) { return c - V{}; }

template <class V> struct Constants {
  using T = Entry<V>;
  static constexpr int MANTISSA = IS_FLOAT<V> ? 23 : 52;        // bits
  static constexpr int BIAS = IS_FLOAT<V> ? 127 : 1023;         // of the exponent
  static constexpr T INFINITE = std::numeric_limits<T>::infinity();
  static constexpr T NOT_A_NUMBER = std::numeric_limits<T>::quiet_NaN();
  static constexpr T SMALLEST = std::numeric_limits<T>::min();  // that is not denormal
  static constexpr T ALL_INTEGERS = T(int64_t(1) << MANTISSA);  // from here on there are only integers
  static constexpr T TO_INTEGER = ALL_INTEGERS * T(1.5);        // added to x: the nearest integer is in the low bits
  static constexpr T EXP_LOW = IS_FLOAT<V> ? -104 : -746;       // exp is 0 below
  static constexpr T EXP_HIGH = IS_FLOAT<V> ? 89 : 710;         // and infinite above
  static constexpr T LOG2_E = T(0x1.71547652b82fep0);
  static constexpr T LN2 = T(0x1.62e42fefa39efp-1);
  static constexpr T LN2_HIGH = IS_FLOAT<V> ? T(0x1.62e4p-1) : T(0x1.62e42fefa38p-1);  // its multiples are exact
  static constexpr T LN2_LOW = IS_FLOAT<V> ? T(0x1.7f7d1cp-20) : T(0x1.ef35793c7673p-45);
  static constexpr T SQRT_HALF = T(0x1.6a09e667f3bcdp-1);
};

// Instructions that the vector extension cannot express: std::sqrt must set errno, and gcc takes two for a maximum.
#if defined(__AVX__)
#define INSTRUCTION(name, operands, ...)                                         \
  if constexpr (!IS_NUMBER<V>) {                                                 \
    V y;                                                                         \
    if constexpr (IS_FLOAT<V>) asm(name "ps " operands : "=x"(y) : __VA_ARGS__); \
    else asm(name "pd " operands : "=x"(y) : __VA_ARGS__);                       \
    return y;                                                                    \
  }
#else
#define INSTRUCTION(name, operands, ...)
#endif

// -- Comparing and choosing -------------------------------------------------------------------------------------------

template <class V> INLINE V lt(V a, V b) { return a < b ? broadcast<V>(1) : V{}; }
template <class V> INLINE V le(V a, V b) { return a <= b ? broadcast<V>(1) : V{}; }
template <class V> INLINE V gt(V a, V b) { return a > b ? broadcast<V>(1) : V{}; }
template <class V> INLINE V ge(V a, V b) { return a >= b ? broadcast<V>(1) : V{}; }
template <class V> INLINE V eq(V a, V b) { return a == b ? broadcast<V>(1) : V{}; }
template <class V> INLINE V ne(V a, V b) { return a != b ? broadcast<V>(1) : V{}; }
template <class V> INLINE V select(V condition, V a, V b) { return condition != V{} ? a : b; }

// The larger of the two, NaN where x is NaN
template <class V> INLINE V at_least(V x, V low) {
  INSTRUCTION("vmax", "%2, %1, %0", "x"(low), "x"(x))
  return low > x ? low : x;
}

// The smaller of the two, NaN where x is NaN
template <class V> INLINE V at_most(V x, V high) {
  INSTRUCTION("vmin", "%2, %1, %0", "x"(high), "x"(x))
  return high < x ? high : x;
}

template <class V> INLINE V clamp(V x, Entry<V> low, Entry<V> high) {
  return at_most(at_least(x, broadcast<V>(low)), broadcast<V>(high));
}

// As in PyTorch: NaN where either is NaN, but the sign of NaN is 0.
template <class V> INLINE V max(V a, V b) { return a != a ? a : at_least(b, a); }
template <class V> INLINE V min(V a, V b) { return a != a ? a : at_most(b, a); }
template <class V> INLINE V relu(V x) { return at_least(x, V{}); }
template <class V> INLINE V heaviside(V x) { return gt(x, V{}); }
template <class V> INLINE V sign(V x) { return gt(x, V{}) - lt(x, V{}); }

// -- Signs, roundings, roots and powers -------------------------------------------------------------------------------

template <class V> INLINE Bits<V> sign_bit(V x) { return bits(x) & bits(broadcast<V>(Entry<V>(-0.0))); }
template <class V> INLINE V flip_sign(V x, Bits<V> sign) { return from_bits<V>(bits(x) ^ sign); }
template <class V> INLINE V abs(V x) { return flip_sign(x, sign_bit(x)); }
template <class V> INLINE V negative(V x) { return -x; }

// The nearest whole number, of two the even one, where |x| is small enough to have others
template <class V> struct Rounded { V size, nearest; };
template <class V> INLINE Rounded<V> nearest_integer(V x) {
  constexpr Entry<V> ALL_INTEGERS = Constants<V>::ALL_INTEGERS;
  const Bits<V> sign = sign_bit(x);
  const V size = flip_sign(x, sign);
  return {size, flip_sign(V(size + ALL_INTEGERS - ALL_INTEGERS), sign)};
}
template <class V> INLINE V nearest(V x) {  // not `round`, which of a double is C's: away from zero
  const auto [size, nearest] = nearest_integer(x);
  return size < broadcast<V>(Constants<V>::ALL_INTEGERS) ? nearest : x;
}
template <class V> INLINE V floor(V x) {
  const auto [size, nearest] = nearest_integer(x);
  return size < broadcast<V>(Constants<V>::ALL_INTEGERS) ? nearest - gt(nearest, x) : x;
}

// A vector of f of the entries, one by one
template <class V, class F, class... A> INLINE V one_by_one(F f, A... x) {
  V y;
  for (int i = 0; i < WIDTH<Entry<V>>; ++i) y[i] = f(x[i]...);
  return y;
}

template <class V> INLINE V sqrt(V x) {
  INSTRUCTION("vsqrt", "%1, %0", "x"(x))
  if constexpr (IS_NUMBER<V>) return std::sqrt(x);
  else return one_by_one<V>([](auto x) INLINED { return std::sqrt(x); }, x);
}

template <class V> INLINE V reciprocal(V x) { return 1 / x; }
template <class V> INLINE V rsqrt(V x) { return reciprocal(sqrt(x)); }

template <class V> INLINE V pow(V x, V y) {
  if constexpr (IS_NUMBER<V>) return std::pow(x, y);
  else return one_by_one<V>([](auto x, auto y) INLINED { return std::pow(x, y); }, x, y);
}

template <class V> INLINE V erf(V x) {
  if constexpr (IS_NUMBER<V>) return std::erf(x);
  else return one_by_one<V>([](auto x) INLINED { return std::erf(x); }, x);
}

template <class V> INLINE V atan(V x) {
  if constexpr (IS_NUMBER<V>) return std::atan(x);
  else return one_by_one<V>([](auto x) INLINED { return std::atan(x); }, x);
}

// Of the complex number a + ib
template <class V> INLINE V angle(V a, V b) {
  if constexpr (IS_NUMBER<V>) return std::atan2(b, a);
  else return one_by_one<V>([](auto a, auto b) { return std::atan2(b, a); }, a, b);
}

// |a + ib|: by a power of two into the range of numbers whose squares neither vanish nor overflow, and back
template <class V> INLINE V modulus(V a, V b) {
  using T = Entry<V>;
  constexpr T UP = T(IS_FLOAT<V> ? 0x1p96 : 0x1p700), LARGE = T(IS_FLOAT<V> ? 0x1p50 : 0x1p400);
  const V size = max(abs(a), abs(b)), one = broadcast<V>(1);
  const V down = size > broadcast<V>(LARGE) ? broadcast<V>(1 / UP) : one, up = size < broadcast<V>(1 / LARGE) ? broadcast<V>(UP) : one;
  const V x = a * down * up, y = b * down * up;
  return sqrt(V(x * x + y * y)) * (size > broadcast<V>(LARGE) ? broadcast<V>(UP) : one) * (size < broadcast<V>(1 / LARGE) ? broadcast<V>(1 / UP) : one);
}

// (a + ib) / (c + id), by the ratio of the smaller of c and d to the larger one
template <class V> struct Divisor { V ratio, below; };
template <class V> INLINE Divisor<V> divisor(V c, V d) {
  const auto steep = abs(c) < abs(d);
  const V large = steep ? d : c, small = steep ? c : d, ratio = small / large;
  return {ratio, large + small * ratio};
}
template <class V> INLINE V quotient_re(V a, V b, V c, V d) {
  const auto [ratio, below] = divisor(c, d);
  return (abs(c) < abs(d) ? a * ratio + b : a + b * ratio) / below;
}
template <class V> INLINE V quotient_im(V a, V b, V c, V d) {
  const auto [ratio, below] = divisor(c, d);
  return (abs(c) < abs(d) ? b * ratio - a : b - a * ratio) / below;
}

// The root of a + ib whose real part is not negative: the larger of its parts has no difference in it, the other is b over twice that.
template <class V> INLINE V larger_of_root(V a, V b) { return sqrt(V(abs(a) * Entry<V>(0.5) + modulus(a, b) * Entry<V>(0.5))); }
template <class V> INLINE V smaller_of_root(V b, V larger) { return larger == V{} ? b : b / (larger * 2); }
template <class V> INLINE V root_re(V a, V b) {
  const V larger = larger_of_root(a, b);
  return a >= V{} ? larger : abs(smaller_of_root(b, larger));
}
template <class V> INLINE V root_im(V a, V b) {
  const V larger = larger_of_root(a, b);
  return a >= V{} ? smaller_of_root(b, larger) : flip_sign(larger, sign_bit(b));
}

template <int n, class V> INLINE V pow_int(V x) {
  if constexpr (n < 0) return reciprocal(pow_int<-n>(x));
  else if constexpr (n == 0) return broadcast<V>(1);
  else if constexpr (n == 1) return x;
  else if constexpr (n % 2 == 1) return pow_int<n - 1>(x) * x;
  else return pow_int<n / 2>(V(x * x));
}

// -- Exponentials -----------------------------------------------------------------------------------------------------

// c0 + c1 x + c2 x^2 + ..., by Horner's rule in x^2: half as many steps wait for each other as by that in x.
template <class V> INLINE V polynomial(V, V, Entry<V> c0) { return broadcast<V>(c0); }
template <class V> INLINE V polynomial(V x, V, Entry<V> c0, Entry<V> c1) { return x * c1 + c0; }
template <class V, class... C> INLINE V polynomial(V x, V square, Entry<V> c0, Entry<V> c1, C... higher) {
  return polynomial(x, square, higher...) * square + (x * c1 + c0);
}

// x = n ln 2 + r for the integer n nearest to x / ln 2, and power = 2^(n + more)
template <class V> struct Reduced { V r, power; };

template <int more = 0, class V> INLINE Reduced<V> reduce(V x) {
  using C = Constants<V>;
  constexpr Entry<V> SHIFT = C::TO_INTEGER + (C::BIAS + more);
  const V shifted = x * C::LOG2_E + SHIFT;  // in its low bits n + BIAS + more, which is the exponent of the power
  const V n = shifted - SHIFT;
  return {(x - n * C::LN2_HIGH) - n * C::LN2_LOW, from_bits<V>(bits(shifted) << C::MANTISSA)};
}

// exp(r) - 1 for |r| <= ln(2) / 2
template <class V> INLINE V expm1_near_zero(V r) {
  const V square = r * r;
  V p;
  if constexpr (IS_FLOAT<V>) {
    p = polynomial(r, square, 0.49999997f, 0.16666543f, 0.0416672f, 0.008366514f, 0.0013882528f);
  } else {
    p = polynomial(r, square, 0.5000000000000006, 0.16666666666666588, 0.04166666666657683, 0.008333333333389535,
                   0.0013888888931538426, 0.00019841269719015746, 2.480150530742236e-05, 2.755740756930532e-06,
                   2.762602387500329e-07, 2.505375399827226e-08);
  }
  return square * p + r;
}

// exp(x / 2)^2: the root is always a normal number, and its square overflows or becomes denormal where exp does.
template <class V> INLINE V exp(V x) {
  const V half = clamp(x, Constants<V>::EXP_LOW, Constants<V>::EXP_HIGH) * Entry<V>(0.5);
  const auto [r, power] = reduce(half);
  const V root = (expm1_near_zero(r) + 1) * power;
  return root * root;
}

// exp(x) where x <= 50, without the square's error: 2^(n + MORE) is a normal number, only the result may be denormal.
template <class V> INLINE V exp_below_50(V x) {
  using C = Constants<V>;
  constexpr int MORE = C::MANTISSA + 7;
  const auto [r, power] = reduce<MORE>(at_least(x, broadcast<V>(C::EXP_LOW)));
  return (expm1_near_zero(r) + 1) * power * (1 / Entry<V>(int64_t(1) << MORE));
}

// 2^n (exp(r) - 1) + (2^n - 1), by halves, since 2^n overflows before the result does
template <class V> INLINE V expm1(V x) {
  const auto [r, half] = reduce<-1>(clamp(x, -50, Constants<V>::EXP_HIGH));
  return (half * expm1_near_zero(r) + (half - Entry<V>(0.5))) * 2;
}

// exp(x) / 2 for x from 0 on, by a quarter of 2^n, since 2^n overflows before the result does
template <class V> INLINE V half_exp(V x) {
  const auto [r, quarter] = reduce<-2>(at_most(x, broadcast<V>(Constants<V>::EXP_HIGH + 1)));
  return (expm1_near_zero(r) + 1) * quarter * 2;
}
template <class V> INLINE V cosh(V x) {
  const V half = half_exp(abs(x));
  return half + Entry<V>(0.25) / half;
}

// Near 0 by m = exp(|x|) - 1, which cancels nothing
template <class V> INLINE V sinh(V x) {
  const Bits<V> sign = sign_bit(x);
  const V size = flip_sign(x, sign), half = half_exp(size), m = expm1(at_most(size, broadcast<V>(1)));
  const V near = (m + m / (m + 1)) * Entry<V>(0.5);
  return flip_sign(V(size < broadcast<V>(1) ? near : half - Entry<V>(0.25) / half), sign);
}

// a = r coth(r / 2) for |r| <= ln(2) / 2, with which exp(r) = (a + r) / (a - r). It is even: half the terms of exp.
template <class V> INLINE V r_coth_half_r(V r) {
  const V square = r * r, fourth = square * square;
  if constexpr (IS_FLOAT<V>) {
    return square * polynomial(square, fourth, 0.16666625f, -0.0027667638f) + 2;
  } else {
    return square * polynomial(square, fourth, 0.16666666666666602, -0.002777777777701762, 6.613756322019816e-05,
                               -1.653390282516322e-06, 4.1381590036929235e-08) + 2;
  }
}

// 1 / (1 + exp(-x)) for exp(-x) = 2^n (a + r) / (a - r), as (a - r) / ((a - r) + 2^n (a + r)). Both sides of
// this fraction are taken over 2^LESS, since 2^n may overflow before the result is 0.
template <class V> INLINE V sigmoid(V x) {
  using C = Constants<V>;
  constexpr int LESS = C::MANTISSA + 7;
  const auto [r, power] = reduce<-LESS>(V(-clamp(x, C::EXP_LOW, 50)));
  const V a = r_coth_half_r(r), rest = (a - r) * (1 / Entry<V>(int64_t(1) << LESS));
  return rest / (power * (a + r) + rest);
}

// (exp(2x) - 1) / (exp(2x) + 1) for exp(2x) = 2^n (a + r) / (a - r), arranged so that little cancels near 0. One part
// of ln(2) is enough here: the larger n is, the less tanh depends on r. Where products and sums are rounded each by
// itself that loses a digit: there it is m / (m + 2) for m = exp(2 |x|) - 1, with the sign of x.
template <class V> INLINE V tanh(V x) {
#if FUSED
  using C = Constants<V>;
  constexpr Entry<V> SHIFT = C::TO_INTEGER + C::BIAS;
  const V within = clamp(x, -25, 25);
  const V shifted = within * (2 * C::LOG2_E) + SHIFT, n = shifted - SHIFT;
  const V r = within * 2 - n * C::LN2, a = r_coth_half_r(r);
  const V power = from_bits<V>(bits(shifted) << C::MANTISSA), more = 1 + power, less = 1 - power;
  return (r * more - a * less) / (a * more - r * less);  // in this order -0 stays -0
#else
  const Bits<V> sign = sign_bit(x);
  const V size = at_most(flip_sign(x, sign), broadcast<V>(25));
  const auto [r, power] = reduce(V(size + size));
  const V m = power * expm1_near_zero(r) + (power - 1);
  return flip_sign(V(m / (m + 2)), sign);
#endif
}

// -- Logarithms -------------------------------------------------------------------------------------------------------

// log(1 + f) = 2 atanh(s), which takes a division but in double far fewer terms than log(1 + f) = f + f^2 p(f)
template <class V, class... C> INLINE V log1p_by_atanh(V f, C... coefficients) {
  const V s = f / (f + 2), square = s * s;
  return s * (square * polynomial(square, V(square * square), coefficients...) + 2);
}
template <class V, class... C> INLINE V log1p_plainly(V f, C... coefficients) {
  const V square = f * f;
  return square * polynomial(f, square, coefficients...) + f;
}

// log(1 + f) where 1 + f is between sqrt(1/2) and sqrt(2)
template <class V> INLINE V log1p_near_zero(V f) {
  if constexpr (IS_FLOAT<V>) {
    return log1p_plainly(f, -0.4999999f, 0.3333395f, -0.25001755f, 0.19962072f, -0.1657051f, 0.1491797f,
                         -0.14307512f, 0.08734842f);
  } else {
    return log1p_by_atanh(f, 0.6666666666666734, 0.39999999999416386, 0.28571428742013105, 0.2222219861093538,
                          0.18183562400792008, 0.1531409888221333, 0.1479547514902491);
  }
}

// log(1 + f) where f is between 0 and 1
template <class V> INLINE V log1p_of_fraction(V f) {
  if constexpr (IS_FLOAT<V>) {
    return log1p_plainly(f, -0.49999648f, 0.33321324f, -0.24857165f, 0.19153658f, -0.13753808f, 0.079204574f,
                         -0.03006581f, 0.0053648283f);
  } else {
    return log1p_by_atanh(f, 0.6666666666667769, 0.39999999996050123, 0.285714290579594, 0.22222192906322102,
                          0.18182814031444897, 0.15364296117966583, 0.13586309244296832, 0.0990284384811952,
                          0.17739715121287977);
  }
}

// x = 2^n (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), and n as the bits that it adds to a number's exponent
template <class V> struct Decomposed { V f, n; Bits<V> exponent; };

// Of a positive normal number
template <class V> INLINE Decomposed<V> decompose(V x) {
  using C = Constants<V>;
  const Bits<V> offset = bits(x) - bits(broadcast<V>(C::SQRT_HALF)), to_integer = bits(broadcast<V>(C::TO_INTEGER));
  const Bits<V> exponent = offset & bits(broadcast<V>(-C::INFINITE));
  const V n = from_bits<V>((Bits<V>)((Signed<V>)offset >> C::MANTISSA) + to_integer) - C::TO_INTEGER;
  return {from_bits<V>(bits(x) - exponent) - 1, n, exponent};
}

// log(x) = n ln 2 + log(1 + f), but -inf of 0, NaN below 0, inf of inf
template <class V> INLINE V compose(V x, V f, V n) {
  using C = Constants<V>;
  const V y = n * C::LN2_HIGH + (n * C::LN2_LOW + log1p_near_zero(f));
  const V from_zero = x > V{} ? y : x == V{} ? broadcast<V>(-C::INFINITE) : broadcast<V>(C::NOT_A_NUMBER);
  return x < broadcast<V>(C::INFINITE) ? from_zero : x;
}

template <class V> INLINE V log(V x) {
  using C = Constants<V>;
  const auto denormal = x < broadcast<V>(C::SMALLEST);
  const auto [f, n, exponent] = decompose(V(denormal ? x * C::ALL_INTEGERS : x));
  return compose(x, f, V(n - (denormal ? broadcast<V>(C::MANTISSA) : V{})));
}

// log(u) for u = 1 + x as rounded, with what the rounding lost added to f: by halves, since 2^-n may be denormal
template <class V> INLINE V log1p(V x) {
  const V u = x + 1, half_lost = (x - (u - 1)) * Entry<V>(0.5);
  const auto [f, n, exponent] = decompose(u);
  const V two_to_1_minus_n = from_bits<V>(bits(broadcast<V>(2)) - exponent);
  return compose(u, V(half_lost * two_to_1_minus_n + f), n);
}

// log(1 + exp(-|x|))
template <class V> INLINE V log1p_exp_minus_abs(V x) { return log1p_of_fraction(exp_below_50(V(-abs(x)))); }

template <class V> INLINE V softplus(V x) { return relu(x) + log1p_exp_minus_abs(x); }
template <class V> INLINE V logsigmoid(V x) { return at_most(x, V{}) - log1p_exp_minus_abs(x); }

// The difference of equal infinities would be NaN.
template <class V> INLINE V logaddexp(V a, V b) {
  return max(a, b) + log1p_exp_minus_abs(V(a == b ? V{} : a - b));
}

// -- Sine and cosine --------------------------------------------------------------------------------------------------

// pi / 2 in three parts, each as long as the mantissa
template <class T> struct HalfPi;
template <> struct HalfPi<float> {
  static constexpr float HIGH = 0x1.921fb6p0f, MIDDLE = -0x1.777a5cp-25f, LOW = -0x1.ee59dap-50f;
};
template <> struct HalfPi<double> {
  static constexpr double HIGH = 0x1.921fb54442d18p0, MIDDLE = 0x1.1a62633145c07p-54, LOW = -0x1.f1976b7ed8fbcp-110;
};

// sin(x + quarters pi/2), by sin(r) or cos(r) for x = n pi/2 + r, |r| <= pi/4
template <int quarters, class V> INLINE V sine_within_limit(V x) {
  using C = Constants<V>;
  using Part = HalfPi<Entry<V>>;
  constexpr Entry<V> SHIFT = C::TO_INTEGER + quarters;
  const V shifted = x * Entry<V>(0x1.45f306dc9c883p-1) + SHIFT, n = shifted - SHIFT;
  const V r = ((x - n * Part::HIGH) - n * Part::MIDDLE) - n * Part::LOW, square = r * r, fourth = square * square;
  V sine, cosine;
  if constexpr (IS_FLOAT<V>) {
    sine = polynomial(square, fourth, -0.16666655f, 0.008332161f, -0.00019515284f);
    cosine = polynomial(square, fourth, 0.041666646f, -0.0013887316f, 2.4433157e-05f);
  } else {
    sine = polynomial(square, fourth, -0.1666666666666663, 0.008333333333322118, -0.0001984126982958961,
                      2.755731362140612e-06, -2.5050747765816387e-08, 1.589623032488616e-10);
    cosine = polynomial(square, fourth, 0.041666666666666595, -0.0013888888888873058, 2.4801587288851968e-05,
                        -2.7557314179361967e-07, 2.08757008497374e-09, -1.1358536877305053e-11);
  }
  sine = r * square * sine + r;
  cosine = fourth * cosine + (square * Entry<V>(-0.5) + 1);
  const Bits<V> turns = bits(shifted);
  const V y = (turns & 1) != 0 ? cosine : sine;
  return flip_sign(y, (turns & 2) << (sizeof(Entry<V>) * 8 - 2));
}

// How far the reduction by pi/2 is accurate: not at all unless a product and sum are rounded once.
constexpr int SINE_LIMIT = FUSED ? 1 << 16 : 0;

template <class M> INLINE bool any(M mask) {
  int64_t words[sizeof(mask) / sizeof(int64_t)], found = 0;
  std::memcpy(words, &mask, sizeof(mask));
  for (int64_t word : words) found |= word;
  return found != 0;
}

// Vectors that reach further, and numbers, are left to the standard library.
template <int quarters, class V> INLINE V sine_anywhere(V x) {
  const auto standard = [](auto x) INLINED { return quarters ? std::cos(x) : std::sin(x); };
  if constexpr (IS_NUMBER<V>) return standard(x);
  else return any(abs(x) > broadcast<V>(SINE_LIMIT)) ? one_by_one<V>(standard, x) : sine_within_limit<quarters>(x);
}

template <class V> INLINE V sin(V x) { return sine_anywhere<0>(x); }
template <class V> INLINE V cos(V x) { return sine_anywhere<1>(x); }

// -- Exponentials, logarithms and powers of complex numbers -----------------------------------------------------------

// exp(a + ib): the size by halves, since it may overflow where the product with a cosine does not
template <class V> INLINE V exp_re(V a, V b) {
  const V half = exp(V(a * Entry<V>(0.5)));
  return half * cos(b) * half;
}
template <class V> INLINE V exp_im(V a, V b) {
  const V half = exp(V(a * Entry<V>(0.5)));
  return b == V{} ? b : half * sin(b) * half;
}

// log |a + ib|
template <class V> INLINE V log_modulus(V a, V b) {
  const V x = abs(a), y = abs(b), large = max(x, y), small = min(x, y);
  const V ratio = large == small ? broadcast<V>(1) : small / large;
  return log(large) + log1p(V(ratio * ratio)) * Entry<V>(0.5);
}

// (a + ib)^(c + id) = exp((c + id) log(a + ib)); what is multiplied by nothing is left out, since the logarithm may be infinite
template <class V> struct Exponent { V re, im; };
template <class V> INLINE Exponent<V> exponent_of_power(V a, V b, V c, V d) {
  const V size = log_modulus(a, b), turn = angle(a, b);
  const auto zero = [](V x, V y) INLINED { return x == V{} ? V{} : x * y; };
  return {zero(c, size) - zero(d, turn), zero(d, size) + zero(c, turn)};
}
template <class V> INLINE V power_re(V a, V b, V c, V d) {
  const auto [re, im] = exponent_of_power(a, b, c, d);
  return exp_re(re, im);
}
template <class V> INLINE V power_im(V a, V b, V c, V d) {
  const auto [re, im] = exponent_of_power(a, b, c, d);
  return exp_im(re, im);
}

#undef INSTRUCTION
#undef FUSED
}  // namespace math

// -- Lanes ------------------------------------------------------------------------------------------------------------

// f(0), ..., f(n - 1), unrolled: f gets its argument as a constant.
template <class F, int... I> INLINE void repeat([[maybe_unused]] F f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>()), ...);
}
template <int n, class F> INLINE void repeat(F f) { repeat(f, std::make_integer_sequence<int, n>()); }

// A vector whose first `count` entries are numbers that lie `stride` apart, and whose others are 0
template <class T, int count, int... I>
INLINE Vec<T> gather(const T* p, long stride, std::integer_sequence<int, I...>) {
  return Vec<T>{(I < count ? p[I * stride] : T(0))...};
}

// The first `count` entries of a vector, and for the others `other`
template <class T, int count, int... I>
INLINE Vec<T> only(Vec<T> v, T other, std::integer_sequence<int, I...>) {
  return math::Signed<Vec<T>>{(I < count ? -1 : 0)...} ? v : math::broadcast<Vec<T>>(other);
}

// The entries of a vector, those that differ from their place in the bits of BY.
template <int BY, class V, int... LANE> INLINE V exchanged(V v, std::integer_sequence<int, LANE...>) { return V{v[LANE ^ BY]...}; }

// The entries of a vector made one by f(a, b): its halves, the halves of that, and so on. All stays in registers.
template <class T, int n = WIDTH<T>, class F> INLINE T fold(Vec<T> v, F f) {
  if constexpr (n == 1) return v[0];
  else return fold<T, n / 2>(f(v, exchanged<n / 2>(v, std::make_integer_sequence<int, WIDTH<T>>())), f);
}

// Two vectors made one: where the places of entries have the bit BY, sums of two entries of b, elsewhere of a
template <int BY, class V, int... LANE> INLINE V paired(V a, V b, std::integer_sequence<int, LANE...>) {
  return V{(LANE & BY ? b[LANE] : a[LANE])...} + V{(LANE & BY ? b[LANE ^ BY] : a[LANE ^ BY])...};
}

// The sums of the entries of COUNT vectors that lie one behind the other, each in the places that end as its number does
template <class T, int COUNT> INLINE Vec<T> sums_of(const T* p) {
  if constexpr (COUNT == 1) return whole(p);
  else return paired<COUNT / 2>(sums_of<T, COUNT / 2>(p), sums_of<T, COUNT / 2>(p + COUNT / 2 * WIDTH<T>), std::make_integer_sequence<int, WIDTH<T>>());
}

// U native vectors of T, of whose entries the first N count
template <class T, int U, int N = U * WIDTH<T>> struct Lanes {
  static constexpr int W = WIDTH<T>;
  static_assert(0 < N && N <= U * W, "the entries must fit the vectors");
  using Indices = std::make_integer_sequence<int, W>;
  Vec<T> v[U];

  Lanes() = default;
  INLINE Lanes(T c) {  // lets a number stand beside lanes in every operator and function
    repeat<U>([&](auto u) INLINED { v[u] = math::broadcast<Vec<T>>(c); });
  }
  static INLINE Lanes fill(T c) { return Lanes(c); }

  // How many of the entries are in vector u
  static constexpr int count(int u) { return N <= u * W ? 0 : N < (u + 1) * W ? N - u * W : W; }

  static INLINE Lanes load(const T* p) {
    Lanes result;
    repeat<U>([&](auto u) INLINED {
      if constexpr (count(u) == W) result.v[u] = whole(p + u * W);
      else result.v[u] = gather<T, count(u)>(p + u * W, 1, Indices());
    });
    return result;
  }
  static INLINE Lanes load(const T* p, long stride) {
    Lanes result;
    repeat<U>([&](auto u) INLINED { result.v[u] = gather<T, count(u)>(p + u * W * stride, stride, Indices()); });
    return result;
  }
  // The same, and asks for what lies `ahead` entries on
  static INLINE Lanes load_ahead(const T* p, long ahead) {
    repeat<U>([&](auto u) INLINED { __builtin_prefetch(p + ahead + u * W, 0, 2); });
    return load(p);
  }
  INLINE void store_ahead(T* p, long ahead) const {
    repeat<U>([&](auto u) INLINED { __builtin_prefetch(p + ahead + u * W, 1, 2); });
    store(p);
  }
  INLINE void store(T* p) const {
    repeat<U>([&](auto u) INLINED {
      if constexpr (count(u) == W) put(p + u * W, v[u]);
      else repeat<count(u)>([&](auto i) INLINED { p[u * W + i] = v[u][int(i)]; });
    });
  }
  INLINE void store(T* p, long stride) const {
    repeat<N>([&](auto i) INLINED { p[i * stride] = v[i / W][i % W]; });
  }

  INLINE T sum() const {
    return fold_entries(0, [](auto a, auto b) INLINED { return a + b; });
  }
  INLINE T largest() const {
    return fold_entries(-math::Constants<T>::INFINITE, [](auto a, auto b) INLINED { return math::max(a, b); });
  }
  template <class F> INLINE T fold_entries(T neutral, F f) const { return fold<T>(one(neutral, f), f); }

  // All vectors made one by f
  template <class F> INLINE Vec<T> one(T neutral, F f) const {
    constexpr int LAST = (N - 1) / W;
    Vec<T> total = only<T, count(LAST)>(v[LAST], neutral, Indices());
    repeat<LAST>([&](auto u) INLINED { total = f(total, v[u]); });
    return total;
  }
};

// The sums of N lanes: of each a vector is kept, and those of as many as a vector has entries become one together, by fewer instructions than one by one.
template <class T, long N> struct Rows {
  static constexpr long W = WIDTH<T>, WHOLE = N / W * W, LEFT = N - WHOLE;
  alignas(BYTES) T vectors[(N + W - 1) / W * W * W];

  INLINE Rows() {
    for (long i = N * W; i < long(sizeof(vectors) / sizeof(T)); i += W) put(vectors + i, Vec<T>{});
  }
  template <int U, int M> INLINE void add(long i, const Lanes<T, U, M>& lanes) {
    put(vectors + i * W, lanes.one(0, [](auto a, auto b) INLINED { return a + b; }));
  }
  INLINE void add_to(T* sums) const {
    for (long i = 0; i < WHOLE; i += W) put(sums + i, whole(sums + i) + sums_of<T, W>(vectors + i * W));
    if constexpr (LEFT > 0) {
      const Vec<T> found = sums_of<T, W>(vectors + WHOLE * W);
      for (long i = 0; i < LEFT; ++i) sums[WHOLE + i] += found[i];
    }
  }
};

template <class A> constexpr bool IS_LANES = false;
template <class T, int U, int N> constexpr bool IS_LANES<Lanes<T, U, N>> = true;

// What a function of numbers and lanes gives: lanes if there are some among them, else a number
template <class... A> using Common = std::common_type_t<A...>;
template <class... A> using LanesOf = std::enable_if_t<IS_LANES<Common<A...>>, Common<A...>>;
template <class... A> using Result = std::enable_if_t<
  IS_LANES<Common<A...>> || std::is_floating_point<Common<A...>>::value, Common<A...>>;

// f of numbers, or of each vector
template <class F, class R, class... A> INLINE R each(F f, const R& first, const A&... rest) {
  if constexpr (IS_LANES<R>) {
    R result;
    repeat<sizeof(R) / BYTES>([&](auto u) INLINED { result.v[u] = f(first.v[u], rest.v[u]...); });
    return result;
  } else {
    return f(first, rest...);
  }
}

#define EACH(expression) [](auto a, auto... b) INLINED -> decltype(a) { return expression; }

#define UNARY(name) template <class A> INLINE Result<A> name(const A& a) { return each(EACH(math::name(a, b...)), a); }
UNARY(exp) UNARY(log) UNARY(log1p) UNARY(expm1) UNARY(tanh) UNARY(sigmoid) UNARY(softplus) UNARY(logsigmoid)
UNARY(sqrt) UNARY(rsqrt) UNARY(reciprocal) UNARY(abs) UNARY(sign) UNARY(floor) UNARY(sin) UNARY(cos)
UNARY(relu) UNARY(heaviside) UNARY(nearest) UNARY(sinh) UNARY(cosh) UNARY(erf) UNARY(atan)
#undef UNARY

#define BINARY(name)                                                                          \
  template <class A, class B, class R = Result<A, B>> INLINE R name(const A& a, const B& b) { \
    return each(EACH(math::name(a, b...)), R(a), R(b));                                       \
  }
BINARY(lt) BINARY(le) BINARY(gt) BINARY(ge) BINARY(eq) BINARY(ne)
BINARY(max) BINARY(min) BINARY(pow) BINARY(logaddexp) BINARY(angle)
BINARY(modulus) BINARY(log_modulus) BINARY(root_re) BINARY(root_im) BINARY(exp_re) BINARY(exp_im)
#undef BINARY

#define OF_TWO_COMPLEX(name)                                                              \
  template <class A, class B, class C, class D, class R = Result<A, B, C, D>>             \
  INLINE R name(const A& a, const B& b, const C& c, const D& d) {                         \
    return each(EACH(math::name(a, b...)), R(a), R(b), R(c), R(d));                       \
  }
OF_TWO_COMPLEX(quotient_re) OF_TWO_COMPLEX(quotient_im) OF_TWO_COMPLEX(power_re) OF_TWO_COMPLEX(power_im)
#undef OF_TWO_COMPLEX

#define OPERATOR(op)                                                                                  \
  template <class A, class B, class R = LanesOf<A, B>> INLINE R operator op(const A& a, const B& b) { \
    return each(EACH((a op ... op b)), R(a), R(b));                                                   \
  }
OPERATOR(+) OPERATOR(-) OPERATOR(*) OPERATOR(/)
#undef OPERATOR

template <class A> INLINE LanesOf<A> operator-(const A& a) { return each(EACH(math::negative(a, b...)), a); }
template <int n, class A> INLINE Result<A> pow_int(const A& a) { return each(EACH(math::pow_int<n>(a, b...)), a); }
template <class C, class A, class B, class R = Result<C, A, B>> INLINE R select(const C& c, const A& a, const B& b) {
  return each(EACH(math::select(a, b...)), R(c), R(a), R(b));
}
#undef EACH

// -- Loops ------------------------------------------------------------------------------------------------------------

template <class L> struct Block { using type = L; };

// Calls body(Block<Lanes>, start) for blocks that cover 0..N-1: of UMAX vectors while they fit, of the remaining whole
// vectors, and of the remaining entries. A long body is inlined only if it says so: [&](auto tag, long i) INLINED {...}
template <class T, long N, int UMAX = 8, class Body> INLINE void over(Body&& body) {
  constexpr long W = WIDTH<T>, LARGE = N / (UMAX * W) * (UMAX * W), WHOLE = N / W * W;
  if constexpr (LARGE > 0)
    for (long i = 0; i < LARGE; i += UMAX * W) body(Block<Lanes<T, UMAX>>(), i);
  if constexpr (WHOLE > LARGE) body(Block<Lanes<T, int((WHOLE - LARGE) / W)>>(), LARGE);
  if constexpr (N > WHOLE) body(Block<Lanes<T, 1, int(N - WHOLE)>>(), WHOLE);
}

}  // namespace rnndsl
