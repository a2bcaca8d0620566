"""The calculus of a component as nodes of its step: Newton's matrix, that of the backward scan, the coefficients of an exact scan.

A kernel's values are real: a complex one is two of them. With dz = dx + i dy, what the calculus gives as A dz + B conj(dz) is the real matrix
[[re A + re B, im B - im A], [im A + im B, re A - re B]].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sympy import Expr as Formula
from sympy import Symbol

from rnndsl.calculus import family
from rnndsl.calculus.analysis import Component
from rnndsl.calculus.jacobian import Jacobian
from rnndsl.calculus.lanes import Slot
from rnndsl.calculus.scan_form import ScanForm
from rnndsl.kernel.lane_values import LaneValues
from rnndsl.kernel.lowering import Lowering
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Value

Matrix = tuple[tuple[int | None, ...], ...]  # rows are new values, columns are old ones, as a step carries them; None is the semiring's zero
Bars = dict[Symbol, Symbol]  # a slot's symbol, and that of its conjugate


@dataclass(frozen=True)
class Exact:
    """New value i = ⊕_j (a_ij ⊗ old value j) ⊕ b_i. (⊕, ⊗) is (+, ·) for the affine family, (max, +) for max-plus, (logaddexp, +) for the
    log-semiring."""

    family: str
    a: Matrix
    b: tuple[int | None, ...]

    @property
    def coefficients(self) -> list[int]:
        """Those that are not the semiring's zero, row by row, then what is added."""
        return [n for row in (*self.a, self.b) for n in row if n is not None]


def jacobian_matrix(jacobian: Jacobian | None, lowering: Lowering, step: Step) -> Matrix:
    """∂ new / ∂ old: a component's Jacobian, or that of its backward pass. Raises Unsupported."""
    assert jacobian is not None
    linear = _Linear(jacobian, lowering, step)
    bars = {z: bar for bar, z in jacobian.conjugates.items()}
    by = {p.root: p.by for p in jacobian.updates}
    return linear.matrix([by[state] for state, _ in linear.lanes.updates], bars, 1.0)


def exact_form(component: Component, lowering: Lowering, step: Step) -> Exact | None:
    """The coefficients of the exact scan; None where there is none. Raises Unsupported."""
    form = component.scan_form
    if form is None:
        return None
    assert component.jacobian is not None
    return _Linear(component.jacobian, lowering, step, form.locals).exact(form)


class _Linear:
    """Makes matrices from formulas, as nodes of the step that `lowering` has made. One for each Jacobian: names of derivatives, `∂n/∂r`, mean
    something else in another."""

    def __init__(self, jacobian: Jacobian, lowering: Lowering, step: Step, further: Iterable[tuple[Symbol, Formula]] = ()):
        self.lanes, self.step, self.builder = jacobian.lanes, step, step.builder
        self.values = LaneValues(jacobian.lanes, lowering)
        self.values.define(jacobian, further)
        self.place = {(array.name, array.part == "im", lag): j for j, (array, lag) in enumerate(step.carries)}

    def exact(self, form: ScanForm) -> Exact:
        symbols = [s.symbol for s in self.lanes.slots]
        rows = [{s: f for s, f in zip(symbols, row, strict=True) if f is not None} for row in form.a]
        for row, others in zip(rows, form.bars, strict=False):
            row |= others
        one = 1.0 if form.family == family.AFFINE else 0.0
        b: list[int | None] = [None] * len(self.step.carries)
        for (state, _), f in zip(self.lanes.updates, form.b, strict=True):
            for i, part in zip(self._places(state, 1), self._parts(f, state), strict=False):
                b[i] = part
        return Exact(form.family, self.matrix(rows, form.conjugates, one), tuple(b))

    def _places(self, state: str, lag: int) -> list[int]:
        """Where a value of a state is carried: the number of its real part, and of its imaginary part where it has one."""
        return [self.place[key] for part in (False, True) if (key := (state, part, lag)) in self.place]

    def matrix(self, rows: Sequence[dict[Symbol, Formula | Value]], bars: Bars, one: float) -> Matrix:
        """A matrix from the entries of each new state; what only grows older is `one` times what it was."""
        k = len(self.step.carries)
        found: list[list[int | None]] = [[None] * k for _ in range(k)]
        for (name, is_imaginary, lag), i in self.place.items():
            if lag > 1:
                found[i][self.place[name, is_imaginary, lag - 1]] = self.builder.number(one)
        for (state, _), by in zip(self.lanes.updates, rows, strict=True):
            for slot in self.lanes.slots:
                for i, entries in zip(self._places(state, 1), self._block(state, slot, by, bars), strict=False):
                    for j, entry in zip(self._places(slot.state, slot.lag), entries, strict=False):
                        found[i][j] = entry
        return tuple(map(tuple, found))

    def _block(self, state: str, slot: Slot, by: dict[Symbol, Formula | Value], bars: Bars) -> list[list[int | None]]:
        """The entries of a state's parts in a slot's."""
        a = self._parts(by.get(slot.symbol), state)
        if not slot.type.is_complex:
            return [[a[0]], [a[1]]]
        b = self._parts(by.get(bars[slot.symbol]) if slot.symbol in bars else None, state)
        return [
            [self._join("+", a[0], b[0]), self._join("-", b[1], a[1])],
            [self._join("+", a[1], b[1]), self._join("-", a[0], b[0])],
        ]

    def _parts(self, f: Formula | Value | None, state: str) -> list[int | None]:
        """The real and imaginary part of a formula, for every channel of a state."""
        if f is None:
            return [None, None]
        t = next(s.type for s in self.lanes.slots if s.state == state)
        value = f if isinstance(f, Value) else self.values.value(f)
        parts = self.values.arithmetic.fitted(value, replace(t, is_complex=value.type.is_complex))
        return [*parts, None][:2]

    def _join(self, op: str, a: int | None, b: int | None) -> int | None:
        if b is None:
            return a
        if a is None:
            return b if op == "+" else self.builder.pointwise("neg", b)
        return self.builder.pointwise(op, a, b)
