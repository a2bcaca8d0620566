"""Plan -> System: each component of a cell with its lane form, Jacobian, family and structure."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sympy import Expr as Formula

from rnndsl.calculus import family
from rnndsl.calculus.bounds import Bounds, bounds_of
from rnndsl.calculus.budget import SHOWN, Budget, TooLarge
from rnndsl.calculus.growth import growth
from rnndsl.calculus.intervals import Interval
from rnndsl.calculus.jacobian import Jacobian, differentiate
from rnndsl.calculus.lanes import Lanes
from rnndsl.calculus.lowering import lower
from rnndsl.calculus.scan_form import ScanForm, has_scan_form, scan_form
from rnndsl.calculus.structure import DIAGONAL, UNKNOWN, Structure, structure_of
from rnndsl.checks.cell import Let, Update
from rnndsl.diagnostics import NOWHERE, Diagnostic, RnnError, Source
from rnndsl.plan.ir import Map, Plan, Scan


@dataclass(frozen=True)
class Component:
    """States that are solved together, and what is known of their equations.

    A component that reads no own past has no scan; its Jacobian is zero.
    """

    states: tuple[str, ...]
    family: str
    structure: Structure
    scan: Scan | None
    lanes: Lanes | None
    bounds: dict[str, Bounds]
    plan: Plan | None = None
    oversize: str = ""  # how large its equations are where they are too large to be looked at; it has no lanes then

    @cached_property
    def too_large(self) -> str:
        """How large the formulas are where they are too large to show, else nothing; then none of what follows may be asked for."""
        if self.lanes is None:
            return ""
        try:
            if len(self.lanes.updates) * len(self.lanes.slots) > SHOWN:
                return f"{len(self.lanes.updates):,} by {len(self.lanes.slots):,} entries"
            budget = Budget(SHOWN)
            for formula in self._formulas():
                budget.made(formula)
        except TooLarge as e:
            return str(e)
        return ""

    def _formulas(self) -> Iterator[Formula]:
        """Every formula that is shown."""
        assert self.lanes is not None and self.jacobian is not None
        yield from (f for _, f in (*self.lanes.locals, *self.lanes.updates, *self.jacobian.locals))
        yield from (m.operand for m in self.lanes.mixes)
        yield from (e for p in (*self.jacobian.updates, *self.jacobian.operands) for e in p.by.values())
        if (form := self.scan_form) is not None:
            yield from (f for f in (*(e for row in form.a for e in row), *form.b, *(f for _, f in form.locals)) if f is not None)

    @cached_property
    def is_exact(self) -> bool:
        """Whether one exact scan solves it, however large its coefficients are."""
        return self.lanes is not None and has_scan_form(self.lanes, self.family)

    @cached_property
    def jacobian(self) -> Jacobian | None:
        """The true derivative, for the solver."""
        return differentiate(self.lanes) if self.lanes else None

    @cached_property
    def backward(self) -> Jacobian | None:
        """The derivative of the backward pass, with surrogates; the true one where there are none."""
        if self.lanes is None or not self.lanes.has_surrogates:
            return self.jacobian
        return differentiate(self.lanes, backward=True)

    @cached_property
    def scan_form(self) -> ScanForm | None:
        """The coefficients of the exact scan, where the family has one and channels do not mix."""
        return scan_form(self.lanes, self.family, self.jacobian) if self.lanes and self.jacobian else None

    @cached_property
    def growth(self) -> dict[tuple[str, str], Interval]:
        """For a new state and a slot's symbol, where |∂state[t]/∂slot| lies; empty where channels mix."""
        if self.lanes is None or self.scan is None or self.plan is None or self.too_large or self.jacobian is None:
            return {}
        return growth(self.scan, self.plan, self.lanes, self.jacobian, self.bounds)

    @property
    def time_invariant(self) -> bool:
        """Whether an affine component multiplies its state by the same values at every step."""
        if self.family != family.AFFINE or self.too_large or self.jacobian is None or self.lanes is None:
            return False
        moving = {leaf.symbol for leaf in self.lanes.leaves if leaf.role == "stream"}
        for symbol, formula in (*self.lanes.locals, *self.jacobian.locals):  # in order: each in terms of those before it
            if formula.free_symbols & moving:
                moving.add(symbol)
        entries: list[Formula] = [
            e
            for p in (*self.jacobian.updates, *self.jacobian.operands)
            for symbol, e in p.by.items()
            if symbol in {s.symbol for s in self.lanes.slots} | {m.symbol for m in self.lanes.mixes}
        ]
        others = [o for m in self.lanes.mixes for o in m.others]
        return not any(e.free_symbols & moving for e in (*entries, *others))


@dataclass(frozen=True)
class System:
    """A cell's plan and what the calculus found of each component, in solve order."""

    plan: Plan
    components: tuple[Component, ...]


def analyse(plan: Plan, source: Source, sizes: dict[str, int] | None = None, longest: int | None = None) -> System:
    """The system of a cell. sizes: the dimensions that are known, for the repeats that they bound; longest: the rounds up to which one is
    written out."""
    components = []
    types = {v.name: v.type for v in plan.cell.of_role("state")}
    stages = [plan.constants, *(s.body for s in plan.stages if isinstance(s, Map))]
    definitions = {let.name: let.value for body in stages for let in body if isinstance(let, Let)}
    for stage in plan.stages:
        if isinstance(stage, Map):
            for operation in stage.body:
                if isinstance(operation, Update):
                    reason = f"diagonal because `{operation.state}` reads no own past"
                    found = Structure(DIAGONAL, 1, reason, operation.span)
                    components.append(Component((operation.state,), family.AFFINE, found, None, None, {}))
            continue
        bounds = bounds_of(stage, plan)
        try:
            lanes = lower(stage, plan.static, types, sizes or {}, definitions, longest)
        except TooLarge as e:
            unknown = Structure(UNKNOWN, 0, f"its equations are too large: {e}")
            components.append(Component(stage.states, family.NONLINEAR, unknown, stage, None, bounds, plan, str(e)))
            continue
        kind = family.of_component(lanes.families)
        components.append(Component(stage.states, kind, structure_of(lanes, source), stage, lanes, bounds, plan))
    return System(plan, tuple(components))


def require_shown(system: System, source: Source) -> System:
    """The system, where something can be said of each component. Raises RnnError where the equations of one are too large for that."""
    for c in system.components:
        if c.oversize:
            assert c.scan is not None
            raise RnnError(source, [_too_large(system.plan, c.scan, c.oversize)])
    return system


def _too_large(plan: Plan, scan: Scan, size: str) -> Diagnostic:
    """What there is to say of a component whose equations are too large for the calculus."""
    names = ", ".join(scan.states[:4]) + (", …" if len(scan.states) > 4 else "")
    span = next((o.span for o in scan.body if isinstance(o, Update) and o.span != NOWHERE), plan.cell.span)
    hint = "its layers can be compiled all the same, though perhaps without kernels; fewer states, shorter lags, or fewer rounds of a repeat are shown"
    title = f"the recurrence of `{names}` in `{plan.cell.name}` is too large to show"
    return Diagnostic("too-large", title, span, size, hints=(hint,))
