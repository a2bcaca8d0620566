"""Nodes as C expressions, by precedence."""

import math
import re
import struct
from dataclasses import dataclass

from rnndsl.export.c.functions import name_of
from rnndsl.functions import COMPARED, OPERATIONS
from rnndsl.kernel.graph import SMALL_POWER
from rnndsl.source import printable

CHOICE, COMPARE, ADD, MUL, NEG, ATOM = 0, 1, 2, 3, 4, 5
_INFIX = {"+": ADD, "-": ADD, "*": MUL, "/": MUL}


@dataclass(frozen=True)
class C:
    """Code, how tightly it binds, the value of a literal, and of 1 or 0 by a condition that condition."""

    code: str
    binds: int = ATOM
    literal: float | None = None
    condition: str = ""

    def within(self, level: int) -> str:
        return self.code if self.binds >= level else f"({self.code})"


def number(value: float, real: str) -> C:
    """A literal of a type: the shortest that it reads back as the same number."""
    if real == "float":
        value = as_float(value)
    if math.isnan(value):
        return C("NAN", ATOM, value)
    negative = math.copysign(1.0, value) < 0
    if math.isinf(value):
        text = "INFINITY"
    else:
        text = shortest(abs(value)) if real == "float" else repr(abs(value))
        text = text if "." in text or "e" in text else f"{text}.0"
        text += "f" if real == "float" else ""
    return C(f"-{text}", NEG, value) if negative else C(text, ATOM, value)


def as_float(value: float) -> float:
    """The nearest number in single precision."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def shortest(value: float) -> str:
    """A short decimal that single precision reads back as the same number."""
    text = f"{value:.9g}"  # which always is
    for digits in range(8, 0, -1):
        shorter = f"{value:.{digits}g}"
        if as_float(float(shorter)) != value:
            break
        text = shorter
    return repr(float(text))


def operation(op: str, args: list[C], function: "Functions") -> C:
    """An elementwise operation of arguments."""
    if op == "copy":
        return args[0]
    if op == "neg":
        return C(f"-{args[0].within(ATOM)}", NEG)
    if op in _INFIX:
        return C(f"{args[0].within(_INFIX[op])} {op} {args[1].within(_INFIX[op] + 1)}", _INFIX[op])
    if op in COMPARED:
        test = f"{args[0].within(ADD)} {COMPARED[op]} {args[1].within(ADD)}"
        return C(f"{test} ? {function.one} : {function.zero}", CHOICE, condition=test)
    if op == "select":
        test = args[0].condition or f"{args[0].within(ADD)} != {function.zero}"
        return C(f"{test} ? {args[1].within(COMPARE)} : {args[2].within(COMPARE)}", CHOICE)
    if op == "pow" and args[1].literal == -0.5:
        return C(f"{function('rsqrt')}({args[0].code})")
    if op == "pow" and (exponent := args[1].literal) is not None and exponent.is_integer() and abs(exponent) <= SMALL_POWER + 1:
        return C(f"{function('pow_int')}({args[0].code}, {int(exponent)})")
    row = OPERATIONS[op]
    if "{" in row.cpp:  # an expression, of functions by their names here
        return C(_called(row.cpp, [a.code for a in args], function))
    return C(f"{function(row.cpp or op)}({', '.join(a.code for a in args)})")


def _called(form: str, args: list[str], function: "Functions") -> str:
    text = re.sub(r"\b[a-z]\w*(?=\()", lambda m: function(m[0]), form).format(*args)
    return text if form != "{1}" else f"({text})"


class Functions:
    """The names of functions in a header, and those that were asked for. Raises KeyError for one that C has not."""

    def __init__(self, real: str, prefix: str):
        self.real, self.prefix = real, prefix
        self.used: set[str] = set()
        self.one, self.zero = number(1.0, real).code, number(0.0, real).code

    def __call__(self, operation: str) -> str:
        self.used.add(operation)
        return name_of(operation, self.real, self.prefix)


def comment(text: str) -> str:
    """Text as a comment, whatever it holds."""
    shown = printable(text).strip()
    for ends in ("*/", "/*", "??"):  # of a comment; the start of another; a trigraph
        while ends in shown:
            shown = shown.replace(ends, " ".join(ends))
    return f"/* {shown} */"


def index(terms: list[tuple[str, int]], offset: int) -> str:
    """A position in an array: a sum of positions along its axes."""
    parts = [name if factor == 1 else f"{factor} * {name}" for name, factor in terms if factor]
    if offset or not parts:
        parts.append(str(offset))
    return " + ".join(parts)
