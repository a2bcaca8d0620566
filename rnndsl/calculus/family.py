"""What an expression is in the states of its component, proven on its form: a small abstract domain.

CONST does not depend on them; SHIFT is a state plus a constant, at some steps perhaps a constant alone; AFFINE; MAX_PLUS is built
of max and + alone; LOG of logaddexp and + alone; NONLINEAR is everything else, `min` among it.
"""

from collections.abc import Sequence

from rnndsl.families import AFFINE, LOG, MAX_PLUS, NONLINEAR
from rnndsl.functions import FUNCTIONS

CONST, SHIFT = "const", "shift"

# Linear in their dependent argument, wherever the others are constant.
LINEAR = frozenset(row.name for row in FUNCTIONS.values() if row.linear) | {"transpose", "broadcast"}
BILINEAR = frozenset(("*", "@", "outer", "dot"))


def combine(op: str, args: Sequence[str]) -> str:
    """The family of `op` applied to values of the given families."""
    dependent = [a for a in args if a != CONST]
    if not dependent:
        return CONST
    if NONLINEAR in args:
        return NONLINEAR
    affine = all(a in (SHIFT, AFFINE) for a in dependent)
    match op:
        case "+":
            return dependent[0] if len(dependent) == 1 else AFFINE if affine else NONLINEAR
        case "-":
            return args[0] if args[1] == CONST else AFFINE if affine else NONLINEAR
        case "neg":
            return AFFINE if affine else NONLINEAR
        case "/":
            return AFFINE if affine and args[1] == CONST else NONLINEAR
        case "where":
            return _where(args) if args[0] == CONST else NONLINEAR
        case "max" | "relu":
            return MAX_PLUS if set(dependent) <= {SHIFT, MAX_PLUS} else NONLINEAR
        case "logaddexp" | "softplus":
            return LOG if set(dependent) <= {SHIFT, LOG} else NONLINEAR
    if op in BILINEAR:
        return AFFINE if affine and len(dependent) == 1 else NONLINEAR
    if op in LINEAR:
        return AFFINE if affine else NONLINEAR
    return NONLINEAR


def _where(args: Sequence[str]) -> str:
    kinds = set(args[1:])
    if len(kinds) == 1:
        return args[1]
    for kind in (SHIFT, AFFINE, MAX_PLUS, LOG):
        if kinds <= {CONST, SHIFT, kind}:
            return kind
    return NONLINEAR


def of_component(updates: Sequence[str]) -> str:
    """The family of a component from those of its updates."""
    kinds = set(updates)
    if kinds <= {CONST, SHIFT, AFFINE}:
        return AFFINE
    if kinds <= {CONST, SHIFT, MAX_PLUS}:
        return MAX_PLUS
    if kinds <= {CONST, SHIFT, LOG}:
        return LOG
    return NONLINEAR
