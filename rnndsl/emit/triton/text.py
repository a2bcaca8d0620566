"""Nodes as Triton expressions, by precedence."""

import math
from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.kernel.values import Unsupported

COMPARE, ADD, MUL, NEG, ATOM = 0, 1, 2, 3, 4
_INFIX = {"+": ("+", ADD), "-": ("-", ADD), "*": ("*", MUL), "/": ("/", MUL)}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_TL = {"exp": "tl.exp", "log": "tl.log", "sqrt": "tl.sqrt", "root": "tl.sqrt", "rsqrt": "tl.rsqrt", "abs": "tl.abs", "floor": "tl.floor",
       "sin": "tl.sin", "cos": "tl.cos"}  # fmt: skip
_LIBRARY = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "softplus": "softplus", "logsigmoid": "logsigmoid",
            "logaddexp": "logaddexp", "max": "maximum", "min": "minimum", "sign": "sign", "heaviside": "heaviside", "pow": "power",
            "expm1": "expm1"}  # fmt: skip
LIBRARY = frozenset(_LIBRARY.values()) | {"full"}  # functions of rnndsl.runtime.triton.functions
_PYTHON = {"exp": "math.exp", "log": "math.log", "sqrt": "math.sqrt", "root": "math.sqrt", "sin": "math.sin", "cos": "math.cos",
           "tanh": "math.tanh", "floor": "math.floor", "expm1": "math.expm1", "abs": "abs", "max": "max", "min": "min", "pow": "math.pow"}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """Code, how tightly it binds, and its value as a condition where it is a comparison."""

    code: str
    binds: int = ATOM
    condition: str | None = None

    def within(self, level: int) -> str:
        return self.code if self.binds >= level else f"({self.code})"


def number(value: float) -> Text:
    """A literal."""
    if math.isinf(value) or math.isnan(value):
        return Text(f'float("{value}")')
    text = repr(int(value)) + ".0" if value == int(value) and abs(value) < 1e15 else repr(value)
    return Text(text, NEG if value < 0 else ATOM)


def operation(op: str, args: list[Text]) -> Text:
    """An elementwise operation. Raises Unsupported."""
    if op == "copy":
        return args[0]
    if op == "surrogate":
        return args[1]
    if op == "neg":
        return Text(f"-{args[0].within(NEG + 1)}", NEG)
    if op in _INFIX:
        symbol, level = _INFIX[op]
        return Text(f"{args[0].within(level)} {symbol} {args[1].within(level + 1)}", level)
    if op in _COMPARE:
        condition = f"{args[0].within(ADD)} {_COMPARE[op]} {args[1].within(ADD)}"
        return Text(f"({condition}).to(REAL)", ATOM, condition)
    if op == "select":
        condition = args[0].condition or f"{args[0].within(ADD)} != 0"
        return Text(f"tl.where({condition}, {args[1].code}, {args[2].code})")
    function = _TL.get(op) or _LIBRARY.get(op)
    if function is None:
        raise Unsupported(f"`{op}` has no Triton function")
    return Text(f"{function}({', '.join(a.code for a in args)})")


def uniform(op: str, args: list[Text]) -> Text:
    """An operation of numbers, sizes and hyperparameters, in Python."""
    if op in ("copy", "surrogate", "neg") or op in _INFIX:
        return operation(op, args)
    if op in _COMPARE:
        return Text(f"float({args[0].within(ADD)} {_COMPARE[op]} {args[1].within(ADD)})")
    if op == "select":
        return Text(f"({args[1].code} if {args[0].code} else {args[2].code})")
    if op == "sigmoid":
        return Text(f"(1 / (1 + math.exp(-{args[0].within(ATOM)})))")
    if op == "rsqrt":
        return Text(f"(1 / math.sqrt({args[0].code}))")
    if op == "relu":
        return Text(f"max({args[0].code}, 0.0)")
    if op == "heaviside":
        return Text(f"float({args[0].within(ADD)} > 0)")
    if op not in _PYTHON:
        raise Unsupported(f"`{op}` of a hyperparameter alone")
    return Text(f"{_PYTHON[op]}({', '.join(a.code for a in args)})")


def dim(d: Dim, names: dict[str, str]) -> str:
    """A size as integer arithmetic; divisions leave no rest."""
    above, below = d.divided()
    text = above.text(names)
    return text if below == Dim.of(1) else f"({text}) // ({below.text(names)})"


def times(position: str, stride: str) -> str:
    """A position times a stride, left out where it says nothing."""
    if stride == "1":
        return position
    return f"{position} * {stride if stride.isidentifier() or stride.isdigit() else f'({stride})'}"


def comment(line: str) -> str:
    """Text as a comment of one line, whatever it holds."""
    return f"# {''.join(c if c.isprintable() else ' ' for c in line).rstrip()}".rstrip()
