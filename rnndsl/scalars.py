"""The functions of the language on plain numbers, in double precision, by the rules of IEEE 754: nothing raises.

The compiler folds numbers with them, and generated modules call them for what sizes and hyperparameters alone make, so that the numbers
are the same on every backend.
"""

import math


class Scalars:
    """Each takes numbers and gives a float."""

    @staticmethod
    def exp(x: float) -> float:
        return math.inf if x > 709.782712893384 else math.exp(x)

    @staticmethod
    def expm1(x: float) -> float:
        return math.inf if x > 709.782712893384 else math.expm1(x)

    @staticmethod
    def log(x: float) -> float:
        return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan

    @staticmethod
    def sqrt(x: float) -> float:
        return math.nan if x < 0 else math.sqrt(x)

    @staticmethod
    def sin(x: float) -> float:
        return math.nan if math.isinf(x) else math.sin(x)

    @staticmethod
    def cos(x: float) -> float:
        return math.nan if math.isinf(x) else math.cos(x)

    @staticmethod
    def floor(x: float) -> float:
        return float(math.floor(x)) if math.isfinite(x) else x

    @staticmethod
    def sign(x: float) -> float:
        return float(x > 0) - float(x < 0)

    @staticmethod
    def relu(x: float) -> float:
        return 0.0 if x <= 0 else x

    @staticmethod
    def heaviside(x: float) -> float:
        return float(x > 0)

    @staticmethod
    def sigmoid(x: float) -> float:
        e = math.exp(-abs(x))
        return (e if x < 0 else 1.0) / (1.0 + e)

    @staticmethod
    def softplus(x: float) -> float:
        return Scalars.relu(x) + math.log1p(math.exp(-abs(x)))

    @staticmethod
    def logsigmoid(x: float) -> float:
        return -Scalars.softplus(-x)

    @staticmethod
    def maximum(a: float, b: float) -> float:
        return a if a >= b or math.isnan(a) else b

    @staticmethod
    def minimum(a: float, b: float) -> float:
        return a if a <= b or math.isnan(a) else b

    @staticmethod
    def logaddexp(a: float, b: float) -> float:
        apart = 0.0 if a == b else abs(a - b)
        return Scalars.maximum(a, b) + math.log1p(math.exp(-apart))

    @staticmethod
    def divide(a: float, b: float) -> float:
        if b != 0:
            return a / b
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)

    @staticmethod
    def power(a: float, b: float) -> float:
        try:
            return math.pow(a, b)
        except OverflowError:
            return -math.inf if a < 0 and math.fmod(b, 2) != 0 else math.inf
        except ValueError:  # 0 to a power below 0, or a root of a number below 0
            if a != 0:
                return math.nan
            return math.copysign(math.inf, a) if math.fmod(b, 2) in (-1.0, 1.0) else math.inf

    @staticmethod
    def where(condition: float, a: float, b: float) -> float:
        return a if condition != 0 else b

    @staticmethod
    def tanh(x: float) -> float:
        return math.tanh(x)

    @staticmethod
    def log1p(x: float) -> float:
        return math.log1p(x) if x > -1 else -math.inf if x == -1 else math.nan

    @staticmethod
    def erf(x: float) -> float:
        return math.erf(x)

    @staticmethod
    def sinh(x: float) -> float:
        try:
            return math.sinh(x)
        except OverflowError:
            return math.copysign(math.inf, x)

    @staticmethod
    def cosh(x: float) -> float:
        try:
            return math.cosh(x)
        except OverflowError:
            return math.inf

    @staticmethod
    def atan(x: float) -> float:
        return math.atan(x)

    @staticmethod
    def round(x: float) -> float:
        return float(round(x)) if math.isfinite(x) else x

    @staticmethod
    def clamp(x: float, low: float, high: float) -> float:
        return Scalars.minimum(Scalars.maximum(x, low), high)

    @staticmethod
    def angle_of_real(x: float) -> float:
        return math.pi if x < 0 else x if math.isnan(x) else 0.0

    @staticmethod
    def rsqrt(x: float) -> float:
        return Scalars.divide(1.0, Scalars.sqrt(x))

    @staticmethod
    def modulus(a: float, b: float) -> float:
        """Of a + ib."""
        return math.hypot(a, b)

    @staticmethod
    def log_modulus(a: float, b: float) -> float:
        return Scalars.log(math.hypot(a, b))

    @staticmethod
    def quotient_re(a: float, b: float, c: float, d: float) -> float:
        """The real part of (a + ib) / (c + id)."""
        return (complex(a, b) / complex(c, d)).real if c != 0 or d != 0 else math.nan

    @staticmethod
    def quotient_im(a: float, b: float, c: float, d: float) -> float:
        return (complex(a, b) / complex(c, d)).imag if c != 0 or d != 0 else math.nan

    @staticmethod
    def root_re(a: float, b: float) -> float:
        """The real part of the root of a + ib, which is not negative."""
        larger, smaller = Scalars._parts_of_root(a, b)
        return larger if a >= 0 else abs(smaller)

    @staticmethod
    def root_im(a: float, b: float) -> float:
        larger, smaller = Scalars._parts_of_root(a, b)
        return smaller if a >= 0 else math.copysign(larger, b)

    @staticmethod
    def _parts_of_root(a: float, b: float) -> tuple[float, float]:
        larger = math.sqrt(0.5 * abs(a) + 0.5 * math.hypot(a, b))
        return larger, b if larger == 0 else b / (2.0 * larger)

    @staticmethod
    def exp_re(a: float, b: float) -> float:
        half = Scalars.exp(0.5 * a)
        return half * Scalars.cos(b) * half

    @staticmethod
    def exp_im(a: float, b: float) -> float:
        half = Scalars.exp(0.5 * a)
        return b if b == 0 else half * Scalars.sin(b) * half

    @staticmethod
    def power_re(a: float, b: float, c: float, d: float) -> float:
        """The real part of (a + ib)^(c + id)."""
        return Scalars.exp_re(*Scalars._exponent(a, b, c, d))

    @staticmethod
    def power_im(a: float, b: float, c: float, d: float) -> float:
        return Scalars.exp_im(*Scalars._exponent(a, b, c, d))

    @staticmethod
    def _exponent(a: float, b: float, c: float, d: float) -> tuple[float, float]:
        size, turn = Scalars.log_modulus(a, b), Scalars.angle(a, b)
        parts = [x * y if x != 0 else 0.0 for x, y in ((c, size), (d, turn), (d, size), (c, turn))]
        return parts[0] - parts[1], parts[2] + parts[3]

    @staticmethod
    def angle(a: float, b: float) -> float:
        """Of a + ib."""
        return math.atan2(b, a)
