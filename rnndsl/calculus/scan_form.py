"""The exact scan of a component that needs no iteration: s' = a ⊕ s, with the coefficients as formulas.

Affine: s'_i = Σ_j a_ij s_j + b_i. Max-plus: s'_i = max(max_j (a_ij + s_j), b_i). Log-semiring: the same with logaddexp.
A coefficient that is absent is the zero of its semiring: 0, or -inf.
"""

from dataclasses import dataclass

import sympy
from sympy import Expr as Formula
from sympy import Integer, Symbol

from rnndsl.calculus import family
from rnndsl.calculus.functions import logaddexp, maximum, relu, softplus, where
from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import Lanes


@dataclass(frozen=True)
class ScanForm:
    """a[i][j] multiplies (or is added to) slot j in new state i; b[i] stands alone. None is the semiring's zero."""

    family: str
    a: tuple[tuple[Formula | None, ...], ...]
    b: tuple[Formula | None, ...]


def scan_form(lanes: Lanes, kind: str, jacobian: Jacobian) -> ScanForm | None:
    """The scan form of a component whose channels do not mix; None where it has none."""
    if lanes.mixes or lanes.complex_pairs or kind == family.NONLINEAR:
        return None
    slots = [s.symbol for s in lanes.slots]
    if kind == family.AFFINE:
        a = tuple(tuple(p.by.get(s) for s in slots) for p in jacobian.updates)
        b = tuple(_at_zero(formula, lanes, slots) for _, formula in lanes.updates)
        return ScanForm(kind, a, b)
    join = maximum if kind == family.MAX_PLUS else logaddexp
    rows = [_tropical(formula, lanes, set(slots), join) for _, formula in lanes.updates]
    return ScanForm(kind, tuple(tuple(r.get(s) for s in slots) for r in rows), tuple(r.get(None) for r in rows))


def _expanded(formula: Formula, lanes: Lanes) -> Formula:
    """The formula with locals replaced by what they stand for."""
    definitions = lanes.definitions
    while names := formula.free_symbols & definitions.keys():
        formula = formula.xreplace({n: definitions[n] for n in names})
    return formula


def _at_zero(formula: Formula, lanes: Lanes, slots: list[Symbol]) -> Formula | None:
    """What is left where every old state is zero."""
    value = _expanded(formula, lanes).xreplace({s: Integer(0) for s in slots})
    return None if value == 0 else value


def _tropical(formula: Formula, lanes: Lanes, slots: set[Symbol], join) -> dict[Symbol | None, Formula]:
    """The formula as join over slots of (coefficient + slot), and a constant under the key None."""
    formula = _expanded(formula, lanes)

    def visit(f: Formula) -> dict[Symbol | None, Formula]:
        if not f.free_symbols & slots:
            return {None: f}
        if f in slots:
            return {f: Integer(0)}
        if f.is_Add:
            moving = [t for t in f.args if t.free_symbols & slots]
            constant = sympy.Add(*(t for t in f.args if not t.free_symbols & slots))
            (inner,) = moving
            return {k: v + constant for k, v in visit(inner).items()}
        if isinstance(f, relu | softplus):
            return merged(visit(f.args[0]), {None: Integer(0)})
        if isinstance(f, where):
            yes, no = visit(f.args[1]), visit(f.args[2])
            return {k: where(f.args[0], yes.get(k, -sympy.oo), no.get(k, -sympy.oo)) for k in {**yes, **no}}
        return merged(*(visit(a) for a in f.args))

    def merged(*parts: dict[Symbol | None, Formula]) -> dict[Symbol | None, Formula]:
        out: dict[Symbol | None, Formula] = {}
        for part in parts:
            for k, v in part.items():
                out[k] = join(out[k], v) if k in out else v
        return out

    return visit(formula)
