"""Nodes as Triton expressions, by precedence.

A number in Triton's text takes the type of what stands beside it in an operator, and is float32 as an argument of a function. So it is
printed as it is beside an operator alone, and by `Text.lanes` elsewhere.
"""

import math
from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.functions import COMPARISONS, OPERATIONS, OPERATORS, numbers
from rnndsl.kernel.graph import SMALL_POWER
from rnndsl.kernel.limits import Unsupported
from rnndsl.source import printable

COMPARE, ADD, MUL, NEG, ATOM = 0, 1, 2, 3, 4
_INFIX = {"+": ("+", ADD), "-": ("-", ADD), "*": ("*", MUL)}
_COMPARE = {row.operation: row.name for row in OPERATORS.values() if row.name in COMPARISONS}

# The functions of rnndsl.runtime.triton.functions that text calls.
LIBRARY = frozenset(row.triton for row in OPERATIONS.values() if row.triton.isidentifier()) | {"full", "integer_power", "quotient"}


@dataclass(frozen=True)
class Text:
    """Code, how tightly it binds, its value as a condition where it is a comparison, whether it is a plain number, and a literal's value."""

    code: str
    binds: int = ATOM
    condition: str | None = None
    plain: bool = False
    literal: float | None = None

    def within(self, level: int) -> str:
        return self.code if self.binds >= level else f"({self.code})"

    def lanes(self, like: str) -> str:
        """The code as an argument of a function: a number as many times, and of the type, as a value has entries."""
        return f"full({self.code}, {like})" if self.plain else self.code


def number(value: float) -> Text:
    """A literal."""
    if math.isinf(value) or math.isnan(value):
        return Text(f'float("{value}")', plain=True)
    return Text(repr(value), NEG if math.copysign(1.0, value) < 0 else ATOM, plain=True, literal=value)


def operation(op: str, args: list[Text], like: str) -> Text:
    """An elementwise operation; `like` is a value as wide as the result. Raises Unsupported."""
    if op == "copy":
        return args[0]
    if op == "surrogate":
        return args[1]
    if op == "neg":
        return Text(f"-{args[0].within(NEG + 1)}", NEG)
    if (op in _INFIX or op in _COMPARE) and args[0].plain and args[0].literal is None:  # a `tl.constexpr` has operators of its own
        args = [Text(args[0].lanes(like)), *args[1:]]
    if op == "/":
        return _quotient(args[0], args[1], like)
    if op in _INFIX:
        symbol, level = _INFIX[op]
        return Text(f"{args[0].within(level)} {symbol} {args[1].within(level + 1)}", level)
    if op in _COMPARE:
        condition = f"{args[0].within(ADD)} {_COMPARE[op]} {args[1].within(ADD)}"
        return Text(f"({condition}).to(REAL)", ATOM, condition)
    if op == "select":
        condition = args[0].condition or f"{args[0].within(ADD)} != 0"
        return Text(f"tl.where({condition}, {args[1].lanes(like)}, {args[2].lanes(like)})")
    if op == "pow" and args[1].literal == -0.5:
        return Text(f"tl.rsqrt({args[0].code})")
    if op == "pow" and args[1].literal is not None and args[1].literal.is_integer() and -SMALL_POWER - 1 <= args[1].literal < 0:
        return Text(f"integer_power({args[0].code}, {int(args[1].literal)})")
    function = OPERATIONS[op].triton
    if not function:
        raise Unsupported(f"`{op}` has no Triton function")
    printed = [a.lanes(like) for a in args]
    return Text(f"({function.format(*printed)})" if "{" in function else f"{function}({', '.join(printed)})")


def _quotient(a: Text, b: Text, like: str) -> Text:
    """A quotient, rounded to nearest: `floor`, `mod` and comparisons of whole numbers must not see a unit in the last place. By a power of two it is a
    product that rounds as well."""
    if b.literal is not None and abs(math.frexp(b.literal)[0]) == 0.5 and 2.0**-100 < abs(b.literal) < 2.0**100:
        return operation("*", [a, number(1 / b.literal)], like)
    return Text(f"quotient({a.lanes(like)}, {b.lanes(like)})")


def uniform(op: str, args: list[str]) -> str:
    """An operation of numbers, sizes and hyperparameters, in Python. Raises Unsupported."""
    if op == "copy":
        return args[0]
    if op not in OPERATIONS or OPERATIONS[op].number is None:
        raise Unsupported(f"`{op}` of numbers alone")
    return numbers.call(OPERATIONS[op], args)


def dim(d: Dim, names: dict[str, str]) -> str:
    """A size as integer arithmetic; divisions leave no rest."""
    above, below = (part.text(names).replace("*", " * ") for part in d.divided())
    return above if below == "1" else f"({above}) // ({below})"


def times(position: str, stride: str) -> str:
    """A position times a stride, left out where it says nothing."""
    if stride == "1":
        return position
    return f"{position} * {bracketed(stride)}"


def bracketed(size: str) -> str:
    """A size as a factor."""
    return size if size.isidentifier() or size.isdigit() else f"({size})"


def factor(size: str) -> str:
    """A size in Python as a factor, where `H_.value` is one."""
    return size if size.replace(".", "_").isidentifier() else bracketed(size)


def comment(line: str) -> str:
    """Text as a comment of one line, whatever it holds."""
    return f"# {printable(line).rstrip()}".rstrip()
