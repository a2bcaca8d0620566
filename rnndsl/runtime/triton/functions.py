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
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


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
    near_above, near_below = _tanh_near_zero(x)
    size = tl.abs(x)
    e = tl.exp(-2.0 * size)
    near = size < 0.55
    above = tl.where(near, near_above, tl.where(x < 0, e - 1.0, 1.0 - e))
    return above / tl.where(near, near_below, 1.0 + e)


@triton.jit
def expm1(x):
    near = tl.abs(x) < 1.0
    above, below = _tanh_near_zero(tl.where(near, 0.5 * x, 0.0))  # exp(x) - 1 = 2 tanh(x / 2) / (1 - tanh(x / 2))
    return tl.where(near, 2.0 * above / (below - above), tl.exp(x) - 1.0)


@triton.jit
def elu(x):
    return tl.where(x <= 0, expm1(x), x)


@triton.jit
def log1p(e):
    """log(1 + e) for e in [0, 1]; what is lost in the sum is added again."""
    u = 1.0 + e
    return tl.log(u) + (e - (u - 1.0)) / u


@triton.jit
def softplus(x):
    return relu(x) + log1p(tl.exp(-tl.abs(x)))


@triton.jit
def logsigmoid(x):
    return -softplus(-x)


@triton.jit
def logaddexp(a, b):
    """log(exp(a) + exp(b)), also where both are the same infinity."""
    apart = tl.where(a == b, 0.0, tl.abs(a - b))
    return maximum(a, b) + log1p(tl.exp(-apart))


@triton.jit
def is_negative(x):
    """Whether the sign of a number is minus, that of a zero too."""
    if x.dtype == tl.float64:
        return x.to(tl.int64, bitcast=True) < 0
    else:
        return x.to(tl.int32, bitcast=True) < 0


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
def full(value, like):
    """A number, as many times as another value has entries, of its type."""
    return tl.full(like.shape, value, like.dtype)
