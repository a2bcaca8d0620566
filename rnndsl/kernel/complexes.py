"""Complex arithmetic on pairs of real values.

Products and sums are made of real ones. What would square a value, and so be 0 or infinite where it is not, is an operation of its own
for each part of the result, `f_re` and `f_im` of the parts of the arguments: `HOLOMORPHIC`, whose derivatives are complex ones.
"""

from collections.abc import Callable

from rnndsl.checks.cell import Type
from rnndsl.kernel.arithmetic import Arithmetic
from rnndsl.kernel.graph import Map
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.values import Value


def parts(m: Arithmetic, value: Value) -> tuple[Value, Value]:
    """The real and imaginary part, each as a real value; that of a real value is zero."""
    t = m.real(value.type)
    im = value.parts[1] if len(value.parts) == 2 else m.builder.number(0.0)
    return Value(value.parts[:1], t), Value((im,), t)


def bilinear(m: Arithmetic, args: list[Value], t: Type, times: Callable[[int, int], Value]) -> Value:
    """A product of two values, `times` being that of their real parts by number."""
    a, b = (len(v.parts) == 2 for v in args)
    if not (a or b):
        return times(0, 0)
    real = m.real(t)
    if not b:
        return Value((times(0, 0).parts[0], times(1, 0).parts[0]), t)
    if not a:
        return Value((times(0, 0).parts[0], times(0, 1).parts[0]), t)
    re = m.make("-", real, times(0, 0), times(1, 1))
    im = m.make("+", real, times(0, 1), times(1, 0))
    return Value((re.parts[0], im.parts[0]), t)


def nonzero(m: Arithmetic, value: Value) -> int:
    """1 where a complex value is not zero."""
    re, im = parts(m, value)
    return m.make("max", re.type, m.make("ne", re.type, re, 0.0), m.make("ne", re.type, im, 0.0)).parts[0]


def apply(m: Arithmetic, op: str, args: list[Value], t: Type) -> Value:
    """An elementwise function of complex arguments. Raises Unsupported."""
    real = m.real(t)

    def pair(re: Value, im: Value) -> Value:
        return Value((re.parts[0], im.parts[0]), t)

    def make(name: str, *values: Value | float) -> Value:
        return m.make(name, real, *values)

    if op in ("+", "-"):
        (a, b), (c, d) = (parts(m, v) for v in args)
        return pair(make(op, a, c), make(op, b, d))
    if op == "*":
        fitted = [Value(m.fitted(v, Type(t.heads, t.axes, v.type.is_complex)), Type(t.heads, t.axes, v.type.is_complex)) for v in args]
        return bilinear(m, fitted, t, lambda i, j: make("*", Value((fitted[0].parts[i],), real), Value((fitted[1].parts[j],), real)))
    if op == "neg":
        a, b = parts(m, args[0])
        return pair(make("neg", a), make("neg", b))
    if op == "/":
        if not args[1].type.is_complex:
            a, b = parts(m, args[0])
            return pair(make("/", a, args[1]), make("/", b, args[1]))
        (a, b), (c, d) = (parts(m, v) for v in args)
        return pair(make("quotient_re", a, b, c, d), make("quotient_im", a, b, c, d))
    if op == "^":
        return _power(m, args, t)
    if op in ("==", "!="):
        (a, b), (c, d) = (parts(m, v) for v in args)
        join = "min" if op == "==" else "max"
        name = "eq" if op == "==" else "ne"
        return make(join, make(name, a, c), make(name, b, d))
    a, b = parts(m, args[0])
    match op:
        case "abs":
            return make("modulus", a, b)
        case "exp":
            return pair(make("exp_re", a, b), make("exp_im", a, b))
        case "log":
            return pair(make("log_modulus", a, b), make("angle", a, b))
        case "sqrt":
            return pair(make("root_re", a, b), make("root_im", a, b))
        case "rsqrt":
            one = Value((m.builder.number(1.0),), Type())
            return apply(m, "/", [one, apply(m, "sqrt", args, t)], t)
        case "tanh":  # tanh(a + ib) = (tanh(2a) + i sin(2b) / cosh(2a)) / (1 + cos(2b) / cosh(2a))
            e = make("exp", make("neg", make("abs", make("*", 2.0, a))))
            inverse = make("/", make("*", 2.0, e), make("+", 1.0, make("*", e, e)))  # 1 / cosh(2a)
            below = make("+", 1.0, make("*", inverse, make("cos", make("*", 2.0, b))))
            return pair(make("/", make("tanh", make("*", 2.0, a)), below), make("/", make("*", inverse, make("sin", make("*", 2.0, b))), below))
        case "sigmoid":  # (1 + tanh(z / 2)) / 2
            half = pair(make("*", 0.5, a), make("*", 0.5, b))
            c, d = parts(m, apply(m, "tanh", [half], t))
            return pair(make("+", 0.5, make("*", 0.5, c)), make("*", 0.5, d))
        case "sin" | "cos":  # sin(a + ib) = sin a cosh b + i cos a sinh b; cos(a + ib) = cos a cosh b - i sin a sinh b
            cosh, sinh, sin, cos = make("cosh", b), make("sinh", b), make("sin", a), make("cos", a)
            if op == "sin":
                return pair(make("*", sin, cosh), make("*", cos, sinh))
            return pair(make("*", cos, cosh), make("neg", make("*", sin, sinh)))
        case "sinh":  # sinh(a + ib) = sinh a cos b + i cosh a sin b
            return pair(make("*", make("sinh", a), make("cos", b)), make("*", make("cosh", a), make("sin", b)))
        case "cosh":  # cosh(a + ib) = cosh a cos b + i sinh a sin b
            return pair(make("*", make("cosh", a), make("cos", b)), make("*", make("sinh", a), make("sin", b)))
    raise Unsupported(op)


def _power(m: Arithmetic, args: list[Value], t: Type) -> Value:
    base, exponent = args
    n = m.builder.number_of(exponent.parts[0]) if not exponent.type.is_complex else None
    if n is not None and n.is_integer() and 0 < n <= 16:
        return m.integer_power(base, int(n), lambda a, b: apply(m, "*", [a, b], t))
    if n == 0.5:
        return apply(m, "sqrt", [base], t)
    real = m.real(t)
    four = [*parts(m, base), *parts(m, exponent)]
    return Value(tuple(m.make(f"power_{part}", real, *four).parts[0] for part in ("re", "im")), t)


# Derivatives


Placed = tuple[int, Map]  # a node, and along which axes of a domain its own run
Make = Callable[..., Placed]  # an operation of such nodes and of numbers
HOLOMORPHIC = {"log_modulus": ("log", 0), "angle": ("log", 1)}
HOLOMORPHIC |= {f"{f}_{part}": (f, k) for f in ("quotient", "root", "exp", "power") for k, part in enumerate(("re", "im"))}


def slope(function: str, i: int, z: tuple[Placed, ...], make: Make) -> tuple[Placed, Placed]:
    """The complex derivative of a function in its argument number i, as a pair; `z` are the parts of all arguments."""

    def both(f: str, *args: Placed | float) -> tuple[Placed, Placed]:
        return make(f"{f}_re", *args), make(f"{f}_im", *args)

    def times(p: tuple[Placed, Placed], q: tuple[Placed, Placed]) -> tuple[Placed, Placed]:
        re = make("-", make("*", p[0], q[0]), make("*", p[1], q[1]))
        return re, make("+", make("*", p[0], q[1]), make("*", p[1], q[0]))

    def unless(condition: Placed, p: tuple[Placed, Placed]) -> tuple[Placed, Placed]:
        return make("select", condition, 0.0, p[0]), make("select", condition, 0.0, p[1])

    def is_zero(re: Placed, im: Placed) -> Placed:
        return make("min", make("eq", re, 0.0), make("eq", im, 0.0))

    match function, i:
        case "log", _:
            return both("quotient", 1.0, 0.0, *z)
        case "root", _:
            return both("quotient", 0.5, 0.0, *both("root", *z))
        case "exp", _:
            return both("exp", *z)
        case "quotient", 0:
            return both("quotient", 1.0, 0.0, *z[2:])
        case "quotient", 1:
            re, im = both("quotient", *both("quotient", *z), *z[2:])
            return make("neg", re), make("neg", im)
        case "power", 0:
            a, b, c, d = z
            return unless(is_zero(c, d), times((c, d), both("power", a, b, make("-", c, 1.0), d)))
    a, b, c, d = z
    flat = make("min", is_zero(a, b), make("ge", c, 0.0))
    return unless(flat, times(both("power", *z), (make("log_modulus", a, b), make("angle", a, b))))
