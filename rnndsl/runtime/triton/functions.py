"""Elementwise functions that Triton lacks, in plain Triton, so that they run in its interpreter and for every vendor.

They take float32 or float64, keep the type, and give NaN for NaN, but for `heaviside` and `sign`, which give 0 as in PyTorch. Comments give
the largest error of the formulas; `power` has as many more units in the last place as its logarithm is large.
"""

import triton
import triton.language as tl


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def relu(x):
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def heaviside(x):
    return (x > 0).to(x.dtype)


@triton.jit
def sign(x):
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def _exp_of_sum(x):
    """exp(x) where it is added to something: what is below the normal numbers may be 0, which saves a GPU the scaling around its own exp2."""
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:
        return tl.exp2(x * 1.4426950408889634)


@triton.jit
def _inverse(x):
    """1 / x for x >= 1, of infinity too. In float32 by the root that a GPU has an instruction for, and a step of Newton's: a division there
    takes ten."""
    if x.dtype == tl.float64:
        return 1.0 / x
    else:
        root = tl.rsqrt(x)
        found = root * root
        return found + found * (1.0 - tl.minimum(x, 3.4028234663852886e38) * found)


@triton.jit
def _signed(size, x):
    """A number of no sign with the sign of x, also where that is a zero."""
    if x.dtype == tl.float64:
        return tl.where(is_negative(x), -size, size)
    else:
        bits = (x.to(tl.int32, bitcast=True) & -2147483648) | size.to(tl.int32, bitcast=True)
        return bits.to(tl.float32, bitcast=True)


@triton.jit
def sigmoid(x):
    """In float32 1.6e-7 off at most, with units of exp2 and rsqrt that are 2 and 1 off in the last place."""
    return _inverse(1.0 + _exp_of_sum(-x))


@triton.jit
def _tanh_near_zero(x):
    """Above and below of a fraction that is tanh(x) where |x| <= 0.55: a convergent of x / (1 + x² / (3 + x² / (5 + …)))."""
    s = x * x
    if x.dtype == tl.float64:  # relative error 1e-19
        above = (((s + 990.0) * s + 135135.0) * s + 4729725.0) * s + 34459425.0
        below = (((45.0 * s + 13860.0) * s + 945945.0) * s + 16216200.0) * s + 34459425.0
    else:  # 3e-10
        above = (s + 105.0) * s + 945.0
        below = (15.0 * s + 420.0) * s + 945.0
    return x * above, below


@triton.jit
def tanh(x):
    """In float32 1.8e-7 off at most, 2.9e-7 of its size, with units as for `sigmoid`."""
    size = tl.abs(x)
    if x.dtype == tl.float64:
        near_above, near_below = _tanh_near_zero(size)
        e = tl.exp(-2.0 * size)
        near = size < 0.55
        found = tl.where(near, near_above, 1.0 - e) / tl.where(near, near_below, 1.0 + e)
    else:
        s = x * x
        series = (((-0.00566694047 * s + 0.0206061509) * s - 0.0537300035) * s + 0.133313313) * s - 0.333332777  # relative error 5e-9
        found = tl.where(size < 0.63, size + size * (s * series), 1.0 - 2.0 * _inverse(1.0 + tl.exp2(2.8853900817779268 * size)))
    return _signed(found, x)


@triton.jit
def expm1(x):
    near = tl.abs(x) < 1.0
    above, below = _tanh_near_zero(tl.where(near, 0.5 * x, 0.0))  # exp(x) - 1 = 2 tanh(x / 2) / (1 - tanh(x / 2))
    return tl.where(near, 2.0 * above * _inverse(below - above), _exp_of_sum(x) - 1.0)


@triton.jit
def sinh(x):
    """By halves of exp(|x|) where that is large, since it overflows before the result does."""
    size = tl.abs(x)
    m, half = expm1(minimum(size, full(20.0, size))), tl.exp(0.5 * size)
    return _signed(tl.where(size < 20.0, 0.5 * (m + m * _inverse(m + 1.0)), 0.5 * half * half), x)


@triton.jit
def cosh(x):
    half, other = tl.exp(0.5 * tl.abs(x)), tl.exp(-0.5 * tl.abs(x))
    return 0.5 * half * half + 0.5 * other * other


@triton.jit
def nearest(x):
    """The nearest whole number, of two the even one."""
    below = tl.floor(x)
    part = x - below
    odd = tl.floor(0.5 * below) * 2.0 != below
    return below + ((part > 0.5) | ((part == 0.5) & odd)).to(x.dtype)


@triton.jit
def _log1p_of_fraction(e):
    """log(1 + e) for e in [0, 1]; what is lost in the sum is added again."""
    u = 1.0 + e
    return tl.log(u) + (e - (u - 1.0)) * _inverse(u)


@triton.jit
def log1p(x):
    u = 1.0 + x
    lost = tl.where((u > 0) & (u < float("inf")), x - (u - 1.0), 0.0)
    return tl.log(u) + lost / tl.where(lost == 0, 1.0, u)


@triton.jit
def softplus(x):
    return relu(x) + _log1p_of_fraction(tl.exp(-tl.abs(x)))


@triton.jit
def logsigmoid(x):
    return -softplus(-x)


@triton.jit
def logaddexp(a, b):
    """log(exp(a) + exp(b)), also where both are the same infinity."""
    apart = tl.where(a == b, 0.0, tl.abs(a - b))
    return maximum(a, b) + _log1p_of_fraction(tl.exp(-apart))


@triton.jit
def is_negative(x):
    """Whether the sign of a number is minus, that of a zero too."""
    if x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True) < 0
    else:
        return x.to(tl.int32, bitcast=True) < 0


@triton.jit
def _atan_of_fraction(x):
    """atan(x) for x in [0, 0.67], as in Cephes; relative error 2e-17, and 3e-9 in float32."""
    s = x * x
    if x.dtype == tl.float64:
        above = (((-8.750608600031904122785e-1 * s - 1.615753718733365076637e1) * s - 7.500855792314704667340e1) * s - 1.228866684490136173410e2) * s - 6.485021904942025371773e1
        below = ((((s + 2.485846490142306297962e1) * s + 1.650270098316988542046e2) * s + 4.328810604912902668951e2) * s + 4.853903996359136964868e2) * s + 1.945506571482613964425e2
        return x + x * (s * above / below)
    else:
        return x + x * ((((8.05374449538e-2 * s - 1.38776856032e-1) * s + 1.99777106478e-1) * s - 3.33329491539e-1) * s)


@triton.jit
def _atan_to_one(x):
    """atan(x) for x in [0, 1]: beyond tan(pi / 8) by that of (x - 1) / (x + 1)."""
    beyond = x > 0.41421356237309503
    found = _atan_of_fraction(tl.abs(tl.where(beyond, (x - 1.0) / (x + 1.0), x)))
    return tl.where(beyond, 0.78539816339744828 - found, found)


@triton.jit
def atan(x):
    size = tl.abs(x)
    inside = size <= 1.0
    found = _atan_to_one(tl.where(inside, size, 1.0 / size))
    found = tl.where(inside, found, 1.5707963267948966 - found)
    return tl.where(x < 0, -found, found)


@triton.jit
def angle(a, b):
    """Of a + ib, from -pi to pi; signs of zeros count, as in C."""
    x, y = tl.abs(a), tl.abs(b)
    steep = y > x
    large = tl.where(steep, y, x)
    ratio = tl.where(steep, x, y) / tl.where(large == 0, 1.0, large)
    found = _atan_to_one(tl.where((x == y) & (large > 0), 1.0, ratio))
    found = tl.where(steep, 1.5707963267948966 - found, found)
    found = tl.where(is_negative(a), 3.1415926535897931 - found, found)
    return tl.where(is_negative(b), -found, found)


@triton.jit
def power(a, b):
    """a^b as in C: of a negative a where b is a whole number, else NaN; 1^b and a^0 are 1 whatever the other is."""
    size = tl.exp(b * tl.log(tl.abs(a)))
    size = tl.where((tl.abs(a) == 1) | (b == 0), 1.0, size)
    odd = (tl.floor(b) == b) & (tl.floor(0.5 * b) * 2.0 != b)
    negative = is_negative(a)
    signed = tl.where(negative & odd, -size, size)
    no_root = (a < 0) & (a > float("-inf")) & (tl.floor(b) != b)
    return tl.where(no_root | ((a != a) & (b != 0)) | ((b != b) & (a != 1)), float("nan"), signed)


@triton.jit
def integer_power(x, n: tl.constexpr):
    """x^n for a small whole number n below 0."""
    product = x
    for _ in tl.static_range(-n - 1):
        product *= x
    return 1.0 / product


@triton.jit
def quotient(a, b):
    """a / b rounded to nearest, as PyTorch has it. In float32 `/` may be two units off."""
    if a.dtype == tl.float64:
        return a / b
    else:
        return tl.div_rn(a, b)


@triton.jit
def modulus(a, b):
    """|a + ib|: by a power of two into the range of numbers whose squares neither vanish nor overflow, and back."""
    size = maximum(tl.abs(a), tl.abs(b))
    if a.dtype == tl.float64:
        up = tl.where(size > 2.0**400, 2.0**-700, tl.where(size < 2.0**-400, full(2.0**700, size), 1.0))
    else:
        up = tl.where(size > 2.0**50, 2.0**-96, tl.where(size < 2.0**-50, full(2.0**96, size), 1.0))
    x, y = a * up, b * up
    return tl.sqrt(x * x + y * y) * (1.0 / up)


@triton.jit
def _divisor(c, d):
    """The ratio of the smaller of c and d to the larger one, and what a quotient by c + id is over."""
    steep = tl.abs(c) < tl.abs(d)
    large, small = tl.where(steep, d, c), tl.where(steep, c, d)
    ratio = small / large
    return ratio, large + small * ratio


@triton.jit
def quotient_re(a, b, c, d):
    """The real part of (a + ib) / (c + id)."""
    ratio, below = _divisor(c, d)
    return tl.where(tl.abs(c) < tl.abs(d), a * ratio + b, a + b * ratio) / below


@triton.jit
def quotient_im(a, b, c, d):
    ratio, below = _divisor(c, d)
    return tl.where(tl.abs(c) < tl.abs(d), b * ratio - a, b - a * ratio) / below


@triton.jit
def _parts_of_root(a, b):
    """Of the root of a + ib whose real part is not negative: the larger of its parts, which has no difference in it, and the other."""
    larger = tl.sqrt(0.5 * tl.abs(a) + 0.5 * modulus(a, b))
    return larger, tl.where(larger == 0, b, b / (2.0 * tl.where(larger == 0, 1.0, larger)))


@triton.jit
def root_re(a, b):
    larger, smaller = _parts_of_root(a, b)
    return tl.where(a >= 0, larger, tl.abs(smaller))


@triton.jit
def root_im(a, b):
    larger, smaller = _parts_of_root(a, b)
    return tl.where(a >= 0, smaller, tl.where(is_negative(b), -larger, larger))


@triton.jit
def exp_re(a, b):
    """The real part of exp(a + ib): the size by halves, since it may overflow where the product with a cosine does not."""
    half = tl.exp(0.5 * a)
    return half * tl.cos(b) * half


@triton.jit
def exp_im(a, b):
    half = tl.exp(0.5 * a)
    return tl.where(b == 0, b, half * tl.sin(b) * half)


@triton.jit
def log_modulus(a, b):
    """log |a + ib|."""
    x, y = tl.abs(a), tl.abs(b)
    large, small = maximum(x, y), minimum(x, y)
    ratio = tl.where(large == small, 1.0, small / large)
    return tl.log(large) + 0.5 * _log1p_of_fraction(ratio * ratio)


@triton.jit
def _exponent(a, b, c, d):
    """(c + id) log(a + ib); what is multiplied by nothing is left out, since the logarithm may be infinite."""
    size, turn = log_modulus(a, b), angle(a, b)
    re = tl.where(c == 0, 0.0, c * size) - tl.where(d == 0, 0.0, d * turn)
    return re, tl.where(d == 0, 0.0, d * size) + tl.where(c == 0, 0.0, c * turn)


@triton.jit
def power_re(a, b, c, d):
    """The real part of (a + ib)^(c + id)."""
    re, im = _exponent(a, b, c, d)
    return exp_re(re, im)


@triton.jit
def power_im(a, b, c, d):
    re, im = _exponent(a, b, c, d)
    return exp_im(re, im)


@triton.jit
def full(value, like):
    """A number, as many times as another value has entries, of its type."""
    return tl.full(like.shape, value, like.dtype)
