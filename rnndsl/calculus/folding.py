"""What functions and operators make of numbers: as a number, and as Python text for what is known when a layer is made."""

from collections.abc import Callable

from rnndsl.scalars import Scalars

# What computes a function or operator on numbers, by its name in the language; the last line has what kernels know beyond it.
FUNCTIONS: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": Scalars.divide, "^": Scalars.power,
    "neg": lambda a: -a, "<": lambda a, b: float(a < b), "<=": lambda a, b: float(a <= b), ">": lambda a, b: float(a > b),
    ">=": lambda a, b: float(a >= b), "==": lambda a, b: float(a == b), "!=": lambda a, b: float(a != b),
    "abs": abs, "re": float, "conj": float, "im": lambda a: 0.0, "max": Scalars.maximum, "min": Scalars.minimum,
    "surrogate": lambda argument, value, slope: value,
    **{name: getattr(Scalars, name) for name in
       ("tanh", "sigmoid", "relu", "exp", "log", "sqrt", "sign", "softplus", "logsigmoid", "silu", "gelu", "elu", "sin", "cos", "floor",
        "heaviside", "logaddexp", "mod", "where",
        "expm1", "rsqrt", "angle", "modulus", "log_modulus", "quotient_re", "quotient_im", "root_re", "root_im", "exp_re", "exp_im",
        "power_re", "power_im")},
}  # fmt: skip


def call(op: str, args: list[str]) -> str | None:
    """The Python text of a function or operator that `FUNCTIONS` has, of arguments that stand in no need of brackets; None of another."""
    if op not in FUNCTIONS:
        return None
    if op in ("+", "-", "*"):
        return f"({args[0]} {op} {args[1]})"
    if op == "neg":
        return f"(-{args[0]})"
    if op in ("<", "<=", ">", ">=", "==", "!="):
        return f"float({args[0]} {op} {args[1]})"
    if op == "surrogate":
        return args[1]
    function = FUNCTIONS[op]
    if function in (abs, float):
        return f"{function.__name__}({args[0]})"
    if op == "im":
        return "0.0"
    return f"Scalars.{function.__name__}({', '.join(args)})"
