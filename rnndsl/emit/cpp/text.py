"""Nodes as C++ expressions, by precedence."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

from rnndsl.checks.dims import Dim
from rnndsl.functions import OPERATIONS
from rnndsl.kernel.graph import SMALL_POWER
from rnndsl.source import printable

ADD, MUL, NEG, ATOM = 1, 2, 3, 4
_INFIX = {"+": ("+", ADD), "-": ("-", ADD), "*": ("*", MUL), "/": ("/", MUL)}


@dataclass(frozen=True)
class Cpp:
    """Code, how tightly it binds, whether it is a plain number, which lanes take on either side of an operator alone, and a literal's value."""

    code: str
    binds: int = ATOM
    plain: bool = False
    literal: float | None = None

    def within(self, level: int) -> str:
        return self.code if self.binds >= level else f"({self.code})"

    @property
    def lanes(self) -> str:
        """The code as an argument of a function of lanes."""
        return f"L::fill({self.code})" if self.plain else self.code


def number(value: float, real: str = "T") -> Cpp:
    """A literal of the kernel's type, or of another."""
    if math.isinf(value):
        return Cpp(f"{'-' if value < 0 else ''}std::numeric_limits<{real}>::infinity()", NEG if value < 0 else ATOM, True)
    if math.isnan(value):
        return Cpp(f"std::numeric_limits<{real}>::quiet_NaN()", ATOM, True)
    text = repr(int(value)) if value == int(value) and abs(value) < 1e6 and not _is_minus_zero(value) else repr(value)
    return Cpp(f"{real}({text})", ATOM, True, value)


def _is_minus_zero(value: float) -> bool:
    return value == 0 and math.copysign(1.0, value) < 0


def operation(op: str, args: list[Cpp]) -> Cpp:
    """An elementwise operation of arguments."""
    if op == "copy":
        return args[0]
    if op == "surrogate":
        return args[1]
    if op == "neg":
        return Cpp(f"-{args[0].within(NEG)}", NEG, args[0].plain)
    if op == "pow" and args[1].literal == -0.5:
        return Cpp(f"rsqrt({args[0].lanes})")
    if op == "pow" and args[1].literal is not None and args[1].literal.is_integer() and abs(args[1].literal) <= SMALL_POWER + 1:
        return Cpp(f"pow_int<{int(args[1].literal)}>({args[0].lanes})")
    if op in _INFIX:
        symbol, level = _INFIX[op]
        return Cpp(f"{args[0].within(level)} {symbol} {args[1].within(level + 1)}", level, all(a.plain for a in args))
    function = OPERATIONS[op].cpp or op
    printed = [a.lanes for a in args]
    return Cpp(f"({function.format(*printed)})" if "{" in function else f"{function}({', '.join(printed)})")


def dim(d: Dim, name: Callable[[str], str]) -> str:
    """A size as C++ arithmetic; divisions leave no rest."""
    above, below = d.divided()
    names = {n: name(n) for n in d.names}
    text = above.text(names)
    return text if below == Dim.of(1) else f"({text}) / ({below.text(names)})"


def comment(line: str) -> str:
    """Text as a comment of one line, whatever it holds."""
    shown = printable(line).replace("??", "? ?")
    return f"// {shown.rstrip()}".rstrip("\\")


def times(a: str, b: str) -> str:
    """The product of two texts of sizes, left out where it says nothing."""
    if a == "1" or b == "1":
        return b if a == "1" else a
    if "0" in (a, b):
        return "0"
    return f"{bracketed(a)} * {bracketed(b)}"


def product(factors: Iterable[str]) -> str:
    """The product of texts of sizes."""
    return reduce(times, factors, "1")


def plus(*terms: str) -> str:
    """The sum of texts, zeros left out."""
    kept = [t for t in terms if t != "0"]
    return " + ".join(kept) if kept else "0"


def bracketed(text: str) -> str:
    """Text that may stand on either side of a `*` or a `/`."""
    return text if text.replace(".", "_").isidentifier() or text.isdigit() or _in_brackets(text) else f"({text})"


def _in_brackets(text: str) -> bool:
    """Whether one pair of brackets holds the whole text, but for a name before it."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and "(" in text[: i + 1]:
            head = text[: text.index("(")]
            return i == len(text) - 1 and (not head or head.isidentifier())
    return False
