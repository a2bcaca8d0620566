"""What each operation of a kernel's graph is in ONNX: a row an operation, of names of tensors that broadcast. No gradient is asked for.

ONNX has no function for some of them; where the obvious formula would lose digits or be NaN, the rows follow those of the other backends.
"""

import math
from collections.abc import Callable
from functools import partial

from rnndsl.export.onnx.writer import BOOL, FLOAT, Writer

Form = Callable[..., str]  # of a writer and names
COMPARED = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal"}


def _plain(kind: str) -> Form:
    return lambda w, *names: w.op(kind, *names)


def is_so(w: Writer, op: str, a: str, b: str) -> str:
    """A comparison, true or false."""
    return w.op("Not", w.op("Equal", a, b)) if op == "ne" else w.op(COMPARED[op], a, b)


def _compared(op: str) -> Form:
    return lambda w, a, b: w.op("Cast", is_so(w, op, a, b), to=FLOAT)


def nonzero(w: Writer, v: str) -> str:
    """Where a condition holds."""
    return w.op("Cast", v, to=BOOL)


def _relu(w: Writer, v: str) -> str:
    return w.op("Relu", v)


def _rsqrt(w: Writer, v: str) -> str:
    return w.op("Div", w.number(1), w.op("Sqrt", v))


def _expm1(w: Writer, v: str) -> str:
    """tanh(v / 2) (exp(v) + 1), which has no difference in it."""
    return w.op("Mul", w.op("Tanh", w.op("Mul", v, w.number(0.5))), w.op("Add", w.op("Exp", v), w.number(1)))


def _log1p(w: Writer, v: str) -> str:
    """log(u) v / (u - 1), where u is 1 + v as it is rounded."""
    u = w.op("Add", v, w.number(1))
    apart = w.op("Sub", u, w.number(1))
    same, infinite = w.op("Equal", apart, w.number(0)), w.op("Equal", v, w.number(math.inf))
    quotient = w.op("Div", v, w.op("Where", same, w.number(1), apart))
    found = w.op("Mul", w.op("Log", u), quotient)
    return w.op("Where", w.op("Or", same, infinite), v, found)


def _softplus(w: Writer, v: str) -> str:
    """max(v, 0) + log(1 + exp(-|v|))."""
    small = w.op("Exp", w.op("Neg", w.op("Abs", v)))
    return w.op("Add", w.op("Relu", v), _log1p(w, small))


def _logsigmoid(w: Writer, v: str) -> str:
    return w.op("Neg", _softplus(w, w.op("Neg", v)))


def _logaddexp(w: Writer, a: str, b: str) -> str:
    """The larger one and log(1 + exp(-|a - b|)); both may be the same infinity."""
    apart = w.op("Where", w.op("Equal", a, b), w.number(0), w.op("Abs", w.op("Sub", a, b)))
    return w.op("Add", w.op("Max", a, b), _log1p(w, w.op("Exp", w.op("Neg", apart))))


def _sinh(w: Writer, v: str) -> str:
    """Near 0 from exp(v) - 1, in which nothing is lost; far from it by halves, since exp(v) may overflow where its half does not."""
    less = _expm1(w, v)
    near = w.op("Mul", w.number(0.5), w.op("Add", less, w.op("Div", less, w.op("Add", less, w.number(1)))))
    half = w.op("Exp", w.op("Mul", w.op("Abs", v), w.number(0.5)))
    far = w.op("Mul", w.op("Mul", w.op("Mul", w.op("Sign", v), w.number(0.5)), half), half)
    return w.op("Where", w.op("Less", w.op("Abs", v), w.number(10)), near, far)


def _cosh(w: Writer, v: str) -> str:
    half = w.op("Exp", w.op("Mul", w.op("Abs", v), w.number(0.5)))
    grown = w.op("Mul", w.op("Mul", w.number(0.5), half), half)
    return w.op("Add", grown, w.op("Div", w.op("Div", w.number(0.5), half), half))


def _heaviside(w: Writer, v: str) -> str:
    return w.op("Cast", w.op("Greater", v, w.number(0)), to=FLOAT)


def _clamp(w: Writer, v: str, low: str, high: str) -> str:
    return w.op("Min", w.op("Max", v, low), high)


def _select(w: Writer, condition: str, a: str, b: str) -> str:
    return w.op("Where", nonzero(w, condition), a, b)


def _negative(w: Writer, v: str) -> str:
    """Whether a number's sign is -, that of 0 too."""
    return w.op("Or", w.op("Less", v, w.number(0)), w.op("Less", w.op("Div", w.number(1), v), w.number(0)))


def _angle(w: Writer, a: str, b: str) -> str:
    """Of a + ib, from -pi to pi; ONNX knows no atan of two numbers. The smaller part is over the larger one."""
    x, y = w.op("Abs", a), w.op("Abs", b)
    large, small = w.op("Max", x, y), w.op("Min", x, y)
    ratio = w.op("Where", w.op("Equal", large, small), w.op("Sign", large), w.op("Div", small, large))
    flat = w.op("Atan", ratio)  # from 0 to pi/4
    first = w.op("Where", w.op("Greater", y, x), w.op("Sub", w.number(math.pi / 2), flat), flat)
    upper = w.op("Where", _negative(w, a), w.op("Sub", w.number(math.pi), first), first)
    return w.op("Where", _negative(w, b), w.op("Neg", upper), upper)


def _modulus(w: Writer, a: str, b: str) -> str:
    """|a + ib|: over the larger part, so that no square vanishes or overflows."""
    x, y = w.op("Abs", a), w.op("Abs", b)
    large, small = w.op("Max", x, y), w.op("Min", x, y)
    ratio = w.op("Where", w.op("Equal", large, small), w.op("Sign", large), w.op("Div", small, large))
    return w.op("Mul", large, w.op("Sqrt", w.op("Add", w.number(1), w.op("Mul", ratio, ratio))))


def _log_modulus(w: Writer, a: str, b: str) -> str:
    x, y = w.op("Abs", a), w.op("Abs", b)
    large, small = w.op("Max", x, y), w.op("Min", x, y)
    ratio = w.op("Where", w.op("Equal", large, small), w.number(1), w.op("Div", small, large))
    return w.op("Add", w.op("Log", large), w.op("Mul", w.number(0.5), _log1p(w, w.op("Mul", ratio, ratio))))


def _quotient(w: Writer, a: str, b: str, c: str, d: str, imaginary: bool) -> str:
    """A part of (a + ib) / (c + id), by Smith's method: the smaller part of the divisor over the larger one."""
    steep = w.op("Less", w.op("Abs", c), w.op("Abs", d))
    small, large = w.op("Where", steep, c, d), w.op("Where", steep, d, c)
    ratio = w.op("Div", small, large)
    below = w.op("Add", large, w.op("Mul", small, ratio))
    if imaginary:
        above = w.op("Where", steep, w.op("Sub", w.op("Mul", b, ratio), a), w.op("Sub", b, w.op("Mul", a, ratio)))
    else:
        above = w.op("Where", steep, w.op("Add", w.op("Mul", a, ratio), b), w.op("Add", a, w.op("Mul", b, ratio)))
    return w.op("Div", above, below)


def _parts_of_root(w: Writer, a: str, b: str) -> tuple[str, str]:
    """Of the root of a + ib whose real part is not negative: the larger of its parts, which has no difference in it, and the other."""
    half = w.number(0.5)
    larger = w.op("Sqrt", w.op("Add", w.op("Mul", half, w.op("Abs", a)), w.op("Mul", half, _modulus(w, a, b))))
    none = w.op("Equal", larger, w.number(0))
    other = w.op("Div", b, w.op("Mul", w.number(2), w.op("Where", none, w.number(1), larger)))
    return larger, w.op("Where", none, b, other)


def _root_re(w: Writer, a: str, b: str) -> str:
    larger, smaller = _parts_of_root(w, a, b)
    return w.op("Where", w.op("GreaterOrEqual", a, w.number(0)), larger, w.op("Abs", smaller))


def _root_im(w: Writer, a: str, b: str) -> str:
    larger, smaller = _parts_of_root(w, a, b)
    turned = w.op("Where", _negative(w, b), w.op("Neg", larger), larger)
    return w.op("Where", w.op("GreaterOrEqual", a, w.number(0)), smaller, turned)


def _exp(w: Writer, a: str, b: str, imaginary: bool) -> str:
    """A part of exp(a + ib): the size by halves, since it may overflow where the product with a cosine does not."""
    half = w.op("Exp", w.op("Mul", a, w.number(0.5)))
    found = w.op("Mul", w.op("Mul", half, w.op("Sin" if imaginary else "Cos", b)), half)
    return w.op("Where", w.op("Equal", b, w.number(0)), b, found) if imaginary else found


def _power(w: Writer, a: str, b: str, c: str, d: str, imaginary: bool) -> str:
    """A part of (a + ib)^(c + id): exp of (c + id) log(a + ib), without what is multiplied by nothing, since the logarithm may be infinite."""
    size, turn = _log_modulus(w, a, b), _angle(w, a, b)

    def times(x: str, y: str) -> str:
        return w.op("Where", w.op("Equal", x, w.number(0)), w.number(0), w.op("Mul", x, y))

    return _exp(w, w.op("Sub", times(c, size), times(d, turn)), w.op("Add", times(d, size), times(c, turn)), imaginary)


FORMS: dict[str, Form] = {
    "+": _plain("Add"), "-": _plain("Sub"), "*": _plain("Mul"), "/": _plain("Div"), "pow": _plain("Pow"), "neg": _plain("Neg"),
    **{op: _compared(op) for op in (*COMPARED, "ne")},
    "tanh": _plain("Tanh"), "sigmoid": _plain("Sigmoid"), "relu": _relu, "exp": _plain("Exp"), "log": _plain("Log"), "sqrt": _plain("Sqrt"), "rsqrt": _rsqrt,
    "expm1": _expm1, "log1p": _log1p, "erf": _plain("Erf"), "abs": _plain("Abs"), "sign": _plain("Sign"), "softplus": _softplus, "logsigmoid": _logsigmoid,
    "sin": _plain("Sin"), "cos": _plain("Cos"), "sinh": _sinh, "cosh": _cosh, "atan": _plain("Atan"), "floor": _plain("Floor"), "nearest": _plain("Round"),
    "heaviside": _heaviside, "max": _plain("Max"), "min": _plain("Min"), "logaddexp": _logaddexp, "clamp": _clamp, "select": _select,
    "root": _plain("Sqrt"), "modulus": _modulus, "angle": _angle, "log_modulus": _log_modulus,
    "quotient_re": partial(_quotient, imaginary=False), "quotient_im": partial(_quotient, imaginary=True), "root_re": _root_re, "root_im": _root_im,
    "exp_re": partial(_exp, imaginary=False), "exp_im": partial(_exp, imaginary=True),
    "power_re": partial(_power, imaginary=False), "power_im": partial(_power, imaginary=True),
    "surrogate": lambda w, argument, value, slope: value,
}  # fmt: skip
