"""The functions that a step calls, as C: those of <math.h>, and ours, which a header gets as far as it needs them."""

import re
from functools import cache

from rnndsl.emit.templates import rendered

_MATH = frozenset(
    ("tanh", "exp", "log", "sqrt", "expm1", "log1p", "erf", "sin", "cos", "sinh", "cosh", "atan", "floor", "pow", "fabs", "rint", "hypot", "atan2", "copysign")
)
_OTHER_NAMES = {"abs": "fabs", "nearest": "rint"}  # of operations that <math.h> calls differently


@cache
def _ours() -> dict[str, str]:
    """Our functions by name, as they are written for double."""
    text = rendered("c/functions.h.jinja")
    return {m[1]: m[0] for m in re.finditer(r"^static inline double (\w+)\(.*?^}", text, re.M | re.S)}


def name_of(operation: str, real: str, prefix: str) -> str:
    """What a header calls the function of an operation. Raises KeyError for one that C has no function for."""
    name = _OTHER_NAMES.get(operation, operation)
    if name in _ours():
        return f"{prefix}_{name}"
    if name not in _MATH:
        raise KeyError(operation)
    return f"{name}f" if real == "float" else name


def definitions(operations: set[str], real: str, prefix: str) -> list[str]:
    """The definitions of those functions among some that are ours, and of what these call, in order."""
    ours = _ours()
    needed: set[str] = set()
    waiting = [o for o in operations if o in ours]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [w for w in re.findall(r"\b\w+\b", ours[name]) if w in ours]
    return [_written(text, real, prefix) for name, text in ours.items() if name in needed]


def _written(text: str, real: str, prefix: str) -> str:
    """One of our functions for another type, under a header's names."""

    def word(m: re.Match) -> str:
        return name_of(m[0], real, prefix) if m[0] in _ours() or m[0] in _MATH else m[0]

    text = re.sub(r"\b[a-z]\w*\b", word, text)
    if real == "float":
        text = re.sub(r"\bdouble\b", "float", text)
        text = re.sub(r"\b\d+\.\d+\b", lambda m: f"{m[0]}f", text)
    return text
